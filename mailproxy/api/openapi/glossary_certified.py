"""The words of certified mail (PEC)."""

from collections.abc import Mapping

CERTIFIED: Mapping[str, str] = {
    "CertifiedData.at": "When its provider says that it happened, in Unix seconds.",
    "CertifiedData.error": "The kind of error in the provider's word: no-dest, no-dominio, virus, altro.",
    "CertifiedData.receipt": "The number of the receipt among those of the message's id.",
    "CertifiedData.recipients": "The recipients it is about.",
    "CertifiedData.type": "What it attests, in the words of RFC 6109.",
    "CertifiedRecipientInfo.state": "What the receipts for the recipient have attested so far.",
    "ReceiptInfo.error": "The kind of error in the provider's word: no-dest, no-dominio, virus, altro.",
    "ReceiptInfo.outcome": "Whether it had its effect: applied, repeated, of a former version, or unproven.",
    "ReceiptInfo.pk": "The message it is about: a client's id may have named several, one after the other.",
    "ReceiptInfo.recipients": "The recipients it is about.",
    "ReceiptInfo.size": "Its length in octets.",
    "ReceiptInfo.type": "What it attests, in the words of RFC 6109.",
    "error_reason": "What went wrong, in the provider's words.",
    "identifier": "What the provider calls the message.",
    "is_pec": "Whether it is certified mail (PEC) for which nothing has failed and no acceptance was missed.",
    "is_pec_account": "Whether it is an account of certified mail (PEC).",
    "n": "The receipt's number, counted from 1 for the message's id.",
    "pec": "What a receipt of certified mail says.",
    "pec_address": "The address of the certified mailbox; by default the user of its login, where that is an address.",
    "pec_recipients": "How far certified mail has come for each recipient.",
    "pec_status": "How far certified mail has come for all of its recipients; a failure for one counts.",
    "pec_ts": "When its provider says that it happened, in Unix seconds.",
    "provider": "The PEC provider that attests it.",
    "receipts": "Those kept for the message's id, the first first.",
    "received_ts": "When it was taken in, in Unix seconds.",
    "signature": "Whether its signature was verified, could not be, or is invalid.",
    "signature_note": "Why its signature is not verified.",
    "ts": "Since when, in Unix seconds.",
}

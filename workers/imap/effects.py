"""From a mail's octets to what it tells of our messages, within the parsers' limits whatever comes."""

from collections.abc import Iterator

from mailproxy.bounces import Action, Kind, Recipient, Report, parse
from mailproxy.inbound import Effects, Fate, Mailbox, Nothing, Returned, Told
from mailproxy.pec.reading import Terms, proof_in

_TOLD = {
    Action.FAILED: Told.FAILED,
    Action.DELAYED: Told.DELAYED,
    Action.DELIVERED: Told.REACHED,
    Action.RELAYED: Told.REACHED,
    Action.EXPANDED: Told.REACHED,
}


def effects_of(octets: bytes, mailbox: Mailbox, terms: Terms) -> Effects:
    """What a mail from this mailbox is to have done. A receipt of certified mail has its signature verified first."""
    proof = proof_in(octets, terms) if mailbox.is_pec else None
    return proof or _returned(parse(octets))


def _returned(report: Report) -> Effects:
    fates = tuple(_fates(report))
    is_status = any(each.action is not None for each in report.recipients)
    if report.kind is Kind.AUTO_REPLY or (report.kind is Kind.NONE and not is_status):
        return Nothing(str(report.kind))
    return Returned(
        kind="delivered" if report.kind is Kind.NONE else str(report.kind),
        fates=fates,
        client_id=report.original_id,
        header_id=report.original_message_id,
        proofs=report.proofs,
        is_status=is_status and report.kind is not Kind.COMPLAINT,
    )


def _fates(report: Report) -> Iterator[Fate]:
    for each in report.recipients:
        told = Told.COMPLAINED if report.kind is Kind.COMPLAINT else _TOLD.get(each.action or Action.FAILED)
        if told is not None:
            yield Fate(
                told=told,
                addresses=tuple(one for one in (each.address, each.final_address) if one),
                type=str(each.type) if each.type else None,
                code=_code(each),
                status=each.status,
                reason=each.reason,
                address_is_dead=each.address_is_dead,
            )


def _code(recipient: Recipient) -> str | None:
    """The digits of the enhanced status as one word, else the SMTP code (REFERENCE §19)."""
    if recipient.status:
        return recipient.status.replace(".", "")
    return str(recipient.smtp_code) if recipient.smtp_code else None

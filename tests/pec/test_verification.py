"""What a receipt proves: who signed it, and what the signature covers (RELIABILITY I4, B74)."""

import shutil
from pathlib import Path

import pytest

from mailproxy.model import MessageId, public_pk
from mailproxy.pec import Evidence, Receipt, ReceiptKind
from mailproxy.pec.reading import Terms, proof_in, reference_of
from mailproxy.pec.verification import Verdict, verify
from tests.support.pec import AUTHOR, About, Provider, certification

ABOUT = About("<7f@example.com>", ("bob@pec.example.org",))


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture
def issuers(tmp_path: Path, provider: Provider) -> Path:
    return trusting(tmp_path, provider)


def trusting(place: Path, provider: Provider) -> Path:
    file = place / "issuers.pem"
    file.write_text(provider.issuer)
    return file


def judged(raw: bytes, issuers: Path | None) -> tuple[Verdict, str | None]:
    found = verify(raw, issuers)
    return found.verdict, found.note


def test_a_receipt_signed_by_a_trusted_provider_is_verified(provider: Provider, issuers: Path) -> None:
    found = proof_in(provider.receipt("accettazione", ABOUT), Terms(issuers, applies_unverified=False))
    assert found is not None
    assert (found.verdict, found.applies, found.receipt.kind) == (
        Verdict.VERIFIED,
        True,
        ReceiptKind.ACCEPTANCE,
    )
    assert found.receipt.message_id == ABOUT.message_id


def test_a_signature_around_its_content_is_opened(provider: Provider, issuers: Path) -> None:
    raw = provider.receipt("avvenuta-consegna", ABOUT, headers="", is_opaque=True)
    found = proof_in(raw, Terms(issuers, applies_unverified=False))
    assert found is not None
    assert (found.verdict, found.receipt.kind) == (Verdict.VERIFIED, ReceiptKind.DELIVERY)


def test_line_ends_that_changed_on_the_way_spoil_nothing(provider: Provider, issuers: Path) -> None:
    raw = provider.receipt("accettazione", ABOUT).replace(b"\r\n", b"\n")
    assert judged(raw, issuers) == (Verdict.VERIFIED, None)


def test_an_unsigned_receipt_is_unverified(issuers: Path) -> None:
    raw = b"X-Ricevuta: accettazione\r\nFrom: posta-certificata@pec.example\r\nSubject: ACCETTAZIONE: x\r\n\r\nx"
    assert judged(raw, issuers) == (Verdict.UNVERIFIED, "it is not signed")


def test_a_signer_nobody_vouches_for_is_unverified(tmp_path: Path, provider: Provider) -> None:
    verdict, note = judged(provider.receipt("accettazione", ABOUT), trusting(tmp_path, Provider()))
    assert verdict is Verdict.UNVERIFIED
    assert "issuer certificate" in (note or "")


def test_an_expired_signer_is_unverified(tmp_path: Path) -> None:
    expired = Provider(days=-1)
    verdict, note = judged(expired.receipt("accettazione", ABOUT), trusting(tmp_path, expired))
    assert verdict is Verdict.UNVERIFIED
    assert "expired" in (note or "")


def test_a_signer_who_is_not_the_author_is_unverified(provider: Provider, issuers: Path) -> None:
    raw = provider.receipt("accettazione", ABOUT).replace(
        b"From: " + AUTHOR.encode(), b"From: x@other.example"
    )
    assert judged(raw, issuers) == (Verdict.UNVERIFIED, f"it is signed by {AUTHOR}, not by its author")


def test_without_issuers_nothing_is_verified(provider: Provider) -> None:
    raw = provider.receipt("accettazione", ABOUT)
    assert judged(raw, None) == (Verdict.UNVERIFIED, "no issuers are configured")


@pytest.mark.parametrize("is_trusting", [True, False])
def test_what_was_altered_is_invalid_and_never_applied(
    provider: Provider, issuers: Path, is_trusting: bool
) -> None:
    raw = provider.receipt("accettazione", ABOUT).replace(b"Ricevuta\r\n", b"Ricevuto\r\n")
    found = proof_in(raw, Terms(issuers if is_trusting else None, applies_unverified=True))
    assert found is not None
    assert (found.verdict, found.applies) == (Verdict.INVALID, False)


def test_a_signature_that_is_none_is_invalid(provider: Provider, issuers: Path) -> None:
    head, _, _ = provider.receipt("accettazione", ABOUT).rpartition(b"base64\r\n\r\n")
    raw = head + b"base64\r\n\r\nMIAG\r\n--out--\r\n"
    assert judged(raw, issuers)[0] is Verdict.INVALID


def test_what_lies_outside_the_signature_proves_nothing(provider: Provider, issuers: Path) -> None:
    """Ordinary words, truly signed, under the header of a receipt."""
    top = f"X-Ricevuta: avvenuta-consegna\nX-Riferimento-Message-ID: <7f@example.com>\nFrom: {AUTHOR}\n"
    raw = provider.signed(top, b"Content-Type: text/plain\r\n\r\nGuten Tag\r\n")
    found = proof_in(raw, Terms(issuers, applies_unverified=False))
    assert found is not None
    assert (found.verdict, found.applies) == (Verdict.UNVERIFIED, False)
    assert found.note == "no certification data are signed"


def test_the_header_cannot_make_a_refusal_an_acceptance(provider: Provider, issuers: Path) -> None:
    refusal = provider.receipt("non-accettazione", ABOUT, headers="X-Ricevuta: accettazione\n")
    found = proof_in(refusal, Terms(issuers, applies_unverified=False))
    assert found is not None
    assert (found.verdict, found.receipt.kind) == (Verdict.VERIFIED, ReceiptKind.NON_ACCEPTANCE)


def test_certification_data_with_entities_are_refused(provider: Provider, issuers: Path) -> None:
    xml = certification("avvenuta-consegna", ABOUT).replace(
        "<postacert", '<!DOCTYPE postacert [<!ENTITY a "b">]><postacert', 1
    )
    raw = provider.signed(
        f"From: {AUTHOR}\nSubject: Contratto\n", provider.content("avvenuta-consegna", ABOUT, xml)
    )
    assert proof_in(raw, Terms(issuers, applies_unverified=True)) is None


@pytest.mark.parametrize("transport", ["posta-certificata", "errore"])
def test_mail_in_an_envelope_of_its_provider_is_no_receipt(
    provider: Provider, issuers: Path, transport: str
) -> None:
    top = f"X-Trasporto: {transport}\nFrom: {AUTHOR}\nSubject: ACCETTAZIONE: x\n"
    raw = provider.signed(top, provider.content("accettazione", ABOUT))
    assert proof_in(raw, Terms(issuers, applies_unverified=True)) is None


def test_without_openssl_receipts_are_unverified(
    provider: Provider, issuers: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert shutil.which("openssl"), "the tests need openssl"
    monkeypatch.setenv("PATH", str(tmp_path))
    verdict, note = judged(provider.receipt("accettazione", ABOUT), issuers)
    assert verdict is Verdict.UNVERIFIED
    assert "openssl cannot be run" in (note or "")


def test_a_message_is_named_by_the_id_we_made() -> None:
    pk = public_pk(77, MessageId(5))
    for text, expected in (
        (f"<{pk}@example.com>", (5, 0)),
        (f"<{pk}.3@example.com>", (5, 3)),
        ("<other@example.com>", (None, None)),
        (f"<{public_pk(78, MessageId(5))}@example.com>", (None, None)),
    ):
        named = reference_of(Receipt(ReceiptKind.DELIVERY, Evidence.HEADER, message_id=text), 77)
        assert (named.number, named.revision) == expected

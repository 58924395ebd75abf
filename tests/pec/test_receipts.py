"""Receipts as providers write them (RFC 6109 §3 and §4), and what is none."""

import base64
import itertools

import pytest

from mailproxy.pec import Evidence, ReceiptKind, State, Transport, advanced, parse, transport_of

ALL = ReceiptKind
WORDS = {
    ALL.ACCEPTANCE: "ACCETTAZIONE",
    ALL.NON_ACCEPTANCE: "AVVISO DI NON ACCETTAZIONE",
    ALL.TAKING_IN_CHARGE: "PRESA IN CARICO",
    ALL.DELIVERY: "CONSEGNA",
    ALL.DELIVERY_ERROR: "AVVISO DI MANCATA CONSEGNA",
    ALL.DELIVERY_ERROR_WARNING: "AVVISO DI MANCATA CONSEGNA PER SUP. TEMPO MASSIMO",
    ALL.VIRUS: "PROBLEMA DI SICUREZZA",
}


def daticert(
    kind: str, *, error: str = "nessuno", data: str = "", message_id: str = "<7f@example.com>"
) -> str:
    escaped = message_id.replace("<", "&lt;").replace(">", "&gt;")
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<postacert tipo="{kind}" errore="{error}">
  <intestazione>
    <mittente>ann@pec.example.com</mittente>
    <destinatari tipo="certificato">bob@pec.example.org</destinatari>
    <destinatari tipo="esterno">carol@example.org</destinatari>
    <risposte>ann@pec.example.com</risposte>
    <oggetto>Fattura &amp; altro</oggetto>
  </intestazione>
  <dati>
    <gestore-emittente>Gestore PEC S.p.A.</gestore-emittente>
    <data zona="+0200"><giorno>17/06/2024</giorno><ora>15:26:12</ora></data>
    <identificativo>opec1@pec.example.com</identificativo>
    <msgid>{escaped}</msgid>
    <ricevuta tipo="completa"/>{data}
  </dati>
</postacert>
"""


def receipt(
    header: str = "X-Ricevuta: accettazione\nX-Riferimento-Message-ID: <7f@example.com>",
    subject: str = "ACCETTAZIONE: Fattura",
    xml: str | None = None,
    returned: str | None = None,
    text: str = "Ricevuta\n",
) -> bytes:
    parts = [f"Content-Type: text/plain; charset=utf-8\n\n{text}"]
    if xml is not None:
        coded = base64.encodebytes(xml.encode()).decode()
        parts.append(
            'Content-Type: application/xml; name="daticert.xml"\nContent-Transfer-Encoding: base64\n'
            f'Content-Disposition: inline; filename="daticert.xml"\n\n{coded}'
        )
    if returned is not None:
        parts.append(f"Content-Type: message/rfc822; name=postacert.eml\n\n{returned}")
    inner = "".join(f"--in\n{part}\n" for part in parts) + "--in--\n"
    signed = (
        f"--out\nContent-Type: multipart/mixed; boundary=in\n\n{inner}\n"
        "--out\nContent-Type: application/pkcs7-signature; name=smime.p7s\n\nMIAG\n--out--\n"
    )
    return (
        f"{header}\nFrom: posta-certificata@pec.example.com\nTo: ann@pec.example.com\nSubject: {subject}\n"
        "Date: Mon, 17 Jun 2024 15:26:13 +0200\n"
        f"Content-Type: multipart/signed; protocol=x; boundary=out\n\n{signed}"
    ).encode()


@pytest.mark.parametrize("kind", ALL)
def test_each_receipt_is_known_by_its_data_by_its_header_and_by_its_subject(kind: ReceiptKind) -> None:
    subject = f"{WORDS[kind]}: Fattura"
    header = f"X-Ricevuta: {kind}\nX-Riferimento-Message-ID: <7f@example.com>"
    for raw, evidence in (
        (receipt(header, subject, daticert(kind)), Evidence.CERTIFICATION),
        (receipt("X-Other: x", "Fattura", daticert(kind)), Evidence.CERTIFICATION),
        (receipt(header, "Fattura"), Evidence.HEADER),
        (receipt("X-Other: x", subject), Evidence.SUBJECT),
    ):
        found = parse(raw)
        assert found is not None
        assert (found.kind, found.evidence, found.contradicted) == (kind, evidence, False)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Accettazione", ALL.ACCEPTANCE),
        ("consegna", ALL.DELIVERY),
        ("mancata-consegna", ALL.DELIVERY_ERROR),
        ("NON-ACCETTAZIONE", ALL.NON_ACCEPTANCE),
    ],
)
def test_other_spellings_of_the_header_are_understood(word: str, kind: ReceiptKind) -> None:
    found = parse(receipt(f"X-Ricevuta: {word}", "Fattura"))
    assert found is not None
    assert found.kind is kind


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("ACCETTAZIONE: x", ALL.ACCEPTANCE),
        ("NON ACCETTAZIONE: x", ALL.NON_ACCEPTANCE),
        ("AVVISO DI NON ACCETTAZIONE PER VIRUS: x", ALL.NON_ACCEPTANCE),
        ("non accettazione : x", ALL.NON_ACCEPTANCE),
        ("AVVENUTA CONSEGNA: x", ALL.DELIVERY),
        ("POSTA CERTIFICATA: AVVENUTA CONSEGNA: x", ALL.DELIVERY),
        ("MANCATA CONSEGNA: x", ALL.DELIVERY_ERROR),
        ("ERRORE CONSEGNA: x", ALL.DELIVERY_ERROR),
        ("AVVISO DI MANCATA CONSEGNA PER VIRUS: x", ALL.DELIVERY_ERROR),
        ("CONSEGNA: ACCETTAZIONE: x", ALL.DELIVERY),
        ("=?utf-8?q?ACCETTAZIONE=3A_citt=C3=A0?=", ALL.ACCEPTANCE),
        ("Re: ACCETTAZIONE: x", None),
        ("La mancata consegna: una storia", None),
        ("ACCETTAZIONE", None),
        ("POSTA CERTIFICATA: Fattura", None),
        ("ANOMALIA MESSAGGIO: ACCETTAZIONE: x", None),
        ("", None),
    ],
)
def test_a_subject_counts_only_as_a_provider_writes_it(subject: str, kind: ReceiptKind | None) -> None:
    found = parse(receipt("X-Other: x", subject))
    assert (found and found.kind) is kind


def test_a_refusal_is_never_an_acceptance() -> None:
    refusal = ALL.NON_ACCEPTANCE
    told = (
        receipt("X-Ricevuta: accettazione", "ACCETTAZIONE: x", daticert("non-accettazione", error="no-dest")),
        receipt("X-Ricevuta: non-accettazione", "ACCETTAZIONE: x", daticert("accettazione")),
        receipt("X-Ricevuta: accettazione", "AVVISO DI NON ACCETTAZIONE: x"),
    )
    for raw in told:
        found = parse(raw)
        assert found is not None
        assert (found.kind, found.contradicted) == (refusal, True)
    assert advanced(State.WAITING, refusal) is State.REFUSED


def test_the_header_of_a_refusal_outweighs_its_subject() -> None:
    found = parse(receipt("X-Ricevuta: non-accettazione", "ACCETTAZIONE: x"))
    assert found is not None
    assert found.kind is ALL.NON_ACCEPTANCE


def test_the_certification_data_tell_of_what_and_of_whom() -> None:
    xml = daticert(
        "errore-consegna",
        error="no-dest",
        data="<consegna>bob@pec.example.org</consegna>"
        "<errore-esteso>5.1.1 - Gestore PEC - indirizzo non valido</errore-esteso>",
    )
    header = "X-Ricevuta: errore-consegna\nX-Riferimento-Message-ID: <7f@example.com>"
    found = parse(receipt(header, "AVVISO DI MANCATA CONSEGNA: Fattura", xml))
    assert found is not None
    assert found.recipients == ("bob@pec.example.org",)
    assert (found.message_id, found.identifier) == ("<7f@example.com>", "opec1@pec.example.com")
    assert (found.provider, found.error) == ("Gestore PEC S.p.A.", "no-dest")
    assert found.reason == "5.1.1 - Gestore PEC - indirizzo non valido"
    assert found.at == 1718630772.0
    assert not found.contradicted


def test_an_acceptance_is_about_all_recipients() -> None:
    found = parse(receipt(xml=daticert("accettazione")))
    assert found is not None
    assert found.recipients == ("bob@pec.example.org", "carol@example.org")
    assert (found.error, found.reason) == (None, None)


def test_a_complete_receipt_brings_the_message_back() -> None:
    returned = (
        "Message-ID: <7f@example.com>\nX-Genro-Mail-ID: invoice-17\nX-Ricevuta: accettazione\n\nDear Bob\n"
    )
    xml = daticert("avvenuta-consegna", data="<consegna>bob@pec.example.org</consegna>", message_id="")
    found = parse(receipt("X-Ricevuta: avvenuta-consegna", "CONSEGNA: Fattura", xml, returned))
    assert found is not None
    assert (found.kind, found.original_id, found.message_id) == (
        ALL.DELIVERY,
        "invoice-17",
        "<7f@example.com>",
    )


def test_what_the_data_leave_out_is_read_elsewhere() -> None:
    found = parse(
        receipt(
            "X-Ricevuta: errore-consegna\nX-Riferimento-Message-ID: 7f@example.com\n"
            "X-Destinatario: bob@pec.example.org",
            "AVVISO DI MANCATA CONSEGNA: Fattura",
            text="Il messaggio non è stato consegnato.\nErrore: casella piena\n",
        )
    )
    assert found is not None
    assert found.recipients == ("bob@pec.example.org",)
    assert (found.message_id, found.reason, found.at) == ("<7f@example.com>", "casella piena", 1718630773.0)
    by_header = parse(receipt("X-Ricevuta: errore-consegna\nX-Errore: casella inesistente", "x"))
    assert by_header is not None
    assert (by_header.message_id, by_header.reason) == (None, "casella inesistente")


def test_two_message_ids_contradict_each_other() -> None:
    found = parse(receipt(xml=daticert("accettazione", message_id="<other@example.com>")))
    assert found is not None
    assert found.contradicted


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "not XML",
        "<postacert tipo='accettazione'>",
        "<other tipo='accettazione'/>",
        "<a><postacert tipo='accettazione'/></a>",
        "<!DOCTYPE postacert [<!ELEMENT postacert ANY>]><postacert tipo='accettazione'/>",
        "<!DOCTYPE p [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]><postacert tipo='accettazione'>&b;</postacert>",
        "<!DOCTYPE p SYSTEM 'file:///etc/passwd'><postacert tipo='accettazione'>&p;</postacert>",
        "<!DOCTYPE p [<!ENTITY % a SYSTEM 'file:///etc/passwd'>%a;]><postacert tipo='accettazione'/>",
        "<postacert tipo='accettazione'>" + "<a>" * 100_000 + "</a>" * 100_000 + "</postacert>",
        "<postacert tipo='accettazione'>" + "<a/>" * 200_000 + "</postacert>",
        "<postacert tipo='accettazione'><dati>" + "x" * 1_100_000 + "</dati></postacert>",
        "<?xml version='1.0' encoding='punycode'?><postacert tipo='accettazione'/>",
        "<?xml version='1.0' encoding='none'?><postacert tipo='accettazione'/>",
    ],
    ids=["empty", "text", "cut", "root", "inner", "doctype", "entities", "external", "parameter", "deep", "many",
         "long", "codec", "encoding"],
)  # fmt: skip
def test_data_that_are_not_what_they_should_be_attest_nothing(xml: str) -> None:
    assert parse(receipt("X-Other: x", "Fattura", xml)) is None


def test_the_document_type_may_be_named() -> None:
    xml = daticert("accettazione").replace("?>\n", '?>\n<!DOCTYPE postacert SYSTEM "Postacert.dtd">\n', 1)
    found = parse(receipt("X-Other: x", "Fattura", xml))
    assert found is not None
    assert (found.kind, found.evidence) == (ALL.ACCEPTANCE, Evidence.CERTIFICATION)


@pytest.mark.parametrize("subject", ["AVVISO DI MANCATA CONSEGNA: x", "ACCETTAZIONE: x", "x"])
def test_a_warning_is_no_failure_whatever_its_subject(subject: str) -> None:
    kind = ALL.DELIVERY_ERROR_WARNING
    for xml in (None, daticert(kind)):
        found = parse(receipt(f"X-Ricevuta: {kind}", subject, xml))
        assert found is not None
        assert (found.kind, found.contradicted) == (kind, False)
        assert advanced(State.ACCEPTED, found.kind) is State.LATE


@pytest.mark.parametrize(
    ("day", "clock", "zone", "at"),
    [
        ("17/06/2024", "15:26:12", "+0200", 1718630772.0),
        ("17/6/2024", "13:26:12", "+00:00", 1718630772.0),
        ("17/06/2024", "09:56:12", "-0330", 1718630772.0),
        ("31/02/2024", "15:26:12", "+0200", None),
        ("17/06/2024", "25:26:12", "+0200", None),
        ("17/06/2024", "15:26:12", "", None),
        ("", "", "+0200", None),
    ],
)
def test_the_time_is_the_certified_one(day: str, clock: str, zone: str, at: float | None) -> None:
    xml = (
        daticert("accettazione").replace("17/06/2024", day).replace("15:26:12", clock).replace("+0200", zone)
    )
    found = parse(receipt(xml=xml))
    assert found is not None
    assert found.at == (1718630773.0 if at is None else at)


def test_mail_in_an_envelope_is_no_receipt() -> None:
    certified = receipt(
        "X-Trasporto: posta-certificata", "POSTA CERTIFICATA: x", daticert("posta-certificata")
    )
    anomaly = receipt(
        "X-Trasporto: errore\nX-Ricevuta: accettazione", "ACCETTAZIONE: x", daticert("accettazione")
    )
    assert (parse(certified), transport_of(certified)) == (None, Transport.CERTIFIED)
    assert (parse(anomaly), transport_of(anomaly)) == (None, Transport.ANOMALY)
    assert transport_of(receipt()) is None


@pytest.mark.parametrize("raw", [b"", b"\0" * 1000, b"X-Ricevuta: altro\n\n", b"Date: x\nX-Ricevuta:\n\n"])
def test_other_mail_is_no_receipt(raw: bytes) -> None:
    assert parse(raw) is None


@pytest.mark.parametrize(
    "date",
    [
        "",
        "not a date",
        "Mon, 99 Xxx 2024 25:61:61 +9999",
        "1 Jan 99999999999999999999 00:00:00",
        "x" * 10_000,
    ],
)
def test_a_receipt_may_have_no_time(date: str) -> None:
    found = parse(f"X-Ricevuta: accettazione\nDate: {date}\n\n".encode())
    assert found is not None
    assert found.at is None or isinstance(found.at, float)


def test_only_some_receipts_end_the_waiting() -> None:
    assert {kind for kind in ALL if not kind.is_final} == {
        ALL.ACCEPTANCE,
        ALL.TAKING_IN_CHARGE,
        ALL.DELIVERY_ERROR_WARNING,
    }
    assert {state for state in State if state.is_final} == {
        State.REFUSED,
        State.FAILED,
        State.VIRUS,
        State.DELIVERED,
    }


@pytest.mark.parametrize(
    ("receipts", "state"),
    [
        ([], State.WAITING),
        ([ALL.ACCEPTANCE], State.ACCEPTED),
        ([ALL.ACCEPTANCE, ALL.TAKING_IN_CHARGE], State.TAKEN_IN_CHARGE),
        ([ALL.TAKING_IN_CHARGE, ALL.ACCEPTANCE], State.TAKEN_IN_CHARGE),
        ([ALL.DELIVERY, ALL.ACCEPTANCE, ALL.ACCEPTANCE], State.DELIVERED),
        ([ALL.ACCEPTANCE, ALL.DELIVERY_ERROR_WARNING], State.LATE),
        ([ALL.ACCEPTANCE, ALL.DELIVERY_ERROR_WARNING, ALL.DELIVERY], State.DELIVERED),
        ([ALL.DELIVERY_ERROR, ALL.DELIVERY_ERROR_WARNING], State.FAILED),
        ([ALL.DELIVERY_ERROR, ALL.VIRUS], State.FAILED),
        ([ALL.VIRUS, ALL.DELIVERY_ERROR], State.VIRUS),
        ([ALL.DELIVERY_ERROR, ALL.DELIVERY], State.DELIVERED),
    ],
)
def test_receipts_never_set_a_recipient_back(receipts: list[ReceiptKind], state: State) -> None:
    reached = State.WAITING
    for kind in receipts:
        reached = advanced(reached, kind)
    assert reached is state


def test_an_acceptance_after_the_deadline_still_counts() -> None:
    assert advanced(State.TIMED_OUT, ALL.ACCEPTANCE) is State.ACCEPTED


def test_receipts_lead_to_the_same_end_in_any_order_and_number() -> None:
    for kinds in itertools.product([each for each in ALL if each is not ALL.VIRUS], repeat=3):
        ends = set()
        for order in itertools.permutations((*kinds, kinds[0])):
            state = State.WAITING
            for kind in order:
                state = advanced(state, kind)
            ends.add(state)
        assert len(ends) == 1 or ends == {State.REFUSED, State.FAILED}

"""Recognises receipts by their certification data, else by their header, else by their subject."""

import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from enum import StrEnum

from mailproxy.bounces.originals import original_of
from mailproxy.bounces.status import one_line
from mailproxy.model import Instant
from mailproxy.pec.daticert import Certification, Unreadable, read_certification
from mailproxy.received import Limit, Mail, Part, read, unencoded

CERTIFICATION_FILE = "daticert.xml"

ADDRESS = re.compile(r"[^\s<>()\[\],;:\"'|]{1,64}@[^\s<>()\[\],;:\"'|]{1,255}")
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,500}>")
_CAUSE = re.compile(
    r"^[ \t]{0,20}(?:errore|motivo|causa)[ \t]*:[ \t]*(\S[^\n]*)", re.IGNORECASE | re.MULTILINE
)
_FILE_NAME = re.compile(r"name\*?=\s*\"?(?:[\w-]{0,20}'[\w-]{0,20}')?\"?\s*daticert\.xml", re.IGNORECASE)


class ReceiptKind(StrEnum):
    """What a receipt attests, in the words of its `X-Ricevuta` header."""

    ACCEPTANCE = "accettazione"
    NON_ACCEPTANCE = "non-accettazione"
    TAKING_IN_CHARGE = "presa-in-carico"
    DELIVERY = "avvenuta-consegna"
    DELIVERY_ERROR = "errore-consegna"
    DELIVERY_ERROR_WARNING = "preavviso-errore-consegna"
    VIRUS = "rilevazione-virus"

    @property
    def is_final(self) -> bool:
        """Whether nothing else is to be expected for the recipients it is about."""
        return self not in (self.ACCEPTANCE, self.TAKING_IN_CHARGE, self.DELIVERY_ERROR_WARNING)

    @property
    def is_failure(self) -> bool:
        return self in (self.NON_ACCEPTANCE, self.DELIVERY_ERROR, self.VIRUS)


class Transport(StrEnum):
    """The envelope a PEC provider puts around mail that is no receipt, by its `X-Trasporto` header."""

    CERTIFIED = "posta-certificata"
    ANOMALY = "errore"


class Evidence(StrEnum):
    """By what a receipt was recognised, the best first: only certification data lies under the signature."""

    CERTIFICATION = "certification"
    HEADER = "header"
    SUBJECT = "subject"


_OTHER_WORDS = {
    "consegna": ReceiptKind.DELIVERY,
    "mancata-consegna": ReceiptKind.DELIVERY_ERROR,
    "preavviso-mancata-consegna": ReceiptKind.DELIVERY_ERROR_WARNING,
}
_SUBJECTS = (
    (r"(?:avviso di )?non accettazione(?: per virus)?", ReceiptKind.NON_ACCEPTANCE),
    (r"accettazione", ReceiptKind.ACCEPTANCE),
    (r"presa in carico", ReceiptKind.TAKING_IN_CHARGE),
    (
        r"(?:avviso di )?(?:mancata|errore) consegna per sup\S* (?:del )?tempo massimo",
        ReceiptKind.DELIVERY_ERROR_WARNING,
    ),
    (r"preavviso (?:di )?(?:mancata|errore) consegna", ReceiptKind.DELIVERY_ERROR_WARNING),
    (r"(?:avviso di )?(?:mancata|errore) consegna(?: per virus)?", ReceiptKind.DELIVERY_ERROR),
    (r"(?:posta certificata: ?)?(?:avvenuta )?consegna", ReceiptKind.DELIVERY),
    (r"(?:problema di sicurezza|rilevazione virus)", ReceiptKind.VIRUS),
)
_SUBJECT_KINDS = tuple((re.compile(rf"\s*{words}\s*:", re.IGNORECASE), kind) for words, kind in _SUBJECTS)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt. Nothing of it is proven here: signatures are not looked at.

    `recipients` are those it is about; a refusal or an acceptance is about all the message had. `message_id` is
    that of our message, with its angle brackets; `original_id` our tracking header where the message came
    back. `contradicted` says that header and certification data, or two of the latter, disagree.
    """

    kind: ReceiptKind
    evidence: Evidence
    recipients: tuple[str, ...] = ()
    message_id: str | None = None
    original_id: str | None = None
    identifier: str | None = None
    provider: str | None = None
    error: str | None = None
    reason: str | None = None
    at: Instant | None = None
    contradicted: bool = False
    exceeded: frozenset[Limit] = frozenset()


def parse(raw: bytes) -> Receipt | None:
    """The receipt that a mail is; None for any other mail, also for one in a PEC envelope. Never raises.

    Where its parts disagree on what it attests, a failure counts. The subject is asked where nothing else
    speaks (providers write the same one over a failure and its warning), and where it says a refusal.
    """
    mail = read(raw)
    if mail.top.get("x-trasporto") is not None:
        return None
    certifications = _certifications(mail)
    by_subject = _kind_by_subject(unencoded(mail.top.get("subject") or ""))
    stated = [
        *((_kind(each.kind), Evidence.CERTIFICATION) for each in certifications),
        (_kind(mail.top.get("x-ricevuta") or ""), Evidence.HEADER),
    ]
    if by_subject is ReceiptKind.NON_ACCEPTANCE or not any(kind for kind, _ in stated):
        stated.append((by_subject, Evidence.SUBJECT))
    kinds = [(kind, evidence) for kind, evidence in stated if kind is not None]
    if not kinds:
        return None
    contradicted = len({kind for kind, _ in kinds}) > 1
    kind, evidence = next((each for each in kinds if contradicted and each[0].is_failure), kinds[0])
    certified = next(iter(certifications), None)
    return _receipt(mail, kind, evidence, certified, contradicted=contradicted)


def transport_of(raw: bytes) -> Transport | None:
    """The PEC envelope around a mail that is no receipt: ordinary mail comes in one of anomaly."""
    value = (read(raw[: 1 << 18]).top.get("x-trasporto") or "").strip().lower()
    return next((each for each in Transport if each == value), None)


def _kind(word: str) -> ReceiptKind | None:
    word = word.strip().lower()
    return next((kind for kind in ReceiptKind if kind == word), None) or _OTHER_WORDS.get(word)


def _kind_by_subject(subject: str) -> ReceiptKind | None:
    return next((kind for words, kind in _SUBJECT_KINDS if words.match(subject)), None)


def _certifications(mail: Mail) -> list[Certification]:
    found = []
    for part in mail.leaves:
        if _is_certification(part):
            try:
                found.append(read_certification(part.content()))
            except Unreadable:
                continue
    return found


def _is_certification(part: Part) -> bool:
    named = f"{part.get('content-type') or ''};{part.get('content-disposition') or ''}"[:2000]
    return part.media_type != "message/rfc822" and _FILE_NAME.search(named) is not None


def _receipt(
    mail: Mail,
    kind: ReceiptKind,
    evidence: Evidence,
    certified: Certification | None,
    *,
    contradicted: bool,
) -> Receipt:
    original = original_of(mail)
    reference = _message_id(mail.top.get("x-riferimento-message-id"))
    certified_id = _message_id(certified.message_id) if certified else None
    error = certified.error if certified and certified.error not in ("", "nessuno") else None
    return Receipt(
        kind,
        evidence,
        _recipients(mail, kind, certified),
        certified_id or reference or original.message_id,
        original.tracking_id,
        certified.identifier if certified else None,
        certified.provider if certified else None,
        error,
        _reason(mail, kind, certified),
        certified.at if certified and certified.at is not None else _date(mail),
        contradicted or bool(reference and certified_id and reference != certified_id),
        mail.exceeded,
    )


def _message_id(value: str | None) -> str | None:
    text = (value or "").strip()
    found = _MESSAGE_ID.search(text)
    if found:
        return found[0]
    is_bare = 0 < len(text) <= 500 and not re.search(r"[\s<>]", text)
    return f"<{text}>" if is_bare else None


def _recipients(mail: Mail, kind: ReceiptKind, certified: Certification | None) -> tuple[str, ...]:
    about_all = kind in (ReceiptKind.ACCEPTANCE, ReceiptKind.NON_ACCEPTANCE)
    if certified and certified.delivered_to and not about_all:
        return _addresses(certified.delivered_to)
    if certified and certified.recipients:
        return _addresses(" ".join(certified.recipients))
    named = mail.top.get("x-destinatario") or mail.top.get("x-destinatari")
    return _addresses(named or unencoded(mail.top.get("subject") or ""))


def _addresses(text: str) -> tuple[str, ...]:
    found = (each.strip(".") for each in ADDRESS.findall(text[:50_000]))
    return tuple(dict.fromkeys(each for each in found if each.isprintable()))


def _reason(mail: Mail, kind: ReceiptKind, certified: Certification | None) -> str | None:
    if certified and certified.extended_error:
        return one_line(certified.extended_error)
    if header := mail.top.get("x-errore"):
        return one_line(unencoded(header))
    if not (kind.is_failure or kind is ReceiptKind.DELIVERY_ERROR_WARNING):
        return None
    texts = (part.text() for part in mail.leaves if part.media_type == "text/plain")
    return next((one_line(cause[1]) for text in texts if (cause := _CAUSE.search(text))), None)


def _date(mail: Mail) -> Instant | None:
    for name in ("date", "x-data-ricevuta"):
        try:
            parsed = parsedate_tz((mail.top.get(name) or "")[:100])
            if parsed:
                return float(mktime_tz(parsed))
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return None

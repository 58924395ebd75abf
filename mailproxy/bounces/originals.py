"""The message a report is about: whatever of it was returned, quoted or named."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailproxy import proof
from mailproxy.received import Fields, Mail, Part, decoded, every, fields_of, first, unencoded

MAX_ID = 512
MAX_SEARCHED = 256 << 10

RETURNED_TYPES = frozenset(
    [
        "message/rfc822",
        "message/global",
        "message/rfc822-headers",
        "message/global-headers",
        "text/rfc822-headers",
        "text/rfc822",
    ]
)
TRACKING_HEADER = "x-genro-mail-id"
PROOF_HEADER = proof.HEADER.lower()

_MESSAGE_ID = re.compile(r"<[^<>\s]{1,500}>")
_QUOTED_TRACKING = re.compile(
    r"^[>| \t]{0,20}X-Genro-Mail-ID[ \t]*:[ \t]*(\S[^\n]*)", re.IGNORECASE | re.MULTILINE
)
_QUOTED_PROOF = re.compile(
    r"^[>| \t]{0,20}X-Genro-Mail-Proof[ \t]*:[ \t]*(\S[^\n]*)", re.IGNORECASE | re.MULTILINE
)
_QUOTED_MESSAGE_ID = re.compile(
    r"^[>| \t*-]{0,20}(?:original[ -])?message[ -]?id(?:entifier)?[ \t]*:[ \t]*\n?[ \t]*(<[^<>\s]{1,500}>)",
    re.IGNORECASE | re.MULTILINE,
)
_DELIVERED_TO = ("to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to")
_VERP = re.compile(r"\+mp-([a-z2-7]{16,29})@", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Original:
    """What a mail tells of the message it is about; `to` are the recipients its header named."""

    tracking_id: str | None
    message_id: str | None
    proofs: tuple[str, ...]
    to: str


def original_of(mail: Mail) -> Original:
    """Read from the returned message or header, else from what is quoted in text, else from In-Reply-To."""
    headers = tuple(_returned_headers(mail))
    tracking_id = _first(headers, TRACKING_HEADER)
    proofs = [value for fields in headers for value in every(fields, PROOF_HEADER)]
    message_id = next(iter(_ids(_first(headers, "message-id"))), None)
    if tracking_id is None or message_id is None:
        text = _quotable_text(mail)
        quoted = _QUOTED_TRACKING.search(text)
        tracking_id = tracking_id or (quoted[1] if quoted else None)
        proofs += _QUOTED_PROOF.findall(text)[:10]
        message_id = message_id or _named_message_id(mail, text)
    for value in every(mail.top.fields, *_DELIVERED_TO):
        proofs += _VERP.findall(value)[:10]
    to = ", ".join(value for fields in headers for value in every(fields, "to", "cc"))
    tags = tuple(dict.fromkeys(tag.strip().lower() for tag in proofs if len(tag) < MAX_ID))
    return Original(_cut(tracking_id), message_id, tags, to)


def is_returned(part: Part) -> bool:
    return part.media_type in RETURNED_TYPES


def _returned_headers(mail: Mail) -> Iterator[Fields]:
    for part in mail.leaves:
        if is_returned(part) and part is not mail.top:
            yield fields_of(part.content().lstrip(b"\n").partition(b"\n\n")[0])


def _quotable_text(mail: Mail) -> str:
    """The texts of the report, and the whole of it when it is not made of parts."""
    texts = [part for part in mail.leaves if part.media_type.startswith("text/")]
    octets = b"\n".join(part.content()[:MAX_SEARCHED] for part in texts[:20])[:MAX_SEARCHED]
    return decoded(octets, None)


def _named_message_id(mail: Mail, text: str) -> str | None:
    named = [_first((fields_of(part.content()),), "original-message-id") for part in mail.leaves[:20]]
    candidates = [*named, mail.top.get("x-original-message-id")]
    quoted = _QUOTED_MESSAGE_ID.search(text)
    candidates.append(quoted[1] if quoted else None)
    candidates.append(mail.top.get("in-reply-to"))
    references = _ids(mail.top.get("references"))
    candidates.append(references[-1] if references else None)
    return next((ids[0] for ids in map(_ids, candidates) if ids), None)


def _first(headers: tuple[Fields, ...], name: str) -> str | None:
    return next((value for fields in headers if (value := first(fields, name))), None)


def _ids(value: str | None) -> list[str]:
    return _MESSAGE_ID.findall(value or "")


def _cut(tracking_id: str | None) -> str | None:
    clear = unencoded(tracking_id or "").strip()
    return clear if clear and len(clear) <= MAX_ID else None

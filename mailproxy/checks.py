"""What is refused at the door: every fault of a message that shows without I/O."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mailproxy import media_types
from mailproxy.address import parse, split_list
from mailproxy.encoded_words import hides_line_break
from mailproxy.errors import InvalidInput
from mailproxy.headers import HEADER_NAME
from mailproxy.model import Attachment, Content

MAX_RECIPIENTS = 1000
MAX_SUBJECT = 998
MAX_HEADERS = 499
MAX_HEADER_OCTETS = 65536
MAX_MESSAGE_ID = 250
MAX_ID = 128
MAX_FILENAME = 255

_RESERVED = frozenset(
    ["from", "to", "cc", "bcc", "sender", "date", "message-id", "received", "return-path"]
).union(["x-genro-mail-id", "x-genro-mail-proof"])
_RESERVED_PREFIXES = ("mime-", "content-", "dkim-")
_REPLACING = ("subject", "reply-to")
_ID_TEXT = r"[!#-'*+\-./0-9:;=?A-Z^-~]+"
_MESSAGE_ID = re.compile(rf"<{_ID_TEXT}@(?:{_ID_TEXT}|\[[!-;=?-Z^-~]+\])>")
_CONTENT_ID = re.compile(r"<[!-;=?-~]{1,248}>|[!-;=?-~]{1,248}")
_TEXT_OCTETS = bytes({*range(256)} - {*range(0x20)} | {0x09, 0x0A, 0x0D})
_BREAKS = re.compile("[\r\n\0]")
_FILENAME_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a message: the client's field (`to[3]`, `attachments[0].filename`), a stable code,
    and what is wrong and how to mend it."""

    field: str
    code: str
    detail: str


def check(content: Content) -> list[Fault]:
    """Every fault of `content`; an empty list promises that it renders and can be read back."""
    effective = substituted(content)
    return [
        *_id_faults(effective.id),
        *_address_faults(effective),
        *_subject_faults(effective.subject),
        *_message_id_faults(effective.message_id),
        *_header_faults(effective.headers),
        *_body_faults("body_text", effective.body_text),
        *_body_faults("body_html", effective.body_html),
        *(
            fault
            for number, part in enumerate(effective.attachments)
            for fault in _attachment_faults(number, part)
        ),
    ]


def substituted(content: Content) -> Content:
    """`content` with custom Subject and Reply-To headers, which a message has once each, in their fields."""
    given = {name.lower(): value for name, value in content.headers if name.lower() in _REPLACING}
    if not given:
        return content
    return replace(
        content,
        subject=given.get("subject", content.subject),
        reply_to=given.get("reply-to", content.reply_to),
        headers=tuple(pair for pair in content.headers if pair[0].lower() not in _REPLACING),
    )


def _id_faults(identity: str) -> Iterator[Fault]:
    if not identity or not identity.isprintable() or len(identity.encode("utf-8", "replace")) > MAX_ID:
        yield Fault("id", "invalid_id", f"an id is 1 to {MAX_ID} octets of printing characters")


def _address_faults(content: Content) -> Iterator[Fault]:
    if not content.to:
        yield Fault("to", "no_recipient", "give at least one address in to")
    count = len(content.to) + len(content.cc) + len(content.bcc)
    if count > MAX_RECIPIENTS:
        detail = f"{count} recipients; a message has at most {MAX_RECIPIENTS}, send several messages"
        yield Fault("to", "too_many_recipients", detail)
        return
    yield from _mailbox_faults("from", content.sender)
    for field, texts in (("to", content.to), ("cc", content.cc), ("bcc", content.bcc)):
        for number, text in enumerate(texts):
            yield from _mailbox_faults(f"{field}[{number}]", text)
    for text in split_list(content.reply_to or ""):
        yield from _mailbox_faults("reply_to", text)
    if content.return_path and content.return_path != "<>":
        yield from _mailbox_faults("return_path", content.return_path)


def _mailbox_faults(field: str, text: str) -> Iterator[Fault]:
    try:
        parse(text)
    except InvalidInput as refusal:
        yield Fault(field, refusal.error_code, refusal.detail)


def _subject_faults(subject: str) -> Iterator[Fault]:
    if len(subject) > MAX_SUBJECT or len(subject.encode("utf-8", "replace")) > MAX_SUBJECT:
        yield Fault("subject", "subject_too_long", f"longer than {MAX_SUBJECT} octets in UTF-8; shorten it")
        return
    yield from _header_text_faults("subject", subject)


def _header_text_faults(field: str, text: str) -> Iterator[Fault]:
    if _BREAKS.search(text):
        yield Fault(field, "header_injection", "contains a line break or NUL; a header is one line of text")
    elif hides_line_break(text):
        yield Fault(
            field, "header_injection", "hides a line break or NUL in an encoded word; give plain text"
        )
    elif not _is_text(text) or "\x7f" in text:
        yield Fault(
            field, "invalid_text", "contains a control character or half of a surrogate pair; remove it"
        )


def _is_text(text: str) -> bool:
    """Whether `text` is storable UTF-8 without C0 controls other than tab, CR and LF."""
    try:
        return not text.encode().translate(None, _TEXT_OCTETS)
    except UnicodeEncodeError:
        return False


def _message_id_faults(message_id: str | None) -> Iterator[Fault]:
    if message_id is None:
        return
    if len(message_id) > MAX_MESSAGE_ID or not _MESSAGE_ID.fullmatch(message_id):
        detail = f"write <left@right> without spaces, at most {MAX_MESSAGE_ID} characters (RFC 5322 §3.6.4)"
        yield Fault("message_id", "invalid_message_id", detail)


def _header_faults(headers: Iterable[tuple[str, str]]) -> Iterator[Fault]:
    pairs = tuple(headers)
    octets = sum(len(name) + len(value.encode("utf-8", "replace")) + 4 for name, value in pairs)
    if len(pairs) > MAX_HEADERS or octets > MAX_HEADER_OCTETS:
        detail = f"{len(pairs)} headers of {octets} octets; at most {MAX_HEADERS} of {MAX_HEADER_OCTETS} fit"
        yield Fault("headers", "headers_too_large", detail)
        return
    for name, value in pairs:
        if not HEADER_NAME.fullmatch(name):
            detail = "a header name is 1 to 76 printing ASCII characters without space and colon"
            yield Fault(f"headers[{name[:76]!a}]", "invalid_header_name", detail)
            continue
        lower = name.lower()
        if lower in _RESERVED or lower.startswith(_RESERVED_PREFIXES):
            yield Fault(
                f"headers.{name}",
                "reserved_header",
                f"{name} is written by the service; use the message's fields",
            )
        yield from _header_text_faults(f"headers.{name}", value)


def _body_faults(field: str, text: str | None) -> Iterator[Fault]:
    if text is not None and not _is_text(text):
        detail = "contains NUL, another control character than tab, CR and LF, or half of a surrogate pair"
        yield Fault(field, "invalid_text", detail)


def _attachment_faults(number: int, part: Attachment) -> Iterator[Fault]:
    where = f"attachments[{number}]"
    wrong = _filename_problem(part.filename)
    if wrong:
        yield Fault(f"{where}.filename", "invalid_filename", wrong)
    if not media_types.acceptable(media_types.effective(part.mime_type, part.filename)):
        detail = "write type/subtype without parameters; multipart/* and message/* are not accepted"
        yield Fault(f"{where}.mime_type", "invalid_mime_type", detail)
    if part.content_id and not _CONTENT_ID.fullmatch(part.content_id):
        detail = "a content id is at most 248 printing ASCII characters without spaces"
        yield Fault(f"{where}.content_id", "invalid_content_id", detail)


def _filename_problem(filename: str) -> str | None:
    bare = filename.strip(" .")
    if not bare:
        return "empty, or only spaces and dots; give the name the recipient should see"
    if len(filename) > MAX_FILENAME:
        return f"longer than {MAX_FILENAME} characters; shorten it"
    if _FILENAME_FORBIDDEN.search(filename):
        return "contains a control or text-direction character; remove it"
    if "/" in filename or "\\" in filename or re.match(r"[A-Za-z]:", filename):
        return "contains a path; give the last part alone"
    if _DEVICE.fullmatch(bare):
        return "is the name of a device on some systems; choose another"
    return None

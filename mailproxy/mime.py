"""A message as it goes over the wire: complete, in CRLF lines, and the same bytes at every attempt."""

import hashlib
import time

from mailproxy.address import Mailbox, parse, parse_list
from mailproxy.checks import Fault, check, substituted
from mailproxy.errors import InvalidInput
from mailproxy.headers import Field, RenderError, address_list, block, rescan, unstructured
from mailproxy.model import Content, Instant
from mailproxy.parts import Entity, attachment_entity, multipart, text_entity
from mailproxy.pieces import Data, octets, written
from mailproxy.proof import HEADER as PROOF_HEADER

__all__ = [
    "Fault",
    "RenderError",
    "check",
    "compose",
    "default_message_id",
    "dot_stuff",
    "needs_smtputf8",
    "render",
    "rescan",
]

TRACKING_HEADER = "X-Genro-Mail-ID"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def render(
    content: Content,
    *,
    accepted_at: Instant,
    message_id: str,
    tracking_id: str,
    proof: str | None = None,
    smtputf8: bool = False,
) -> bytes:
    """What `compose` makes, at once."""
    return octets(
        compose(
            content,
            accepted_at=accepted_at,
            message_id=message_id,
            tracking_id=tracking_id,
            proof=proof,
            smtputf8=smtputf8,
        )
    )


def compose(
    content: Content,
    *,
    accepted_at: Instant,
    message_id: str,
    tracking_id: str,
    proof: str | None = None,
    smtputf8: bool = False,
) -> Data:
    """The whole message, header and body, every line ended by CRLF and not yet dot-stuffed.

    `message_id` is written as it is, angle brackets included. Content that `check` finds faultless always
    renders; anything else raises RenderError or InvalidInput and nothing of it may be sent.
    """
    effective = substituted(content)
    fields: list[Field] = [
        ("Date", f"Date: {_date(accepted_at)}"),
        address_list("From", [parse(effective.sender)], smtputf8=smtputf8),
    ]
    for name, mailboxes in _recipients(effective):
        if mailboxes:
            fields.append(address_list(name, mailboxes, smtputf8=smtputf8))
    fields += [
        unstructured("Subject", effective.subject),
        ("Message-ID", f"Message-ID: {message_id}"),
        ("MIME-Version", "MIME-Version: 1.0"),
        *[unstructured(name, value) for name, value in effective.headers],
    ]
    entity = _entity(effective, message_id)
    fields += entity.fields
    fields.append(unstructured(TRACKING_HEADER, tracking_id))
    if proof is not None:
        fields.append(unstructured(PROOF_HEADER, proof))
    return written([b"%b\r\n" % block(fields, smtputf8=smtputf8), *entity.body])


def _recipients(content: Content) -> tuple[tuple[str, tuple[Mailbox, ...]], ...]:
    return (
        ("To", tuple(map(parse, content.to))),
        ("Cc", tuple(map(parse, content.cc))),
        ("Reply-To", parse_list(content.reply_to or "")),
    )


def _date(moment: Instant) -> str:
    at = time.gmtime(int(moment))
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04} {clock} +0000"


def _entity(content: Content, message_id: str) -> Entity:
    """The body: mixed(alternative(text, related(html, inline …)), attachment …), levels only as needed."""
    related = [
        part for part in content.attachments if _belongs_to_html(content, part.inline, part.content_id)
    ]
    others = [
        part for part in content.attachments if not _belongs_to_html(content, part.inline, part.content_id)
    ]
    html = None if content.body_html is None else text_entity(content.body_html, "html")
    if html is None and not others:
        return text_entity(content.body_text or "", "plain")
    boundary = _boundary(content, message_id)
    if html is not None and related:
        parts = [html, *map(attachment_entity, related)]
        html = multipart("related", f"{boundary}r", parts, root_type="text/html")
    if html is None:
        body = text_entity(content.body_text or "", "plain")
    elif content.body_text is None:
        body = html
    else:
        body = multipart("alternative", f"{boundary}a", [text_entity(content.body_text, "plain"), html])
    return multipart("mixed", f"{boundary}m", [body, *map(attachment_entity, others)]) if others else body


def _belongs_to_html(content: Content, inline: bool, content_id: str | None) -> bool:
    return inline and content_id is not None and content.body_html is not None


def _boundary(content: Content, message_id: str) -> str:
    """Derived from what could hold it literally: only 7bit text can, and that is part of the hash."""
    digest = hashlib.blake2b(digest_size=16)
    for text in (message_id, content.body_text or "", content.body_html or ""):
        digest.update(text.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return f"=_{digest.hexdigest()}"


def default_message_id(pk: str, content: Content) -> str:
    """The Message-ID of a message that was given none: `<pk@sender-domain>`."""
    domain = parse(content.sender).ascii_addr_spec.rpartition("@")[2]
    return f"<{pk}@{domain}>"


def needs_smtputf8(content: Content) -> bool:
    """Whether an address of the envelope or the header has a local part that is not ASCII (RFC 6531)."""
    effective = substituted(content)
    reply_to, return_path = effective.reply_to or "", effective.return_path or ""
    texts = (effective.sender, reply_to, return_path, *effective.to, *effective.cc, *effective.bcc)
    if all(map(str.isascii, texts)):
        return False
    try:
        found = parse_list(reply_to) + tuple(
            parse(text) for text in texts if text not in ("", "<>", reply_to)
        )
    except InvalidInput:
        return False
    return any(mailbox.needs_smtputf8 for mailbox in found)


def dot_stuff(message: bytes) -> bytes:
    """The message as DATA carries it (RFC 5321 §4.5.2): it ends in CRLF and each leading dot is doubled."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    if message.startswith(b"."):
        message = b"." + message
    return message.replace(b"\r\n.", b"\r\n..")

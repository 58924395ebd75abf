"""A message file (RFC 5322) as the fields that add-messages takes."""

import base64
import email
from collections.abc import Iterator
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from typing import Any

from mailproxy.errors import InvalidInput

_NOT_CARRIED_OVER = frozenset(
    [
        "from",
        "to",
        "cc",
        "bcc",
        "sender",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "received",
        "return-path",
    ]
).union(["x-genro-mail-id", "x-genro-mail-proof", "delivered-to", "authentication-results", "received-spf"])
_SEALED = ("multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")


def fields_of(octets: bytes) -> dict[str, Any]:
    """The fields without `id` and `account_id`; raises InvalidInput for what cannot be sent as it is written."""
    try:
        message = email.message_from_bytes(octets, EmailMessage, policy=policy.default)
        return _fields(message)
    except InvalidInput:
        raise
    except Exception as error:  # the parser raises whatever malformed mail makes it stumble over
        raise InvalidInput(f"The message cannot be read: {error}", code="invalid_message") from error


def _fields(message: EmailMessage) -> dict[str, Any]:
    if message.get_content_type() in _SEALED:
        detail = "The message is signed or encrypted as a whole, which does not survive being written anew"
        raise InvalidInput(detail, code="sealed_message")
    if not message.keys():
        raise InvalidInput("The message has no header fields: is it a message file?", code="invalid_message")
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    attachments = [_attachment(part) for part in _leaves(message) if part is not text and part is not html]
    found = {
        "from": next(iter(_addresses(message, "from")), None),
        "to": _addresses(message, "to"),
        "cc": _addresses(message, "cc"),
        "bcc": _addresses(message, "bcc"),
        "reply_to": ", ".join(_addresses(message, "reply-to")),
        "message_id": str(message["message-id"]).strip() if message["message-id"] else None,
        "subject": str(message["subject"] or ""),
        "body_text": _text(text),
        "body_html": _text(html),
        "headers": dict(_carried_over(message)),
        "attachments": attachments,
    }
    return {name: value for name, value in found.items() if value}


def _addresses(message: EmailMessage, name: str) -> list[str]:
    return [_written(address) for header in message.get_all(name, []) for address in header.addresses]


def _written(address: Address) -> str:
    """As RFC 5322 §3.4 writes it, but with the display name in clear."""
    if not address.display_name:
        return address.addr_spec
    name = address.display_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{address.addr_spec}>'


def _carried_over(message: EmailMessage) -> Iterator[tuple[str, str]]:
    for name, value in message.items():
        lower = name.lower()
        if lower not in _NOT_CARRIED_OVER and not lower.startswith(("content-", "dkim-", "mime-", "arc-")):
            yield name, str(value)


def _leaves(part: MIMEPart) -> Iterator[MIMEPart]:
    """The parts with content; a message inside the message is one of them."""
    if part.get_content_maintype() == "multipart":
        for inner in part.iter_parts():
            yield from _leaves(inner)
    else:
        yield part


def _text(part: MIMEPart | None) -> str | None:
    return None if part is None else str(part.get_content())


def _attachment(part: MIMEPart) -> dict[str, Any]:
    kind = part.get_content_type()
    if kind == "message/rfc822":
        inner = part.get_content()
        content, name, kind = inner.as_bytes(), "message.eml", "application/octet-stream"
    else:
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes), "only multipart/* and message/* hold other parts"
        content, name = payload, "attachment"
    content_id = (part["content-id"] or "").strip().strip("<>")
    found = {
        "filename": part.get_filename() or name,
        "storage_path": base64.b64encode(content).decode(),
        "fetch_mode": "base64",
        "mime_type": kind,
        "content_id": content_id,
        "inline": part.get_content_disposition() == "inline" and bool(content_id),
    }
    return {name: value for name, value in found.items() if value or name == "storage_path"}

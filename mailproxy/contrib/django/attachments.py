"""Django's attachments as the API's: triples of name, content and type, or MIME parts, always in base64."""

import base64
import mimetypes
from email.message import Message
from typing import Any

_UNKNOWN = "application/octet-stream"


def described(number: int, part: Any) -> dict[str, Any]:
    """The attachment's fields; one without a name gets one from its `number`. Raises ValueError for multiparts."""
    if isinstance(part, Message):
        return _part(number, part)
    filename, content, kind = part
    if callable(getattr(content, "message", None)):
        content = content.message()
    if isinstance(content, Message):
        content = content.as_bytes()
    elif isinstance(content, str):
        content = content.encode()
    return _fields(number, filename, kind or mimetypes.guess_type(filename or "")[0], content)


def _part(number: int, part: Message) -> dict[str, Any]:
    if part.is_multipart() and part.get_content_maintype() != "message":
        raise ValueError(f"{part.get_content_type()} cannot be attached: attach its parts")
    inner: Any = part.get_payload()
    content = inner[0].as_bytes() if part.is_multipart() else part.get_payload(decode=True)
    identity = part.get("Content-ID")
    fields = _fields(number, part.get_filename(), part.get_content_type(), content)
    if identity:
        fields["content_id"] = str(identity).strip()
    if identity or part.get_content_disposition() == "inline":
        fields["inline"] = part.get_content_disposition() != "attachment"
    return fields


def _fields(number: int, filename: str | None, kind: str | None, content: Any) -> dict[str, Any]:
    """Whole messages go as files, since the API attaches no message/*."""
    kind = kind or _UNKNOWN
    ending = ".eml" if kind.startswith("message/") else mimetypes.guess_extension(kind) or ""
    return {
        "filename": filename or f"attachment-{number}{ending}",
        "mime_type": _UNKNOWN if kind.startswith(("message/", "multipart/")) else kind,
        "fetch_mode": "base64",
        "storage_path": base64.b64encode(bytes(content)).decode("ascii"),
    }

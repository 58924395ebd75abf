"""A message as it is stored between the door and the sender: the client's fields as one JSON text.

Written by the API after its checks, shown by `GET /messages` as `message`, read by the sender. Addresses are
lists, header values text, the author is `from`, base64 content is clean and has its mode beside it. In the database
what is secret of its attachments' logins is apart, sealed.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from mailproxy.attachments import modes
from mailproxy.model import Attachment, Content
from mailproxy.redaction import HIDDEN


def encode(fields: Mapping[str, Any]) -> str:
    """The payload of `fields`; half surrogates, which only refused messages hold, become question marks."""
    try:
        return to_json(fields).decode()
    except PydanticSerializationError:
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace").decode()


def decode(payload: str) -> Content:
    """The content to render; raises KeyError or ValueError for what `encode` and the checks never made."""
    return content_of(json.loads(payload))


def content_of(fields: Mapping[str, Any]) -> Content:
    """The content that the fields of a payload describe; absent addresses and texts are empty."""
    body_text, body_html = fields.get("body_text"), fields.get("body_html")
    body = fields.get("body")
    if fields.get("content_type") == "html":
        body_html = body if body_html is None else body_html
    elif body is not None or body_html is None:
        body_text = (body or "") if body_text is None else body_text
    return Content(
        id=fields.get("id", ""),
        sender=fields.get("from", ""),
        to=tuple(fields.get("to", ())),
        subject=fields.get("subject", ""),
        cc=tuple(fields.get("cc", ())),
        bcc=tuple(fields.get("bcc", ())),
        reply_to=fields.get("reply_to"),
        return_path=fields.get("return_path"),
        message_id=fields.get("message_id"),
        body_text=body_text,
        body_html=body_html,
        headers=tuple(fields.get("headers", {}).items()),
        attachments=tuple(_attachment(part) for part in fields.get("attachments", ())),
    )


def may_have_attachments(payload: str) -> bool:
    """Whether it is worth decoding for them; never wrong when it says no."""
    return '"attachments"' in payload


def may_have_logins(payload: str) -> bool:
    """As `may_have_attachments`."""
    return '"auth"' in payload


def parted(payload: str) -> tuple[str, str | None]:
    """The payload with what its attachments' logins keep secret hidden, and that as JSON; None when there is none."""
    if not may_have_logins(payload):
        return payload, None
    fields = json.loads(payload)
    logins = {}
    for number, part in enumerate(fields.get("attachments", ())):
        auth = part.get("auth")
        if not isinstance(auth, dict):
            continue
        secret = {name: auth[name] for name in ("token", "password") if auth.get(name)}
        if secret:
            logins[number] = secret
            auth.update(dict.fromkeys(secret, HIDDEN))
    return (encode(fields), json.dumps(logins)) if logins else (payload, None)


def joined(payload: str, logins: str) -> str:
    """What `parted` parted."""
    fields = json.loads(payload)
    for number, secret in json.loads(logins).items():
        fields["attachments"][int(number)]["auth"].update(secret)
    return encode(fields)


def _attachment(part: Mapping[str, Any]) -> Attachment:
    source = modes.source_of(part)
    filename, md5 = modes.marked(part["filename"])
    return Attachment(
        filename=filename,
        content=base64.b64decode(part["storage_path"], validate=True) if source is None else b"",
        mime_type=part.get("mime_type"),
        content_id=part.get("content_id"),
        inline=part.get("inline", False),
        source=source,
        md5=part.get("content_md5", md5 or "").lower() or None,
    )

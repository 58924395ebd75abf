"""A Django message as the API's: pure, and without a word of Django, whose objects are read by their attributes."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mailproxy.contrib.django.attachments import described

Record = dict[str, Any]

_HEADERS = {"from": "from", "reply-to": "reply_to", "message-id": "message_id", "return-path": "return_path"}
"""Header fields that messages of the API have as fields of their own."""


class LineBreak(ValueError):
    """A header would be more than one line."""


def records(message: Any, account: str | None, new_id: Callable[[], str]) -> list[Record]:
    """What is to be queued for one message: a record, or one for each recipient when there are only blind ones.

    Fields in the message's own `mailproxy` (a dict) stand above all others. Without an `id` among them it has
    one of `new_id` and the content. Raises ValueError for what the API has no form for.
    """
    fields = {
        "account_id": account,
        **_envelope(message),
        **_bodies(message),
        "attachments": [described(number, part) for number, part in enumerate(message.attachments, 1)],
    }
    record = {name: value for name, value in fields.items() if value} | dict(
        getattr(message, "mailproxy", {})
    )
    if "id" not in record:
        record["id"] = f"{new_id()}-{_digest(record)}"
    return list(_each_with_a_recipient(record))


def _digest(record: Record) -> str:
    """A message object that is filled anew for its next recipient is another message."""
    text = json.dumps(record, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _envelope(message: Any) -> Record:
    fields: Record = {
        "from": str(message.from_email),
        "subject": str(message.subject),
        "reply_to": ", ".join(map(str, message.reply_to)),
        "headers": {},
        **{name: [str(one) for one in getattr(message, name) if one] for name in ("to", "cc", "bcc")},
    }
    for name, value in message.extra_headers.items():
        if name.lower() in ("to", "cc"):
            raise ValueError(
                f"{name} cannot be another than that of the envelope: leave it out of the headers"
            )
        if own := _HEADERS.get(name.lower()):
            if own == "from":
                fields["return_path"] = fields["from"]
            fields[own] = str(value)
        else:
            fields["headers"][name] = str(value)
    for name, text in _texts(fields):
        if "\n" in text or "\r" in text:
            raise LineBreak(f"{name} contains a line break: {text!r}")
    return fields


def _texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every header's text with the name of its field."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from value.items()
        else:
            texts: Iterable[str] = [value] if isinstance(value, str) else value
            yield from ((name, text) for text in texts)


def _bodies(message: Any) -> Record:
    subtype, text = message.content_subtype, str(message.body)
    if subtype not in ("plain", "html"):
        raise ValueError(f"a body of text/{subtype} cannot be sent: it is plain or html")
    found = {f"text/{subtype}": text} if text or subtype == "html" else {}
    for content, kind in getattr(message, "alternatives", None) or ():
        if kind not in ("text/plain", "text/html") or kind in found:
            raise ValueError(f"a second body of {kind} cannot be sent: there is one plain and one html")
        found[kind] = content.decode() if isinstance(content, bytes) else str(content)
    if not found:
        return {"body": text}
    return {
        "body_text": found.get("text/plain"),
        "body_html": found.get("text/html"),
    }


def _each_with_a_recipient(record: Record) -> Iterator[Record]:
    """Every message of the API has somebody in To: blind recipients alone get one each, and see nobody else."""
    if record.get("to"):
        yield record
    elif record.get("cc"):
        yield {**record, "to": record["cc"], "cc": []}
    else:
        for number, address in enumerate(record.get("bcc", ()), 1):
            yield {**record, "id": f"{record['id']}-{number}", "to": [address], "bcc": []}

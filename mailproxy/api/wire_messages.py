"""The body of add-messages as it arrives: every message becomes a draft with all its faults."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mailproxy import address, mime, payload
from mailproxy.api import refusals, strictjson, wire, wire_attachments
from mailproxy.api.wire_attachments import AttachmentFields, Contents, Text
from mailproxy.attachments.door import Fetchable
from mailproxy.mime import Fault
from mailproxy.model import Priority
from mailproxy.submission import Draft

_BATCH_CODE = re.compile(r"[A-Za-z0-9._:-]{1,64}")

MessageFields = TypedDict(
    "MessageFields",
    {
        "id": Text,
        "tenant_id": Text,
        "account_id": Text,
        "from": Text,
        "from_addr": Text,
        "to": Text | list[Text],
        "cc": Text | list[Text],
        "bcc": Text | list[Text],
        "reply_to": Text,
        "return_path": Text,
        "message_id": Text,
        "subject": Text,
        "body": Text,
        "body_text": Text,
        "body_html": Text,
        "content_type": Text,
        "headers": dict[str, Any],
        "attachments": list[AttachmentFields],
        "priority": wire.AnyPriority,
        "batch_code": Annotated[Text, Field(max_length=64)],
        "deferred_ts": wire.AnyMoment,
        "expires_at": wire.AnyMoment,
        "max_age": Annotated[float, Field(gt=0, le=366 * 86400)],
        "ignore_suppressions": Annotated[bool, Field(strict=True)],
    },
    total=False,
)

_MESSAGES: TypeAdapter[list[MessageFields]] = TypeAdapter(
    list[MessageFields], config=ConfigDict(hide_input_in_errors=True, allow_inf_nan=False)
)
_KNOWN = frozenset(MessageFields.__annotations__)
_CALL = ("messages", "default_priority")
_ADDRESSES = ("to", "cc", "bcc")


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose schema is right; its messages are drafted one by one, so that others get their turn."""

    messages: Sequence[MessageFields]
    default_priority: Priority | None
    warnings: tuple[str, ...]


def decode(body: Any) -> Call:
    """The call in `body`; schema faults refuse the whole of it with 422."""
    if not isinstance(body, dict):
        raise refusals.schema_fault("body", "messages", "The body must be an object", "dict_type")
    if "messages" not in body:
        raise refusals.schema_fault("body", "messages")
    given = body["messages"]
    if isinstance(given, list):
        given = [_without_nulls(message) for message in given]
    try:
        messages = _MESSAGES.validate_python(given)
    except ValidationError as error:
        raise refusals.invalid(error, "body", "messages") from None
    return Call(messages, _default_priority(body), _warnings(body, given))


def _default_priority(body: Mapping[str, Any]) -> Priority | None:
    given = body.get("default_priority")
    if given is None:
        return None
    try:
        return wire.priority(given)
    except ValueError as error:
        raise refusals.schema_fault("body", "default_priority", str(error), "value_error") from None


def _without_nulls(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    if None in message.values():
        message = {name: value for name, value in message.items() if value is not None}
    parts = message.get("attachments")
    if isinstance(parts, list):
        cleaned = [
            {name: value for name, value in part.items() if value is not None}
            if isinstance(part, dict)
            else part
            for part in parts
        ]
        message = {**message, "attachments": cleaned}
    return message


def _warnings(body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    unknown: set[str] = set()
    for message in messages:
        if not message.keys() <= _KNOWN:
            unknown.update(message.keys() - _KNOWN)
    return (*wire.unknown_fields(body, _CALL), *wire.unknown_fields(unknown, _KNOWN, "messages: "))


def draft(fields: MessageFields, default: Priority, fetchable: Fetchable | None = None) -> Draft:
    """One message with its payload and every fault that shows without I/O."""
    faults: list[Fault] = []
    contents: dict[str, tuple[bytes, ...]] = {}
    content = _normalised(fields, faults, fetchable, contents)
    level = _converted(fields, "priority", wire.priority, "invalid_priority", faults)
    if level is not None or fields.get("priority") is None:
        content["priority"] = int(default if level is None else level)
    due_at = _converted(fields, "deferred_ts", wire.moment, "invalid_time", faults)
    expires_at = _converted(fields, "expires_at", wire.moment, "invalid_time", faults)
    batch_code = fields.get("batch_code")
    if batch_code is not None and not _BATCH_CODE.fullmatch(batch_code):
        faults.append(Fault("batch_code", "invalid_batch_code", "is 1 to 64 of A-Z a-z 0-9 . _ : -"))
        batch_code = None
    if wire_attachments.readable(faults):
        missing = {fault.field for fault in faults if fault.code.startswith("missing_")}
        found = mime.check(payload.content_of(content))
        faults += (fault for fault in found if fault.field not in missing)
    return Draft(
        client_id=fields.get("id", ""),
        tenant_id=_storable(fields.get("tenant_id")),
        account_id=_storable(fields.get("account_id")),
        priority=default if level is None else level,
        batch_code=batch_code,
        due_at=due_at,
        expires_at=expires_at,
        max_age=fields.get("max_age"),
        payload=payload.encode(content),
        faults=tuple(faults),
        recipients=tuple(chain.from_iterable(content.get(name, ()) for name in _ADDRESSES)),
        ignore_suppressions=fields.get("ignore_suppressions", False),
        header_id=_storable(content.get("message_id")),
        contents=contents,
    )


def _storable(identity: str | None) -> str | None:
    """An id that may be looked up: one no database takes is replaced by one nobody has."""
    return "?" if identity and strictjson.UNSTORABLE.search(identity) else identity


def _normalised(
    fields: MessageFields, faults: list[Fault], fetchable: Fetchable | None, contents: Contents
) -> dict[str, Any]:
    """The fields as they are stored; what is missing or has no stored form goes to `faults`."""
    content: dict[str, Any] = dict(fields)
    author = content.pop("from_addr", None)
    content.setdefault("from", author or "")
    for name in _ADDRESSES:
        if isinstance(content.get(name), str):
            content[name] = list(address.split_list(content[name]))
    for name in ("id", "from", "to", "subject"):
        if not content.get(name):
            faults.append(Fault(name, f"missing_{name}", ""))
    if content.get("content_type", "plain") not in ("plain", "html"):
        faults.append(Fault("content_type", "invalid_content_type", "is plain or html"))
    if "headers" in content:
        content["headers"] = _header_texts(content["headers"], faults)
    if "attachments" in content:
        content["attachments"] = [
            wire_attachments.stored(number, part, faults, fetchable, contents)
            for number, part in enumerate(content["attachments"])
        ]
    return content


def _header_texts(given: Mapping[str, Any], faults: list[Fault]) -> dict[str, str]:
    texts = {}
    for name, value in given.items():
        if isinstance(value, dict | list):
            detail = "is text, a number or a boolean"
            faults.append(Fault(f"headers[{name[:76]!a}]", "invalid_header_value", detail))
        elif value is not None:
            texts[name] = str(value)
    return texts


def _converted(fields: Mapping[str, Any], name: str, convert: Any, code: str, faults: list[Fault]) -> Any:
    given = fields.get(name)
    if given is None:
        return None
    try:
        return convert(given)
    except ValueError as error:
        faults.append(Fault(name, code, str(error)))
        return None

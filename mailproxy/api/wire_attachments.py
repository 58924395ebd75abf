"""Attachments as they arrive in add-messages."""

from collections.abc import Iterator, MutableMapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from mailproxy.attachments import door, inline, modes
from mailproxy.attachments.door import Fetchable
from mailproxy.checks import Fault
from mailproxy.model import FetchMode

_UNREADABLE = frozenset({"attachment_incomplete", "invalid_base64", "invalid_auth"})

Text = Annotated[str, Field(strict=True)]


class AttachmentFields(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # read by pydantic, no key

    filename: Annotated[Text, Field(min_length=1, max_length=255)]
    storage_path: Annotated[Text, Field(min_length=1)]
    mime_type: Text
    fetch_mode: Literal["endpoint", "http_url", "base64", "filesystem"]
    content_md5: Annotated[Text, Field(pattern=r"^[0-9a-fA-F]{32}$")]
    auth: dict[str, Any]
    content_id: Text
    inline: bool


def readable(faults: list[Fault]) -> bool:
    """Whether attachments with these faults can be taken for what they say."""
    return not any(fault.code in _UNREADABLE for fault in faults)


Contents = MutableMapping[str, tuple[bytes, ...]]
"""Content that is stored beside its message, in pieces, by its SHA-256."""


def stored(
    number: int,
    part: AttachmentFields,
    faults: list[Fault],
    fetchable: Fetchable | None,
    contents: Contents,
) -> dict[str, Any]:
    """An attachment as its message stores it; what is wrong with it goes to `faults`, what is long to `contents`."""
    where = f"attachments[{number}]"
    fields: dict[str, Any] = dict(part)
    for name in ("filename", "storage_path"):
        if name not in fields:
            faults.append(Fault(f"{where}.{name}", "attachment_incomplete", "is required"))
            return fields
    mode = FetchMode(fields.get("fetch_mode") or modes.mode_of(fields["storage_path"]))
    is_inline = mode is FetchMode.BASE64
    found = _inline(fields, contents) if is_inline else _fetched(fields, mode, fetchable)
    faults += [Fault(f"{where}.{name}", code, detail) for name, code, detail in found]
    part["storage_path"] = fields["storage_path"]  # nobody holds a long text any more
    fields["fetch_mode"] = mode.value
    return fields


def _inline(fields: dict[str, Any], contents: Contents) -> Iterator[tuple[str, str, str]]:
    text = fields["storage_path"]
    try:
        found = inline.read(text)
    except ValueError:
        yield "storage_path", "invalid_base64", "is not base64 (RFC 4648 §4)"
        return
    if len(text) > inline.LONGEST:
        contents[found.sha256] = found.pieces
        fields |= {"storage_path": modes.KEPT_PREFIX + found.sha256, "size": found.size}
    else:
        fields["storage_path"] = inline.clean(text)
    wanted = fields.get("content_md5") or modes.marked(fields["filename"])[1]
    if wanted is not None and found.md5 != wanted.lower():
        yield "content_md5", "attachment_mismatch", f"the content's MD5 is {found.md5}"


def _fetched(
    fields: dict[str, Any], mode: FetchMode, fetchable: Fetchable | None
) -> Iterator[tuple[str, str, str]]:
    if (wrong := modes.auth_problem(fields.get("auth", {}))) is not None:
        yield "auth", "invalid_auth", wrong
    for code, detail in door.problems(mode, fields["storage_path"], fetchable):
        yield "storage_path", code, detail

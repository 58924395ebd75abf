"""Pure: what shows of an attachment that has to be fetched before anything is fetched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailproxy import egress
from mailproxy.attachments import files, judgement
from mailproxy.egress import Allowed
from mailproxy.model import FetchMode


@dataclass(frozen=True, slots=True)
class Fetchable:
    """What this installation fetches: files below `bases`, and URLs at public addresses or at what `allow` lists."""

    bases: Sequence[Path]
    allow: Allowed = egress.NOTHING


def problems(mode: FetchMode, location: str, fetchable: Fetchable | None) -> Iterator[tuple[str, str]]:
    """(code, detail) of what would fail for certain; None knows nothing of the installation."""
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in location):
        yield "invalid_storage_path", "contains a control character"
    elif fetchable is not None and mode is FetchMode.HTTP_URL:
        if failed := judgement.forbidden(location, fetchable.allow):
            yield _said(failed.cause)
    elif (
        fetchable is not None
        and mode is FetchMode.FILESYSTEM
        and (failed := files.outside(location, fetchable.bases))
    ):
        yield _said(failed.cause)


def _said(cause: str) -> tuple[str, str]:
    code, _, detail = cause.partition(": ")
    return code, detail

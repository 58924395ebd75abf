"""Pure: which mode an attachment has, what its file name says, and what shows before anything is fetched."""

import re
from collections.abc import Mapping
from typing import Any

from mailproxy.authorization import ClientAuth
from mailproxy.model import FetchMode, Source

AUTH_METHODS = ("none", "bearer", "basic")
BASE64_PREFIX = "base64:"
# No base64 begins like this.
KEPT_PREFIX = "sha256:"

_URL = re.compile(r"https?://", re.IGNORECASE)
_MARKER = re.compile(r"_*\{MD5:([0-9a-fA-F]{32})\}_*")
_PRINTING = re.compile(r"[!-~]*")


def mode_of(location: str) -> FetchMode:
    """The mode of an attachment that names none."""
    if location.startswith(BASE64_PREFIX):
        return FetchMode.BASE64
    if _URL.match(location):
        return FetchMode.HTTP_URL
    return FetchMode.FILESYSTEM if location.startswith("/") else FetchMode.ENDPOINT


def marked(filename: str) -> tuple[str, str | None]:
    """The name without a `{MD5:…}` marker, and the marker's hash: `rep_{MD5:…}.txt` is `rep.txt`."""
    found = _MARKER.search(filename)
    if found is None:
        return filename, None
    before, after = filename[: found.start()], filename[found.end() :]
    joint = "_" if before and after and not after.startswith(".") else ""
    return before + joint + after, found[1].lower()


def source_of(fields: Mapping[str, Any]) -> Source | None:
    """Where the content of a stored attachment is fetched, None when it is in the message."""
    mode = FetchMode(fields.get("fetch_mode") or mode_of(fields["storage_path"]))
    if mode is FetchMode.BASE64:
        sha256 = fields["storage_path"].removeprefix(KEPT_PREFIX)
        return None if sha256 == fields["storage_path"] else Source(mode, sha256, size=fields["size"])
    given = fields.get("auth")
    return Source(mode, fields["storage_path"], None if given is None else ClientAuth(**given))


def auth_problem(auth: Mapping[str, Any]) -> str | None:
    """Why a login cannot be sent, as far as it shows."""
    if unknown := auth.keys() - {"method", "token", "user", "password"}:
        return f"has unknown fields: {', '.join(sorted(unknown))}"
    if auth.get("method", "none") not in AUTH_METHODS:
        return f"has one of the methods {', '.join(AUTH_METHODS)}"
    if not all(isinstance(value, str) for value in auth.values() if value is not None):
        return "holds text only"
    if auth.get("method") == "bearer" and not (auth.get("token") and _PRINTING.fullmatch(auth["token"])):
        return "needs a token of printing ASCII characters"
    if auth.get("method") == "basic" and (not auth.get("user") or ":" in auth["user"]):
        return "needs a user, without a colon (RFC 7617)"
    return None

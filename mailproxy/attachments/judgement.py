"""Pure: what a failure to fetch means, and where a redirect leads."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from mailproxy import egress
from mailproxy.egress import Allowed

MOST_REDIRECTS = 5

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})
_GONE = frozenset({403, 404, 410})


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an attachment could not be had; a `temporary` cause may be gone at the next attempt."""

    cause: str
    temporary: bool = False


TIMED_OUT = Failed("fetch timed out", temporary=True)
NO_DATA = Failed("returned no data")


def of_status(status: int) -> Failed | None:
    """What an answer's status says, None for one that brings content."""
    if 200 <= status < 300:
        return None
    if status in _GONE:
        return Failed(f"attachment_gone: the server answered {status}")
    temporary = status >= 500 or status in _LATER
    return Failed(f"the server answered {status}", temporary)


def too_large(most: int) -> Failed:
    return Failed(f"attachment_too_large: larger than {most >> 20} MB (GMP_MAX_ATTACHMENT_MB)")


def of_headers(headers: Mapping[str, str], media_type: str | None) -> Failed | None:
    """What an answer says of its content: encoded although nobody asked for it, or a page instead of a file."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        return Failed(f"the server sent {encoding[:20]!a} although identity was asked for")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and media_type and media_type.partition(";")[0].strip().lower() != kind:
        return Failed(f"attachment_mismatch: the server sent an HTML page, not {media_type}")
    return None


def next_hop(url: str, status: int, headers: Mapping[str, str]) -> str | None:
    """Where an answer says to ask instead; None when it does not."""
    location = headers.get("location")
    if status not in _REDIRECTS or not location:
        return None
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port: what a login belongs to."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower(), 0)
        return parts.scheme.lower(), (parts.hostname or "").lower(), port
    except ValueError:
        return None


def forbidden(url: str, allow: Allowed) -> Failed | None:
    """Why a URL may not be fetched, as far as it shows without asking the DNS."""
    found = origin(url)
    if found is None or found[0] not in ("http", "https") or not found[1]:
        return Failed("url_not_allowed: it is not an http:// or https:// address")
    if urlsplit(url).username is not None:
        return Failed("url_not_allowed: it holds credentials; give them in auth")
    reason = egress.refusal_at_door(found[1], found[2], egress.WEB_PORTS, allow)
    return Failed(f"url_not_allowed: {egress.fetch_advice(reason)}") if reason else None


def told(filename: str, failed: Failed) -> str:
    """The error that a client sees."""
    if failed == NO_DATA:
        return f"Attachment {filename} returned no data"
    cause = f"Attachment {filename} fetch timed out" if failed == TIMED_OUT else failed.cause
    return f"Attachment fetch failed for {filename}: {cause}"

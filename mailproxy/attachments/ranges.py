"""Which part of a file a request asks for (RFC 9110 §14): one range of octets; anything else is the whole file."""

import re
from collections.abc import Sequence
from typing import NamedTuple

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


class Span(NamedTuple):
    """Octets from `start` up to `end`."""

    start: int
    end: int


def wanted(ranges: Sequence[str], if_range: Sequence[str], etag: str, size: int) -> Span | None:
    """The part of `size` octets that is asked for; None when no octet of the file lies in it."""
    whole = Span(0, size)
    found = _RANGE.fullmatch(ranges[0].strip()) if len(ranges) == 1 else None
    if found is None or (if_range and list(if_range) != [etag]):
        return whole
    first, last = found[1], found[2]
    if not first:
        if not last:
            return whole
        return Span(max(0, size - int(last)), size) if int(last) else None
    if last and int(last) < int(first):
        return whole
    span = Span(int(first), min(int(last) + 1, size) if last else size)
    return span if span.start < size else None


def completes(span: Span, ranges: Sequence[str], if_range: Sequence[str], etag: str, size: int) -> bool:
    """Whether a client that gets `span` then has all of the file: it is the whole, or the rest from some octet on for
    one that holds the beginning, as `If-Range` says (RFC 9110 §13.1.5)."""
    if span == Span(0, size):
        return True
    found = _RANGE.fullmatch(ranges[0].strip())
    return found is not None and bool(found[1]) and span.end == size and list(if_range) == [etag]

"""Keyset pages: an opaque cursor names the last item a client has seen."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mailproxy.api.refusals import Refusal

T = TypeVar("T")


def encode(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode(cursor: str | None) -> str | None:
    """The position in a cursor; 400 for anything `encode` never made."""
    if not cursor:
        return None
    try:
        position = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid_cursor() from None
    if not position or not position.isprintable():
        raise invalid_cursor()
    return position


def number(cursor: str | None) -> int | None:
    """The position in a cursor made of a number."""
    position = decode(cursor)
    if position is None:
        return None
    if not position.isascii() or not position.isdigit() or len(position) > 18:
        raise invalid_cursor()
    return int(position)


def invalid_cursor() -> Refusal:
    return Refusal(400, "The cursor is not one of ours", "invalid_cursor")


def page(found: Sequence[T], limit: int, position: Callable[[T], str]) -> tuple[Sequence[T], dict[str, Any]]:
    """The first `limit` of up to `limit + 1` items found, and `next_cursor` if there is one more."""
    if len(found) <= limit:
        return found, {}
    shown = found[:limit]
    return shown, {"next_cursor": encode(position(shown[-1]))}

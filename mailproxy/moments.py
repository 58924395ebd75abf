"""Times in sentences."""

import time

from mailproxy.model import Instant, Seconds


def zoned(instant: Instant | None) -> str | None:
    """A time as people of this place write it, with its zone: whoever reads it may be elsewhere."""
    return None if instant is None else time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(instant))


def zoned_beside(instant: Instant | None, now: Instant) -> str | None:
    return None if instant is None else f"{zoned(instant)} ({distance(instant, now)})"


def distance(instant: Instant, now: Instant) -> str:
    away = duration(abs(instant - now))
    return f"in {away}" if instant > now else f"{away} ago"


def duration(seconds: Seconds) -> str:
    """In the greatest unit that leaves at least two of it, or the seconds."""
    units = (("days", 86400), ("h", 3600), ("min", 60))
    name, size = next(((name, size) for name, size in units if seconds >= 2 * size), ("s", 1))
    return f"{seconds / size:.0f} {name}"

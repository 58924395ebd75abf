"""Whether the acceptance of a certified message is missing. Pure."""

from dataclasses import dataclass

from mailproxy.model import Instant, MessageId, Seconds, Status

TOLD_WITHIN: Seconds = 2 * 86400.0
"""By then a provider has told of each recipient, twice the 24 hours that RFC 6109 leaves it."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A message whose turn it is; `done_at` is when it ended."""

    message: MessageId
    status: Status
    done_at: Instant | None


@dataclass(frozen=True, slots=True)
class Missing:
    """`timed_out`: its acceptance is; else it is looked at again at `look_at`, or never."""

    message: MessageId
    timed_out: bool = False
    look_at: Instant | None = None


def look(one: Looked, now: Instant, timeout: Seconds) -> Missing:
    """An acceptance is due `timeout` seconds after the message was sent; what may still be sent is looked at later."""
    if one.status in (Status.QUEUED, Status.UNKNOWN):
        return Missing(one.message, look_at=now + timeout)
    if one.status is not Status.SENT or one.done_at is None:
        return Missing(one.message)
    due = one.done_at + timeout
    return Missing(one.message, timed_out=due <= now, look_at=due if due > now else None)

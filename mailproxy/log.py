"""Logs: one line an event, JSON or console, from our code and from libraries alike; and the delivery log.

The delivery log says in eight words what happens to a message: queued, claimed, sent, deferred, refused,
in_doubt, reported, bounced. Its lines are INFO when `delivery_activity` is on, else DEBUG.
"""

import json
import logging
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO, cast

import structlog
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars
from structlog.typing import FilteringBoundLogger as Logger
from structlog.typing import Processor

from mailproxy.model import MessageId, Priority, Seconds
from mailproxy.outcome import Reply

__all__ = [
    "Logger",
    "bind",
    "bounced",
    "bound",
    "claimed",
    "deferred",
    "get",
    "in_doubt",
    "queued",
    "refused",
    "reported",
    "sent",
    "set_up",
]

bound = bound_contextvars

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_ESCAPES_IN_TRACEBACKS = {code: text for code, text in _ESCAPES.items() if chr(code) not in "\n\t"}
_HAVE_OWN_HANDLERS = ("gunicorn.error", "uvicorn", "uvicorn.error")
_SAY_WHAT_WE_SAY = ("gunicorn.access", "uvicorn.access")
_MAY_LOG_CREDENTIALS = ("httpx", "httpcore", "aiosmtplib", "procrastinate", "fsspec", "botocore")

_Event = MutableMapping[str, Any]


class _Output:
    """What `set_up` and `bind` change under loggers that modules already hold."""

    context: dict[str, object]
    delivery: Callable[..., object] | None

    def __init__(self) -> None:
        self.context = {}
        self.delivery = None


_output = _Output()


def set_up(
    level: str = "INFO",
    log_format: str | None = None,
    *,
    delivery_activity: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Send every log line of this process to `stream` (stderr); callable again, also after a fork.

    `log_format` is json, console, or None for console on a terminal and JSON elsewhere.
    """
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=_processors(log_format or ("console" if out.isatty() else "json"), colours=out.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=False,  # a cached logger would keep the level it had before a reload
    )
    delivery = get("delivery").bind()
    enabled = number <= (logging.INFO if delivery_activity else logging.DEBUG)
    _output.delivery = (delivery.info if delivery_activity else delivery.debug) if enabled else None
    _take_over_stdlib(number)


def hand_on(*, delivery_activity: bool = False) -> None:
    """Give every line to the logging of the program we are part of; nothing if it has set structlog up itself."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _as_record,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=lambda *_: _ToStdlib(),
        cache_logger_on_first_use=False,
    )
    delivery = get("delivery").bind()
    _output.delivery = delivery.info if delivery_activity else delivery.debug


def get(name: str) -> Logger:
    """The logger of a module; may be called before `set_up`, whose choices it follows."""
    return cast("Logger", structlog.get_logger(_logger=name))


def bind(**context: object) -> None:
    """Put these keys (role, node, owner) on every line of this process; `bound` does so within one call."""
    _output.context = {**_output.context, **context}


class _Lines:
    """Writes a line at once; a closed pipe or a full disk must never stop mail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = write


class _ToStdlib:
    def write(self, level: int, name: str, text: str) -> None:
        logging.getLogger(name).log(level, "%s", text)

    debug = info = warning = error = critical = write


class _FromStdlib(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):
            text = f"{record.msg} (its arguments do not fit)"
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        get(record.name).log(level, text, exc_info=record.exc_info)


def _take_over_stdlib(level: int) -> None:
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[_FromStdlib()], level=level, force=True)
    for name in _HAVE_OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _SAY_WHAT_WE_SAY:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = False
    for name in _MAY_LOG_CREDENTIALS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _processors(log_format: str, *, colours: bool) -> list[Processor]:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        _complete,
    ]
    if log_format == "json":
        return [*shared, _as_json]
    console = structlog.dev.ConsoleRenderer(
        colors=colours, timestamp_key="ts", sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )
    return [*shared, _escaped, console]


def _complete(_: object, method: str, event: _Event) -> _Event:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = {"ts": now, "level": method, "event": event.pop("event"), "logger": event.pop("_logger", None)}
    return {**head, **_output.context, **event}


def _as_json(_: object, __: str, event: _Event) -> str:
    return json.dumps(event, default=_plain)


def _as_record(_: object, method: str, event: _Event) -> tuple[tuple[int, str, str], dict[str, object]]:
    """The arguments of `_ToStdlib.write`."""
    name, what = str(event.pop("_logger", "mailproxy")), str(event.pop("event"))
    words = _escaped(None, "", {**_output.context, **event})
    text = " ".join([what.translate(_ESCAPES), *(f"{key}={value}" for key, value in words.items())])
    return (logging.getLevelNamesMapping()[method.upper()], name, text), {}


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        return "***"
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else repr(value)


def _escaped(_: object, __: str, event: _Event) -> _Event:
    return {key: _without_controls(key, value) for key, value in event.items()}


def _without_controls(key: str, value: object) -> object:
    if isinstance(value, int | float | None):
        return value
    text = value if isinstance(value, str) else _plain(value)
    return text.translate(_ESCAPES_IN_TRACEBACKS if key == "exception" else _ESCAPES)


class Of(NamedTuple):
    """Which message a line of the delivery log is about."""

    message: MessageId
    client_id: str
    tenant: str
    account: str | None = None
    attempt: int | None = None


def queued(of: Of, *, priority: Priority) -> None:
    """Accepted and committed."""
    if _output.delivery is not None:
        _say("queued", of, priority=priority.name.lower())


def claimed(of: Of, *, waited: Seconds) -> None:
    """Taken by a sender, `waited` seconds after it was due."""
    if _output.delivery is not None:
        _say("claimed", of, waited=round(waited, 6))


def sent(of: Of, *, reply: Reply, seconds: Seconds, refused: int = 0) -> None:
    """Taken by the server after `seconds` of dialogue, for all but `refused` recipients."""
    if _output.delivery is not None:
        _say("sent", of, reply=str(reply), seconds=round(seconds, 6), refused=refused)


def deferred(of: Of, *, cause: str, reply: Reply | None, retry_in: Seconds | None) -> None:
    """Not delivered now; next try in `retry_in` seconds (None: when its account works again)."""
    if _output.delivery is not None:
        _say("deferred", of, cause=cause, reply=str(reply) if reply else None, retry_in=retry_in)


def refused(of: Of, *, cause: str, reply: Reply | None) -> None:
    """Given up: an error that will be reported."""
    if _output.delivery is not None:
        _say("refused", of, cause=cause, reply=str(reply) if reply else None)


def in_doubt(of: Of, *, cause: str) -> None:
    """The dot went out and no reply came back: the server may or may not have it."""
    if _output.delivery is not None:
        _say("in_doubt", of, cause=cause)


def reported(of: Of, *, event_type: str, lag: Seconds) -> None:
    """The tenant acknowledged an event `lag` seconds after it happened."""
    if _output.delivery is not None:
        _say("reported", of, event_type=event_type, lag=round(lag, 6))


def bounced(of: Of, *, code: str | None, reason: str) -> None:
    """A delivery status notification came back (RFC 3464); `code` is its enhanced status."""
    if _output.delivery is not None:
        _say("bounced", of, code=code, reason=reason)


def _say(word: str, of: Of, **more: object) -> None:
    assert _output.delivery is not None
    about = {key: value for key, value in of._asdict().items() if value is not None}
    _output.delivery(word, **about, **more)

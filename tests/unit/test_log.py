"""Logs: every line parses, none holds a control character or a secret, filtered lines cost nothing."""

import io
import json
import logging
import traceback
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mailproxy import log
from mailproxy.model import MessageId, Priority
from mailproxy.outcome import Reply

CANARY = "canary-51de"
ROUTED = ("", "gunicorn.error", "uvicorn", "uvicorn.error", "httpx", "asyncio")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ROUTED]
    before = [(logger, logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    configuration, output = structlog.get_config(), dict(vars(log._output))
    with warnings.catch_warnings():
        yield
        logging.captureWarnings(False)
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagate
    structlog.configure(**configuration)
    vars(log._output).update(output)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def deliver_all() -> None:
    of = log.Of(MessageId(7), "m-1", "acme", "main", 1)
    log.queued(of, priority=Priority.HIGH)
    log.claimed(of, waited=0.25)
    log.sent(of, reply=Reply(250, "ok"), seconds=0.1, refused=1)
    log.deferred(of, cause="greylisted", reply=Reply(451, "later"), retry_in=60)
    log.refused(of, cause="no such user", reply=None)
    log.in_doubt(of, cause="connection lost")
    log.reported(of, event_type="sent", lag=0.5)
    log.bounced(of, code="5.1.1", reason="unknown")


def test_the_delivery_log_has_eight_words() -> None:
    stream = io.StringIO()
    log.set_up("INFO", delivery_activity=True, stream=stream)
    deliver_all()
    written = lines(stream)
    assert [line["event"] for line in written] == [
        "queued",
        "claimed",
        "sent",
        "deferred",
        "refused",
        "in_doubt",
        "reported",
        "bounced",
    ]
    assert all((line["level"], line["logger"]) == ("info", "delivery") for line in written)
    assert written[2]["reply"] == "(250, 'ok')"
    assert written[2]["refused"] == 1


@pytest.mark.parametrize(
    ("level", "activity", "shown"), [("INFO", False, 0), ("DEBUG", False, 8), ("WARNING", True, 0)]
)
def test_lines_of_single_messages_appear_only_when_wanted(level: str, activity: bool, shown: int) -> None:
    stream = io.StringIO()
    log.set_up(level, delivery_activity=activity, stream=stream)
    deliver_all()
    assert len(lines(stream)) == shown


def test_context_of_the_process_and_of_the_call_is_on_each_line() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)
    log.bind(role="sender", node="n1")
    log.bind(owner="n1-4711")
    with log.bound(request_id="r-1"):
        log.get("mailproxy.api").info("asked", path="/status")
    log.get("mailproxy.api").info("done")
    first, second = lines(stream)
    assert list(first)[:3] == ["ts", "level", "event"]
    assert (first["role"], first["node"], first["owner"], first["request_id"]) == (
        "sender",
        "n1",
        "n1-4711",
        "r-1",
    )
    assert (first["logger"], first["path"]) == ("mailproxy.api", "/status")
    assert "request_id" not in second


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_ever_written(log_format: str) -> None:
    stream = io.StringIO()
    log.set_up("DEBUG", log_format, stream=stream)
    secret = SecretStr(CANARY)
    log.get("x").info("event", token=secret, nested={"a": [secret]}, pair=(secret,))
    logging.getLogger("x").warning("token %s", secret)
    try:
        raise RuntimeError(f"with {secret}")
    except RuntimeError:
        log.get("x").exception("failed", token=secret)
    logging.getLogger("httpx").info("POST https://u:%s@h/", CANARY)
    assert CANARY not in stream.getvalue()
    assert "RuntimeError" in stream.getvalue()


@given(text=st.text(max_size=40), raw=st.binary(max_size=20))
def test_every_json_line_parses_and_holds_no_control_character(text: str, raw: bytes) -> None:
    stream = io.StringIO()
    log.set_up(log_format="json", stream=stream)
    log.get("x").info(text, value=text, raw=raw, deep={"k": [text]}, error=ValueError(text))
    logging.getLogger("uvicorn").warning("%s", text)
    written = stream.getvalue()
    assert written.count("\n") == len(lines(stream)) == 2
    assert not [char for char in written if unicodedata.category(char) in ("Cc", "Zl", "Zp") and char != "\n"]
    assert lines(stream)[0]["value"] == text


@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_no_console_line_holds_a_control_character(text: str) -> None:
    stream = io.StringIO()
    log.set_up(log_format="console", stream=stream)
    log.get("x").info(text, value=text, deep={"k": [text]}, error=ValueError(text))
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert not [char for char in written if unicodedata.category(char) in ("Cc", "Zl", "Zp") and char != "\n"]


def test_a_traceback_on_the_console_keeps_its_lines_but_no_escape_sequence() -> None:
    stream = io.StringIO()
    log.set_up(log_format="console", stream=stream)
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        log.get("x").exception("failed")
        assert stream.getvalue().count("\n") > traceback.format_exc().count("\n")
    assert "\x1b" not in stream.getvalue()


def test_libraries_write_through_the_same_renderer() -> None:
    stream = io.StringIO()
    of_its_own = logging.getLogger("gunicorn.error")
    of_its_own.addHandler(logging.NullHandler())
    of_its_own.propagate = False
    log.set_up(stream=stream)
    of_its_own.info("booting worker %d", 7)
    logging.getLogger("asyncio").log(35, "slow")
    logging.getLogger("uvicorn.error").error("bad %d", "number")
    logging.getLogger("uvicorn.error").debug("unseen")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old thing", UserWarning, stacklevel=1)
    written = lines(stream)
    assert [(line["logger"], line["level"]) for line in written] == [
        ("gunicorn.error", "info"),
        ("asyncio", "warning"),
        ("uvicorn.error", "error"),
        ("py.warnings", "warning"),
    ]
    assert written[0]["event"] == "booting worker 7"
    assert "do not fit" in written[2]["event"]
    assert "old thing" in written[3]["event"]


def test_a_logger_held_since_import_follows_a_new_set_up() -> None:
    logger = log.get("held")
    first, second = io.StringIO(), io.StringIO()
    log.set_up("INFO", stream=first)
    logger.debug("unseen")
    log.set_up("DEBUG", stream=second)
    logger.debug("seen")
    assert first.getvalue() == ""
    assert lines(second)[0]["event"] == "seen"


def test_a_broken_stream_stops_nobody() -> None:
    stream = io.StringIO()
    log.set_up("INFO", stream=stream)
    stream.close()
    log.get("x").info("to nobody")


def test_inside_another_program_lines_go_to_its_logging(caplog: pytest.LogCaptureFixture) -> None:
    structlog.reset_defaults()
    logging.getLogger().handlers = [caplog.handler]
    caplog.set_level(logging.DEBUG)
    log.hand_on(delivery_activity=True)
    log.get("mailproxy.test").warning("it_happened", what="a\nb", secret=SecretStr(CANARY))
    log.queued(log.Of(MessageId(1), "m1", "acme"), priority=Priority.HIGH)
    found = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
    assert found == [
        ("mailproxy.test", "WARNING", "it_happened what=a\\x0ab secret=***"),
        ("delivery", "INFO", "queued message=1 client_id=m1 tenant=acme priority=high"),
    ]


def test_a_program_that_has_set_up_structlog_keeps_it() -> None:
    stream = io.StringIO()
    log.set_up("INFO", "json", stream=stream)
    log.hand_on()
    log.get("mailproxy.test").info("it_happened")
    assert [line["event"] for line in lines(stream)] == ["it_happened"]

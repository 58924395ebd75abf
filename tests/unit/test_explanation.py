"""Why a message has not gone, told from what is known of it."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mailproxy.api import remedies
from mailproxy.cli import remedies as typed
from mailproxy.cli.home import Instance
from mailproxy.cli.main import cli
from mailproxy.cli.place import Place
from mailproxy.cli.server import Local
from mailproxy.client import Finding
from mailproxy.evidence import Evidence, Holder, QueueRow, Suspension, Undelivered
from mailproxy.explanation import Action, Remedy, Terms, explain
from mailproxy.figures import ProcessView, SyncStanding
from mailproxy.model import (
    Account,
    AccountCondition,
    AccountPk,
    Epoch,
    EventDetail,
    EventType,
    MessageId,
    Priority,
    State,
    TenantPk,
)
from mailproxy.records import AccountView, EventView, MessageView, Window

NOW = 1_700_000_000.0
TERMS = Terms(max_retries=5, silent_after=30.0)

MESSAGE = MessageView(
    id=MessageId(1),
    client_id="m1",
    tenant_id="acme",
    account_id="main",
    state=State.PENDING,
    priority=Priority.MEDIUM,
    batch_code=None,
    deferred_until=None,
    done_at=None,
    error=None,
    reported_at=None,
    created_at=NOW - 100,
    updated_at=NOW - 100,
    attempts=0,
)
ROW = QueueRow(
    due_at=NOW - 60,
    expires_at=NOW + 86400,
    phase=0,
    attempts=0,
    crashes=0,
    is_suspect=False,
    ahead=0,
    holder=None,
)
ACCOUNT = AccountView(
    account=Account(AccountPk(1), TenantPk(1), "acme", "main", 1, "smtp.example.com", 587, None, None),
    password_set=False,
    limit_per_minute=None,
    limit_per_hour=None,
    limit_per_day=None,
    condition=AccountCondition.OK,
    reason=None,
    cause=None,
    since=None,
    next_try=None,
    created_at=NOW,
    updated_at=NOW,
)
SENDER = ProcessView(Epoch(1), "sender-1", "node-1", "sender", NOW - 900, NOW - 1)
REPORTER = ProcessView(Epoch(2), "reporter-1", "node-1", "reporter", NOW - 900, NOW - 1)
SYNC = SyncStanding(
    "acme", None, True, "https://acme.example", NOW, None, None, None, 0, None, poked=False, pending=0
)
HOLDER = Holder("sender-1", "node-1", NOW - 1, None, NOW + 10)
GONE = Holder("sender-0", "node-1", NOW - 300, None, NOW + 10)
WAITING = Evidence(NOW, MESSAGE, ROW, (), (), ACCOUNT, (), (), (HOLDER,), (SENDER, REPORTER), SYNC)


def _event(kind: EventType, *, reported: bool = False, **detail: Any) -> EventView:
    return EventView(1, kind, NOW - 50, EventDetail(**detail), reported)


def _finished(state: State, *events: EventView, **changes: Any) -> Evidence:
    message = replace(MESSAGE, state=state, done_at=NOW - 50, **changes)
    return replace(WAITING, message=message, row=None, events=events)


def _account(condition: AccountCondition, **changes: Any) -> Evidence:
    return replace(WAITING, account=replace(ACCOUNT, condition=condition, since=NOW - 60, **changes))


def _row(**changes: Any) -> Evidence:
    return replace(WAITING, row=replace(ROW, **changes))


def _sending(holder: Holder, phase: int = 1) -> Evidence:
    return replace(
        WAITING, message=replace(MESSAGE, state=State.SENDING), row=replace(ROW, phase=phase, holder=holder)
    )


CASES: list[tuple[Evidence, str, str, Remedy | None]] = [
    (
        replace(WAITING, suspensions=(Suspension(0, "", NOW),)),
        "suspended",
        "for everybody",
        Remedy(Action.ACTIVATE_ALL),
    ),
    (
        replace(WAITING, suspensions=(Suspension(1, "b1", NOW),)),
        "suspended",
        "its batch b1",
        Remedy(Action.ACTIVATE_BATCH, "b1"),
    ),
    (
        replace(WAITING, suspensions=(Suspension(1, "", NOW),)),
        "suspended",
        "its tenant",
        Remedy(Action.ACTIVATE_TENANT, "acme"),
    ),
    (_row(due_at=NOW + 600), "not_due", "was asked to go at", None),
    (_row(due_at=NOW + 600, attempts=2), "not_due", "next attempt, at", None),
    (
        _account(AccountCondition.BREAKER_OPEN, reason="authentication", cause="535 no"),
        "breaker_open",
        "535 no",
        Remedy(Action.CORRECT_LOGIN, "main"),
    ),
    (
        _account(AccountCondition.BREAKER_OPEN, reason="tls"),
        "breaker_open",
        "switched off",
        Remedy(Action.RESET_ACCOUNT, "main"),
    ),
    (
        _account(AccountCondition.BACKING_OFF, reason="dns", next_try=NOW + 30),
        "account_rests",
        "dns",
        Remedy(Action.RESET_ACCOUNT, "main"),
    ),
    (
        replace(WAITING, account=replace(ACCOUNT, windows=(Window("minute", 60, 60, 0, NOW + 12),))),
        "rate_limit",
        "used 60 of its 60 messages a minute",
        Remedy(Action.RAISE_ACCOUNT_LIMIT, "main"),
    ),
    (
        replace(WAITING, tenant_windows=(Window("day", 5, 5, 0, NOW + 12),)),
        "rate_limit",
        "tenant acme used 5",
        Remedy(Action.RAISE_TENANT_LIMIT, "acme"),
    ),
    (replace(WAITING, processes=()), "no_workers", "No workers run", Remedy(Action.START_WORKERS)),
    (
        replace(WAITING, processes=(replace(SENDER, seen_at=NOW - 31),)),
        "no_workers",
        "nobody sends",
        Remedy(Action.START_WORKERS),
    ),
    (replace(WAITING, leases=(GONE,)), "holder_gone", "a process that is gone", None),
    (
        _sending(GONE),
        "holder_gone",
        "sender-0 on node-1, seen 5 min ago",
        Remedy(Action.WAIT),
    ),
    (
        _finished(State.UNKNOWN),
        "unknown",
        "is not known",
        Remedy(Action.RESOLVE, "m1"),
    ),
    (_finished(State.ERROR, error="no (SMTP 550)"), "error", "no (SMTP 550)", Remedy(Action.POST_AGAIN)),
    (
        replace(
            _finished(State.SENT, _event(EventType.SENT)),
            sync=replace(SYNC, next_try_at=NOW + 9, fails=3, pending=1),
        ),
        "report_fails",
        "3 calls to its tenant failed",
        Remedy(Action.RUN_NOW),
    ),
    (
        replace(_finished(State.SENT, _event(EventType.SENT)), sync=replace(SYNC, switched_off="410")),
        "report_switched_off",
        "410",
        Remedy(Action.SWITCH_ON, "acme"),
    ),
    (
        replace(
            _finished(State.SENT, _event(EventType.SENT)),
            undelivered=(Undelivered(1, "answers 500", 3, None, NOW - 9),),
        ),
        "report_given_up",
        "answers 500",
        Remedy(Action.REPLAY, "1"),
    ),
    (
        replace(
            _finished(State.SENT, _event(EventType.SENT)),
            undelivered=(Undelivered(1, "named in error", 3, NOW + 9, None),),
        ),
        "report_refused",
        "refused 3 times: named in error",
        None,
    ),
    (
        replace(_finished(State.SENT, _event(EventType.SENT)), processes=(SENDER,)),
        "no_reporter",
        "no reporter runs",
        None,
    ),
]


@pytest.mark.parametrize(("evidence", "code", "text", "remedy"), CASES)
def test_each_obstacle_is_named_with_its_remedy(
    evidence: Evidence, code: str, text: str, remedy: Remedy | None
) -> None:
    blocking = [one for one in explain(evidence, TERMS) if one.blocks]
    assert [one.code for one in blocking] == [code]
    assert text in blocking[0].text
    assert blocking[0].remedy == remedy


@pytest.mark.parametrize("action", Action)
def test_every_remedy_is_told_as_a_call(action: Action) -> None:
    told = remedies.said(Remedy(action, "a b/c"), "acme")
    assert not any(mark in told for mark in ("{path}", "{{", "}}"))
    assert "a b/c" not in told or action is Action.REPLAY


@pytest.mark.parametrize("action", sorted(set(Action) - {Action.POST_AGAIN, Action.WAIT}))
def test_every_remedy_that_a_command_does_is_one_that_exists(action: Action, tmp_path: Path) -> None:
    here = Place(Local(Instance("first", tmp_path)), "acme")
    told = typed.said(Finding("", "", blocks=True, action=action, object="a b'c"), here)
    assert told is not None
    program, *words = shlex.split(told.partition("   ")[0].replace("sent|retry|error", "sent"))
    assert program == "mail-proxy"
    options = [word for word in words if word.endswith("…")]
    done = CliRunner().invoke(cli, [*(word for word in words if word not in options), "--help"])
    assert done.exit_code == 0, f"{told}: {done.output}"
    assert all(f"  {option.removesuffix('…')}" in done.output for option in options), told


FREE = [
    (WAITING, "its_turn"),
    (WAITING, "holder_alive"),
    (WAITING, "expiry"),
    (replace(WAITING, leases=()), "no_holder"),
    (_row(is_suspect=True, crashes=1), "suspect"),
    (_sending(HOLDER), "sending"),
    (_sending(HOLDER, phase=2), "sending"),
    (_finished(State.SENT), "sent"),
    (_finished(State.CANCELLED), "cancelled"),
    (_finished(State.EXPIRED), "expired"),
    (
        replace(
            WAITING,
            message=replace(MESSAGE, attempts=1),
            events=(_event(EventType.DEFERRED, code=451, reply="later", reported=True),),
        ),
        "last_reply",
    ),
    (
        replace(WAITING, message=replace(MESSAGE, attempts=1)),
        "attempts",
    ),
    (_finished(State.SENT, _event(EventType.SENT, reported=True), reported_at=NOW), "reported"),
    (_finished(State.SENT, _event(EventType.SENT, reported=True)), "no_report"),
    (_finished(State.SENT, _event(EventType.SENT)), "report_waits"),
]


@pytest.mark.parametrize(("evidence", "code"), FREE)
def test_what_keeps_nothing_is_told_without_alarm(evidence: Evidence, code: str) -> None:
    found = explain(evidence, TERMS)
    assert code in {one.code for one in found}
    assert not [one for one in found if one.blocks]


def test_every_obstacle_is_told_not_only_the_first() -> None:
    evidence = replace(
        _account(AccountCondition.BREAKER_OPEN, reason="authentication"),
        row=replace(ROW, due_at=NOW + 600),
        suspensions=(Suspension(0, "", NOW),),
        processes=(),
    )
    codes = [one.code for one in explain(evidence, TERMS) if one.blocks]
    assert codes == ["suspended", "not_due", "breaker_open", "no_workers"]


def test_the_account_says_how_many_attempts_there_are() -> None:
    account = replace(ACCOUNT, account=replace(ACCOUNT.account, max_retries=2))
    evidence = replace(WAITING, account=account, message=replace(MESSAGE, attempts=1))
    told = explain(evidence, TERMS)
    assert "1 of at most 3 attempts were made." in {one.text for one in told}

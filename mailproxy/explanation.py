"""Why a message has not gone, from what the database says about it: sentences, with remedies where there are any.

A remedy says what to do, not how: a command and a call of the API are words for the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from mailproxy.evidence import EVERYBODY, MOST_AHEAD, Evidence, Holder, QueueRow, Suspension
from mailproxy.model import AccountCondition, EventType, Instant, Seconds, State
from mailproxy.moments import duration, zoned, zoned_beside
from mailproxy.outcome import Trouble
from mailproxy.records import AccountView, EventView, Window

_SENDING_ROLES = frozenset({"scout", "sender"})
_CAUSES_OF_LIMITS = "rate_limit"
_REPORTED_BY = "reporter"


class Action(StrEnum):
    """What may be done; the words are stable."""

    RESOLVE = "resolve"
    POST_AGAIN = "post_again"
    WAIT = "wait"
    ACTIVATE_ALL = "activate_all"
    ACTIVATE_TENANT = "activate_tenant"
    ACTIVATE_BATCH = "activate_batch"
    RESET_ACCOUNT = "reset_account"
    CORRECT_LOGIN = "correct_login"
    RAISE_ACCOUNT_LIMIT = "raise_account_limit"
    RAISE_TENANT_LIMIT = "raise_tenant_limit"
    START_WORKERS = "start_workers"
    SET_URL = "set_url"
    SWITCH_ON = "switch_on"
    RUN_NOW = "run_now"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Remedy:
    """`object` is the id of the message, account, tenant or event, or the batch code, that the action is about."""

    action: Action
    object: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable; `blocks` when the message would go, or be reported, without it."""

    code: str
    text: str
    blocks: bool = False
    remedy: Remedy | None = None
    until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """The service's own: retries where an account names none, and after how long a process counts as gone."""

    max_retries: int
    silent_after: Seconds


def explain(evidence: Evidence, terms: Terms) -> list[Finding]:
    """What is known first, then all that keeps the message from going, then how its report stands."""
    message = evidence.message
    if message.state is State.SENDING and evidence.row is not None:
        fate = [_under_way(evidence, evidence.row, terms)]
    elif evidence.row is not None:
        fate = list(_waiting(evidence, evidence.row, terms))
    else:
        fate = [_finished(evidence)]
    return [*fate, *_attempts(evidence, terms), *_report(evidence)]


# -- its fate


def _finished(evidence: Evidence) -> Finding:
    message = evidence.message
    when = zoned(message.done_at)
    match message.state:
        case State.SENT:
            refused = f"; {len(message.refused)} recipients were refused" if message.refused else ""
            return Finding("sent", f"It was sent at {when}{refused}.")
        case State.UNKNOWN:
            decide = Remedy(Action.RESOLVE, message.client_id)
            text = "Whether it was delivered is not known: the connection broke after its last line was sent."
            return Finding("unknown", text, blocks=True, remedy=decide)
        case State.CANCELLED:
            return Finding("cancelled", f"It was cancelled at {when}.")
        case State.EXPIRED:
            return Finding("expired", f"It grew too old and was given up at {when}.")
        case _:
            text = f"It failed for good at {when}: {message.error or 'no reason was kept'}"
            return Finding("error", text, blocks=True, remedy=Remedy(Action.POST_AGAIN))


def _under_way(evidence: Evidence, row: QueueRow, terms: Terms) -> Finding:
    holder = row.holder
    if holder is None or not _is_alive(holder, evidence.now, terms.silent_after):
        text = f"It was being sent by a process that is gone ({_who(holder, evidence.now)})."
        return Finding("holder_gone", text, blocks=True, remedy=Remedy(Action.WAIT))
    step = "prepared" if row.phase == 1 else "handed over"
    return Finding("sending", f"It is being {step} right now by {_who(holder, evidence.now)}.")


def _waiting(evidence: Evidence, row: QueueRow, terms: Terms) -> Iterator[Finding]:
    found = [
        *_suspensions(evidence),
        *_time(evidence, row),
        *_account(evidence),
        *_limits(evidence),
        *_workers(evidence, terms),
    ]
    yield from found
    if not found:
        yield from _turn(evidence, row, terms)
    if row.is_suspect or row.crashes:
        text = "A sender died while it prepared this message; it is now prepared alone"
        yield Finding("suspect", f"{text} ({row.crashes} deaths counted).")
    yield Finding(
        "expiry", f"If it has not gone by {zoned_beside(row.expires_at, evidence.now)}, it is given up."
    )


def _suspensions(evidence: Evidence) -> Iterator[Finding]:
    for one in evidence.suspensions:
        whom, remedy = _suspended(one, evidence.message.tenant_id)
        text = f"Sending is suspended for {whom} since {zoned(one.since)}."
        yield Finding("suspended", text, blocks=True, remedy=remedy)


def _suspended(one: Suspension, tenant: str) -> tuple[str, Remedy]:
    if one.tenant == EVERYBODY:
        return "everybody", Remedy(Action.ACTIVATE_ALL)
    if one.batch_code:
        return f"its batch {one.batch_code}", Remedy(Action.ACTIVATE_BATCH, one.batch_code)
    return "its tenant", Remedy(Action.ACTIVATE_TENANT, tenant)


def _time(evidence: Evidence, row: QueueRow) -> Iterator[Finding]:
    if row.due_at > evidence.now:
        when = zoned_beside(row.due_at, evidence.now)
        was = f"waits for its next attempt, at {when}" if row.attempts else f"was asked to go at {when}"
        yield Finding("not_due", f"It {was}.", blocks=True, until=row.due_at)


def _account(evidence: Evidence) -> Iterator[Finding]:
    view = evidence.account
    if view is None:
        yield Finding("no_account", "Its account is gone.", blocks=True)
    elif view.condition is AccountCondition.BREAKER_OPEN:
        yield _open_breaker(view, evidence.now)
    elif view.next_try is not None and view.next_try > evidence.now and view.reason != _CAUSES_OF_LIMITS:
        when = zoned_beside(view.next_try, evidence.now)
        text = f"Its account {view.account.id} rests until {when}: {_because(view)}"
        reset = Remedy(Action.RESET_ACCOUNT, view.account.id)
        yield Finding("account_rests", text, blocks=True, remedy=reset, until=view.next_try)


def _open_breaker(view: AccountView, now: Instant) -> Finding:
    id_ = view.account.id
    text = f"Its account {id_} is switched off since {zoned_beside(view.since, now)}: {_because(view)}"
    action = Action.CORRECT_LOGIN if view.reason == Trouble.AUTH else Action.RESET_ACCOUNT
    return Finding("breaker_open", text, blocks=True, remedy=Remedy(action, id_))


def _because(view: AccountView) -> str:
    return ": ".join(part for part in (view.reason, view.cause) if part) or "no reason was kept"


def _limits(evidence: Evidence) -> Iterator[Finding]:
    account = evidence.account
    if account is not None:
        change = Remedy(Action.RAISE_ACCOUNT_LIMIT, account.account.id)
        yield from _full(account.windows, f"account {account.account.id}", change, evidence.now)
    tenant = evidence.message.tenant_id
    change = Remedy(Action.RAISE_TENANT_LIMIT, tenant)
    yield from _full(evidence.tenant_windows, f"tenant {tenant}", change, evidence.now)


def _full(windows: Iterable[Window], whose: str, change: Remedy, now: Instant) -> Iterator[Finding]:
    for window in windows:
        if window.left == 0:
            until = window.next_at or now
            text = f"The {whose} used {window.used} of its {window.limit} messages a {window.name}"
            when = f"; the next may go at {zoned_beside(until, now)}."
            yield Finding("rate_limit", text + when, blocks=True, remedy=change, until=until)


def _workers(evidence: Evidence, terms: Terms) -> Iterator[Finding]:
    alive = [one for one in evidence.processes if one.role in _SENDING_ROLES]
    if any(evidence.now - one.seen_at <= terms.silent_after for one in alive):
        return
    text = "No workers run: nobody sends."
    yield Finding("no_workers", text, blocks=True, remedy=Remedy(Action.START_WORKERS))


def _turn(evidence: Evidence, row: QueueRow, terms: Terms) -> Iterator[Finding]:
    """Nothing keeps the message: who has its account, and how many come first."""
    waits = duration(max(0.0, evidence.now - row.due_at))
    ahead = f"at least {row.ahead}" if row.ahead >= MOST_AHEAD else str(row.ahead or "no")
    yield Finding("its_turn", f"It is due since {waits}; {ahead} messages of its account come before it.")
    for lease in evidence.leases:
        who = _who(lease, evidence.now)
        if _is_alive(lease, evidence.now, terms.silent_after):
            yield Finding("holder_alive", f"Its account is served by {who}.")
        elif lease.lease_until is not None and lease.lease_until > evidence.now:
            text = f"Its account is still leased to a process that is gone ({who})"
            until = lease.lease_until
            when = f"; another takes over at {zoned_beside(until, evidence.now)}."
            yield Finding("holder_gone", text + when, blocks=True, until=until)
    if not evidence.leases:
        yield Finding("no_holder", "No sender serves its account yet; one is started when it is due.")


def _is_alive(holder: Holder, now: Instant, silent_after: Seconds) -> bool:
    return holder.left_at is None and holder.seen_at is not None and now - holder.seen_at <= silent_after


def _who(holder: Holder | None, now: Instant) -> str:
    if holder is None or holder.owner is None:
        return "nobody knows which"
    said = f"{holder.owner} on {holder.node}"
    if holder.left_at is not None:
        return f"{said}, which ended {duration(max(0.0, now - holder.left_at))} ago"
    return f"{said}, seen {duration(max(0.0, now - (holder.seen_at or now)))} ago"


# -- what was tried, what was told


def _attempts(evidence: Evidence, terms: Terms) -> Iterator[Finding]:
    message, account = evidence.message, evidence.account
    most = terms.max_retries if account is None else account.account.max_retries
    retries = terms.max_retries if most is None else most
    if message.attempts:
        more = "" if evidence.row is None else f" of at most {retries + 1}"
        yield Finding("attempts", f"{message.attempts}{more} attempts were made.")
    told = [event for event in evidence.events if event.detail.reply or event.detail.error]
    if told and message.state is not State.ERROR:
        last = told[-1]
        code = f"{last.detail.code} " if last.detail.code and last.detail.reply else ""
        said = last.detail.reply or last.detail.error
        when = zoned_beside(last.event_ts, evidence.now)
        yield Finding("last_reply", f"The last answer, {when}: {code}{said}")


def _report(evidence: Evidence) -> Iterator[Finding]:
    refused = {one.event_id for one in evidence.undelivered}
    waiting = [event for event in evidence.events if not event.reported and event.event_id not in refused]
    yield from _refused_reports(evidence)
    if waiting:
        yield _waiting_report(evidence, waiting)
    elif evidence.message.reported_at is not None:
        yield Finding("reported", f"Reported at {zoned(evidence.message.reported_at)}.")
    elif evidence.events and not refused:
        remedy = Remedy(Action.SET_URL, evidence.message.tenant_id)
        yield Finding("no_report", "Nobody is told: its tenant has no URL for reports.", remedy=remedy)


def _refused_reports(evidence: Evidence) -> Iterator[Finding]:
    for one in evidence.undelivered:
        if one.dead_at is not None:
            text = f"Its report {one.event_id} was given up at {zoned(one.dead_at)}: {one.cause}"
            again = Remedy(Action.REPLAY, str(one.event_id))
            yield Finding("report_given_up", text, blocks=True, remedy=again)
        else:
            text = f"Its report {one.event_id} was refused {one.tries} times: {one.cause}"
            when = f"; it is repeated at {zoned_beside(one.next_try_at, evidence.now)}."
            yield Finding("report_refused", text + when, blocks=True, until=one.next_try_at)


def _waiting_report(evidence: Evidence, waiting: Iterable[EventView]) -> Finding:
    sync = evidence.sync
    kinds = ", ".join(str(EventType(event.event_type)) for event in waiting)
    text = f"Not reported yet: {kinds}"
    if sync.switched_off is not None:
        remedy = Remedy(Action.SWITCH_ON, evidence.message.tenant_id)
        cause = f"{text}; its tenant's URL was switched off: {sync.switched_off}"
        return Finding("report_switched_off", cause, blocks=True, remedy=remedy)
    if sync.next_try_at is not None and sync.next_try_at > evidence.now:
        when = zoned_beside(sync.next_try_at, evidence.now)
        failed = f"{text}; {sync.fails} calls to its tenant failed, the next is at {when}."
        again = Remedy(Action.RUN_NOW)
        return Finding("report_fails", failed, blocks=True, remedy=again, until=sync.next_try_at)
    if not any(one.role == _REPORTED_BY for one in evidence.processes):
        return Finding("no_reporter", f"{text}; no reporter runs.", blocks=True)
    return Finding("report_waits", f"{text}; its tenant is called soon.")

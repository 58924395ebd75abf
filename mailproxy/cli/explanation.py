"""Why a message has not gone, from what the database says about it: sentences, with remedies where there are any."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mailproxy.cli.show import duration, moment, moment_beside
from mailproxy.evidence import EVERYBODY, MOST_AHEAD, Evidence, Holder, QueueRow, Suspension
from mailproxy.model import AccountCondition, EventType, Instant, Seconds, State
from mailproxy.outcome import Trouble
from mailproxy.records import AccountView, EventView, Window

_SENDING_ROLES = frozenset({"scout", "sender"})
_CAUSES_OF_LIMITS = "rate_limit"
_REPORTED_BY = "reporter"


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable; `blocks` when the message would go, or be reported, without it."""

    code: str
    text: str
    blocks: bool = False
    remedy: str | None = None
    until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """How commands begin here (`mail-proxy NAME`), whose message it is, and the instance's terms."""

    here: str
    tenant: str
    max_retries: int
    silent_after: Seconds

    def for_tenant(self, rest: str) -> str:
        return f"{self.here} {self.tenant} {rest}"


def explain(evidence: Evidence, words: Words) -> list[Finding]:
    """What is known first, then all that keeps the message from going, then how its report stands."""
    message = evidence.message
    if message.state is State.SENDING and evidence.row is not None:
        fate = [_under_way(evidence, evidence.row, words)]
    elif evidence.row is not None:
        fate = list(_waiting(evidence, evidence.row, words))
    else:
        fate = [_finished(evidence, words)]
    return [*fate, *_attempts(evidence, words), *_report(evidence, words)]


# -- its fate


def _finished(evidence: Evidence, words: Words) -> Finding:
    message = evidence.message
    when = moment(message.done_at)
    match message.state:
        case State.SENT:
            refused = f"; {len(message.refused)} recipients were refused" if message.refused else ""
            return Finding("sent", f"It was sent at {when}{refused}.")
        case State.UNKNOWN:
            decide = words.for_tenant(f"messages resolve {message.client_id} --as sent|retry|error")
            text = "Whether it was delivered is not known: the connection broke after its last line was sent."
            return Finding("unknown", text, blocks=True, remedy=decide)
        case State.CANCELLED:
            return Finding("cancelled", f"It was cancelled at {when}.")
        case State.EXPIRED:
            return Finding("expired", f"It grew too old and was given up at {when}.")
        case _:
            text = f"It failed for good at {when}: {message.error or 'no reason was kept'}"
            again = "Post it again with the same id once the reason is gone."
            return Finding("error", text, blocks=True, remedy=again)


def _under_way(evidence: Evidence, row: QueueRow, words: Words) -> Finding:
    holder = row.holder
    if holder is None or not _is_alive(holder, evidence.now, words.silent_after):
        text = f"It was being sent by a process that is gone ({_who(holder, evidence.now)})."
        remedy = "Nothing to do while workers run: the account's next sender settles it."
        return Finding("holder_gone", text, blocks=True, remedy=remedy)
    step = "prepared" if row.phase == 1 else "handed over"
    return Finding("sending", f"It is being {step} right now by {_who(holder, evidence.now)}.")


def _waiting(evidence: Evidence, row: QueueRow, words: Words) -> Iterator[Finding]:
    found = [
        *_suspensions(evidence, words),
        *_time(evidence, row),
        *_account(evidence, words),
        *_limits(evidence, words),
        *_workers(evidence, words),
    ]
    yield from found
    if not found:
        yield from _turn(evidence, row, words)
    if row.is_suspect or row.crashes:
        text = "A sender died while it prepared this message; it is now prepared alone"
        yield Finding("suspect", f"{text} ({row.crashes} deaths counted).")
    yield Finding(
        "expiry", f"If it has not gone by {moment_beside(row.expires_at, evidence.now)}, it is given up."
    )


def _suspensions(evidence: Evidence, words: Words) -> Iterator[Finding]:
    for one in evidence.suspensions:
        whom, body = _suspended(one, words.tenant)
        text = f"Sending is suspended for {whom} since {moment(one.since)}."
        yield Finding("suspended", text, blocks=True, remedy=f"POST /commands/activate {body}")


def _suspended(one: Suspension, tenant: str) -> tuple[str, str]:
    if one.tenant == EVERYBODY:
        return "everybody", "with the admin token and no tenant"
    if one.batch_code:
        return f"its batch {one.batch_code}", f'{{"tenant_id": "{tenant}", "batch_code": "{one.batch_code}"}}'
    return "its tenant", f'{{"tenant_id": "{tenant}"}}'


def _time(evidence: Evidence, row: QueueRow) -> Iterator[Finding]:
    if row.due_at > evidence.now:
        when = moment_beside(row.due_at, evidence.now)
        was = f"waits for its next attempt, at {when}" if row.attempts else f"was asked to go at {when}"
        yield Finding("not_due", f"It {was}.", blocks=True, until=row.due_at)


def _account(evidence: Evidence, words: Words) -> Iterator[Finding]:
    view = evidence.account
    if view is None:
        yield Finding("no_account", "Its account is gone.", blocks=True)
    elif view.condition is AccountCondition.BREAKER_OPEN:
        yield _open_breaker(view, evidence.now, words)
    elif view.next_try is not None and view.next_try > evidence.now and view.reason != _CAUSES_OF_LIMITS:
        when = moment_beside(view.next_try, evidence.now)
        text = f"Its account {view.account.id} rests until {when}: {_because(view)}"
        reset = words.for_tenant(f"accounts reset {view.account.id}")
        yield Finding("account_rests", text, blocks=True, remedy=reset, until=view.next_try)


def _open_breaker(view: AccountView, now: Instant, words: Words) -> Finding:
    id_ = view.account.id
    text = f"Its account {id_} is switched off since {moment_beside(view.since, now)}: {_because(view)}"
    reset = words.for_tenant(f"accounts reset {id_}")
    if view.reason == Trouble.AUTH:
        reset = words.for_tenant(f"accounts update {id_} --password-stdin") + "   (which also switches it on)"
    return Finding("breaker_open", text, blocks=True, remedy=reset)


def _because(view: AccountView) -> str:
    return ": ".join(part for part in (view.reason, view.cause) if part) or "no reason was kept"


def _limits(evidence: Evidence, words: Words) -> Iterator[Finding]:
    account = evidence.account
    if account is not None:
        change = words.for_tenant(f"accounts update {account.account.id} --limit-…")
        yield from _full(account.windows, f"account {account.account.id}", change, evidence.now)
    change = f"{words.here} tenants update {words.tenant} --rate-limit-…"
    yield from _full(evidence.tenant_windows, f"tenant {words.tenant}", change, evidence.now)


def _full(windows: Iterable[Window], whose: str, change: str, now: Instant) -> Iterator[Finding]:
    for window in windows:
        if window.left == 0:
            until = window.next_at or now
            text = f"The {whose} used {window.used} of its {window.limit} messages a {window.name}"
            when = f"; the next may go at {moment_beside(until, now)}."
            yield Finding("rate_limit", text + when, blocks=True, remedy=change, until=until)


def _workers(evidence: Evidence, words: Words) -> Iterator[Finding]:
    alive = [one for one in evidence.processes if one.role in _SENDING_ROLES]
    if any(evidence.now - one.seen_at <= words.silent_after for one in alive):
        return
    name = words.here.rpartition(" ")[2]
    text = "No workers run: nobody sends."
    yield Finding("no_workers", text, blocks=True, remedy=f"mail-proxy start {name} -b")


def _turn(evidence: Evidence, row: QueueRow, words: Words) -> Iterator[Finding]:
    """Nothing keeps the message: who has its account, and how many come first."""
    waits = duration(max(0.0, evidence.now - row.due_at))
    ahead = f"at least {row.ahead}" if row.ahead >= MOST_AHEAD else str(row.ahead or "no")
    yield Finding("its_turn", f"It is due since {waits}; {ahead} messages of its account come before it.")
    for lease in evidence.leases:
        who = _who(lease, evidence.now)
        if _is_alive(lease, evidence.now, words.silent_after):
            yield Finding("holder_alive", f"Its account is served by {who}.")
        elif lease.lease_until is not None and lease.lease_until > evidence.now:
            text = f"Its account is still leased to a process that is gone ({who})"
            until = lease.lease_until
            when = f"; another takes over at {moment_beside(until, evidence.now)}."
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


def _attempts(evidence: Evidence, words: Words) -> Iterator[Finding]:
    message, account = evidence.message, evidence.account
    most = words.max_retries if account is None else account.account.max_retries
    retries = words.max_retries if most is None else most
    if message.attempts:
        more = "" if evidence.row is None else f" of at most {retries + 1}"
        yield Finding("attempts", f"{message.attempts}{more} attempts were made.")
    told = [event for event in evidence.events if event.detail.reply or event.detail.error]
    if told and message.state is not State.ERROR:
        last = told[-1]
        code = f"{last.detail.code} " if last.detail.code and last.detail.reply else ""
        said = last.detail.reply or last.detail.error
        when = moment_beside(last.event_ts, evidence.now)
        yield Finding("last_reply", f"The last answer, {when}: {code}{said}")


def _report(evidence: Evidence, words: Words) -> Iterator[Finding]:
    refused = {one.event_id for one in evidence.undelivered}
    waiting = [event for event in evidence.events if not event.reported and event.event_id not in refused]
    yield from _refused_reports(evidence, words)
    if waiting:
        yield _waiting_report(evidence, waiting, words)
    elif evidence.message.reported_at is not None:
        yield Finding("reported", f"Reported at {moment(evidence.message.reported_at)}.")
    elif evidence.events and not refused:
        remedy = f"{words.here} tenants update {words.tenant} --base-url URL"
        yield Finding("no_report", "Nobody is told: its tenant has no URL for reports.", remedy=remedy)


def _refused_reports(evidence: Evidence, words: Words) -> Iterator[Finding]:
    for one in evidence.undelivered:
        if one.dead_at is not None:
            text = f"Its report {one.event_id} was given up at {moment(one.dead_at)}: {one.cause}"
            again = words.for_tenant(f"dead-letters replay {one.event_id}")
            yield Finding("report_given_up", text, blocks=True, remedy=again)
        else:
            text = f"Its report {one.event_id} was refused {one.tries} times: {one.cause}"
            when = f"; it is repeated at {moment_beside(one.next_try_at, evidence.now)}."
            yield Finding("report_refused", text + when, blocks=True, until=one.next_try_at)


def _waiting_report(evidence: Evidence, waiting: Iterable[EventView], words: Words) -> Finding:
    sync = evidence.sync
    kinds = ", ".join(str(EventType(event.event_type)) for event in waiting)
    text = f"Not reported yet: {kinds}"
    if sync.switched_off is not None:
        remedy = f"{words.here} tenants update {words.tenant} --switch-on"
        cause = f"{text}; its tenant's URL was switched off: {sync.switched_off}"
        return Finding("report_switched_off", cause, blocks=True, remedy=remedy)
    if sync.next_try_at is not None and sync.next_try_at > evidence.now:
        when = moment_beside(sync.next_try_at, evidence.now)
        failed = f"{text}; {sync.fails} calls to its tenant failed, the next is at {when}."
        remedy = words.for_tenant("run-now")
        return Finding("report_fails", failed, blocks=True, remedy=remedy, until=sync.next_try_at)
    if not any(one.role == _REPORTED_BY for one in evidence.processes):
        return Finding("no_reporter", f"{text}; no reporter runs.", blocks=True)
    return Finding("report_waits", f"{text}; its tenant is called soon.")

"""Tells tenants what became of their messages: claim the tenants that are due, call them, settle.

An event is acknowledged only after its tenant's answer, so a process killed in between repeats it with the same
event id and skips none. Every tenant has a task of its own: a slow or lying one delays nobody else.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from mailproxy import egress, log, metrics
from mailproxy.authorization import ClientAuth
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.keyfile import node_id
from mailproxy.model import Epoch, Seconds, TenantPk
from mailproxy.reach import Reach
from mailproxy.reports import CallSettled, Report, TenantCall
from mailproxy.store import Store
from sql.open import open_store
from workers.frame import TRY_AGAIN, Life, drain
from workers.reporter.answer import Pace, Sent, Standing, Verdict, judge
from workers.reporter.callback import TOTAL, Caller

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a reporter works. `lease` is renewed at every `beat`; `turn`: after so long with one tenant it
    settles; `patience`: a call that takes longer gives its place among the `places` to another tenant, so
    that hanging endpoints crowd out nobody."""

    interval: Seconds
    fallback: bool = False
    beat: Seconds = 5.0
    lease: Seconds = 15.0
    turn: Seconds = 15.0
    places: int = 32
    patience: Seconds = 1.0
    most_calls: int = 256
    fastest: Seconds = 0.05
    slowest: Seconds = 1.0
    pace: Pace = field(default_factory=Pace)


@dataclass(slots=True, eq=False)
class Reporter:
    """`at` is told each step before and after its commit, so that a test can end the process there."""

    store: Store
    caller: Caller
    epoch: Epoch
    terms: Terms
    at: Callable[[str], None] = lambda step: None
    chance: Callable[[], float] = random.random
    _calls: dict[asyncio.Task[None], float] = field(default_factory=dict, init=False)
    _later: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _called: set[TenantPk] = field(default_factory=set, init=False)
    _standings: dict[TenantPk, Standing] = field(default_factory=dict, init=False)
    _stir: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _declared_dead: bool = field(default=False, init=False)
    _delay: Seconds = field(default=0.0, init=False)

    async def run(self, stopping: asyncio.Event, drain_left: Callable[[], Seconds]) -> int | None:
        """Serve until `stopping`, then finish the calls under way; TRY_AGAIN once declared dead."""
        self._stopping = stopping
        async with asyncio.TaskGroup() as group:
            aside = [group.create_task(part) for part in (self._beat(), self._hear(), self._hear_stop())]
            while not stopping.is_set() and not self._declared_dead:
                free = self._free_places()
                tenants = await self._claim(free) if free else []
                for tenant in tenants:
                    self._called.add(tenant.tenant_pk)
                    self._calls[asyncio.create_task(self._serve(tenant))] = time.monotonic()
                await self._rest(busy=bool(tenants), full=len(tenants) == free)
            await drain(self._calls, drain_left)
            # Again and again: on Python 3.11 a `wait_for` that is just done swallows a cancellation.
            while left := {task for task in (*aside, *self._later) if not task.done()}:
                await drain(left, lambda: 0.0)
        return TRY_AGAIN if self._declared_dead else None

    async def _claim(self, limit: int) -> list[TenantCall]:
        terms = self.terms
        try:
            if await self.store.reports.next_call_in(terms.interval, fallback=terms.fallback) != 0:
                return []
            self.at("claim")
            tenants = await self.store.reports.claim_tenants(
                self.epoch, limit=limit, ttl=terms.lease, interval=terms.interval, fallback=terms.fallback
            )
        except StorageUnavailable as error:
            _log.warning("storage_unavailable", error=str(error))
            return []
        self.at("claimed")
        return tenants

    async def _serve(self, tenant: TenantCall) -> None:
        """Call one tenant until nothing is left to tell it, then settle: its task's one piece of work."""
        try:
            settled = await self._converse(tenant)
            self.at("settle")
            await self.store.reports.settle_call(tenant.tenant_pk, self.epoch, settled)
            self.at("settled")
            if settled.switch_off is not None:
                _log.error("endpoint_switched_off", tenant=tenant.tenant_id, cause=settled.switch_off)
        except StorageUnavailable as error:
            _log.warning("storage_unavailable", tenant=tenant.tenant_id, error=str(error))
        except Exception as error:  # noqa: BLE001 a bug met with one tenant's data must not end everybody's reports
            _log.error("call_failed", tenant=tenant.tenant_id, error=str(error), exc_info=True)
        finally:
            self._called.discard(tenant.tenant_pk)
        asyncio.get_running_loop().call_later(self.terms.fastest, self._stir.set)

    async def _converse(self, tenant: TenantCall) -> CallSettled:
        known = self._standings.pop(tenant.tenant_pk, Standing(batch=self.terms.pace.most_items))
        standing = replace(known, fails=tenant.fails, gone=tenant.gone)
        ends_at = time.monotonic() + self.terms.turn
        while True:
            reports = await self.store.reports.pending(tenant.tenant_pk, standing.batch)
            verdict = await self._call(tenant, reports, standing)
            full, standing = len(reports) == standing.batch, verdict.standing
            over = self._stopping.is_set() or time.monotonic() > ends_at
            nothing_taken = verdict.failure or (verdict.held and not verdict.acknowledged)
            if nothing_taken or not full or over:
                break
        if standing.batch != self.terms.pace.most_items:
            self._standings[tenant.tenant_pk] = standing
        return self._settled(tenant, verdict)

    async def _call(self, tenant: TenantCall, reports: Sequence[Report], standing: Standing) -> Verdict:
        started = time.monotonic()
        answer = await self.caller.call(tenant, reports)
        verdict = judge(
            answer,
            [Sent(r.event_id, r.client_id, r.tries) for r in reports],
            standing,
            strict=tenant.report_strict,
            now=time.time(),
            chance=self.chance(),
            pace=self.terms.pace,
        )
        result = "failed" if answer.status is None else "refused" if verdict.failure else "acknowledged"
        metrics.callback(result).observe(time.monotonic() - started)
        if verdict.acknowledged:
            self.at("acknowledge")
            await self.store.reports.acknowledge(tenant.tenant_pk, self.epoch, verdict.acknowledged)
            self.at("acknowledged")
        if verdict.held:
            self.at("hold")
            await self.store.dead_letters.hold(tenant.tenant_pk, self.epoch, verdict.held)
            self.at("held")
        _tell(tenant, reports, verdict)
        return verdict

    def _settled(self, tenant: TenantCall, verdict: Verdict) -> CallSettled:
        if verdict.queued:
            task = asyncio.create_task(self._call_again(tenant.tenant_pk))
            self._later.add(task)
            task.add_done_callback(self._later.discard)
        return CallSettled(
            fails=verdict.standing.fails,
            called=verdict.failure is None,
            gone=verdict.standing.gone,
            failure=verdict.failure,
            next_in=verdict.next_in,
            muted_until=verdict.muted_until,
            switch_off=verdict.switch_off,
        )

    async def _call_again(self, tenant: TenantPk) -> None:
        """The client has more for us: call it after the floor, whether or not there are events by then."""
        await asyncio.sleep(self.terms.pace.floor)
        with suppress(StorageUnavailable):
            await self.store.reports.poke(tenant, held=False)
        self._stir.set()

    def _free_places(self) -> int:
        """Calls of less than `patience` take a place; ended ones are forgotten here."""
        self._calls = {task: started for task, started in self._calls.items() if not task.done()}
        late = time.monotonic() - self.terms.patience
        prompt = sum(1 for started in self._calls.values() if started > late)
        return max(0, min(self.terms.places - prompt, self.terms.most_calls - len(self._calls)))

    async def _rest(self, *, busy: bool, full: bool) -> None:
        """Until a hint comes or it is time to look again: soon after something happened, then ever later."""
        terms = self.terms
        self._delay = terms.fastest if busy else min(terms.slowest, max(terms.fastest, self._delay * 1.5))
        if full and self._calls:
            await asyncio.wait(self._calls, timeout=terms.fastest, return_when=asyncio.FIRST_COMPLETED)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._delay):
                await self._stir.wait()
                self._delay = terms.fastest
        self._stir.clear()

    async def _beat(self) -> None:
        while not self._declared_dead:
            with suppress(StorageUnavailable):
                self._declared_dead = not await self.store.fleet.beat(self.epoch)
                if self._called:
                    await self.store.reports.renew_calls(self.epoch, list(self._called), self.terms.lease)
            await asyncio.sleep(0 if self._declared_dead else self.terms.beat)
        _log.error("declared_dead", epoch=self.epoch)
        self._stir.set()

    async def _hear(self) -> None:
        async with self.store.wakeups.listen() as topics:
            async for _ in topics:
                self._stir.set()

    async def _hear_stop(self) -> None:
        await self._stopping.wait()
        self._stir.set()


def _tell(tenant: TenantCall, reports: Sequence[Report], verdict: Verdict) -> None:
    now, acknowledged = time.time(), frozenset(verdict.acknowledged)
    for report in reports:
        if report.event_id in acknowledged:
            of = log.Of(report.message_id, report.client_id, tenant.tenant_id, report.account_id)
            log.reported(of, event_type=report.event_type.value, lag=max(0.0, now - report.event_ts))
    if verdict.not_found:
        _log.warning("not_found_by_tenant", tenant=tenant.tenant_id, ids=verdict.not_found[:20])
    if verdict.failure or verdict.held:
        _log.warning(
            "callback_refused",
            tenant=tenant.tenant_id,
            cause=verdict.failure or f"{len(verdict.held)} events named in error",
            fails=verdict.standing.fails,
            next_in=verdict.next_in,
            switched_off=verdict.switch_off is not None,
        )


async def entry(life: Life) -> int | None:
    """The program of a reporter process."""
    settings = life.settings
    store = await open_store(settings, role="reporter")
    try:
        caller = caller_of(await store.fleet.instance(), settings)
        epoch = await store.fleet.register(life.owner, node_id(settings), "reporter")
        terms = Terms(
            interval=settings.sync_interval,
            fallback=settings.client_sync_url is not None,
            beat=settings.lease_seconds / 3,
            lease=settings.lease_seconds,
        )
        await store.reports.free_calls(life.succeeds)
        life.ready()
        try:
            ended = await Reporter(store, caller, epoch, terms).run(life.stopping, life.drain_left)
        finally:
            await caller.aclose()
        await store.fleet.leave(epoch)
        return ended
    finally:
        await store.aclose()


def caller_of(instance: int, settings: Settings, *, total: Seconds = TOTAL) -> Caller:
    """The client of a reporter; a whole call lasts at most `total` seconds."""
    token, password = settings.client_sync_token, settings.client_sync_password
    auth = ClientAuth(
        method="bearer" if token else "basic" if settings.client_sync_user else "none",
        token=token.get_secret_value() if token else None,
        user=settings.client_sync_user,
        password=password.get_secret_value() if password else None,
    )
    return Caller(
        instance,
        fallback_url=settings.client_sync_url,
        fallback_auth=auth,
        total=total,
        connections=512,
        reach=Reach(egress.allowed(settings.egress_allow)),
    )

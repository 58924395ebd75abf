"""A process that dies at one transition's commit.

`before`: every statement of the transaction was carried out, and no COMMIT came. `after`: nobody heard that it came.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn, TypeVar

from mailproxy import config, keyfile, log, payload
from mailproxy.model import (
    AccountPk,
    Epoch,
    EventDetail,
    EventType,
    Priority,
    Resolution,
    Status,
    TenantPk,
)
from mailproxy.records import Claimed, Finish, NewMessage, Release
from mailproxy.store import Store
from mailproxy.vault import Vault
from sql.engine import Engine, Last, Work
from sql.open import assemble, open_store

T = TypeVar("T")

OWNER = "test/cut.0"
ID = "m1"
CONTENT = payload.encode(
    {"id": ID, "from": "alice@example.org", "to": ["bob@example.com"], "subject": ID, "body": "hello"}
)


@dataclass
class Mortal:
    """An engine whose process dies at the commit of the `fatal`-th write."""

    engine: Engine
    when: str
    fatal: int = 1
    writes: int = field(default=0, init=False)

    @property
    def is_remote(self) -> bool:
        return self.engine.is_remote

    async def tidy(self) -> None:
        await self.engine.tidy()

    async def write(self, begin: Callable[[], Work[T]]) -> T:
        self.writes += 1
        is_fatal = self.writes == self.fatal
        cut_short = is_fatal and self.when == "before"
        result = await self.engine.write(lambda: _cut_short(begin()) if cut_short else begin())
        if is_fatal:
            _die()
        return result

    write_soon = write

    async def read(self, begin: Callable[[], Work[T]]) -> T:
        return await self.engine.read(begin)

    async def aclose(self) -> None:
        await self.engine.aclose()


def _cut_short(work: Work[T]) -> Work[T]:
    wanted = next(work)
    while True:
        answers = yield wanted.steps if isinstance(wanted, Last) else wanted
        if isinstance(wanted, Last):
            _die()
        try:
            wanted = work.send(answers)
        except StopIteration:
            _die()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


@dataclass(frozen=True, slots=True)
class Scene:
    """`calm` is a store that nothing happens to, `mortal` one whose commit is fatal."""

    calm: Store
    mortal: Store
    epoch: Epoch
    tenant: TenantPk
    account: AccountPk

    async def claimed(self) -> Claimed:
        claim = await self.calm.queue.claim(self.account, 0, epoch=self.epoch, limit=1)
        return claim.messages[0]

    async def authorised(self) -> Claimed:
        message = await self.claimed()
        assert await self.calm.queue.intend(self.epoch, [message.id], limited=False)
        return message

    async def in_doubt(self) -> Claimed:
        message = await self.authorised()
        await self.calm.queue.settle(self.epoch, [_finish(message, Status.UNKNOWN)])
        return message


def _finish(message: Claimed, status: Status) -> Finish:
    kind = {Status.SENT: EventType.SENT, Status.ERROR: EventType.ERROR, Status.UNKNOWN: EventType.UNKNOWN}[
        status
    ]
    detail = EventDetail(attempt=message.attempt, error=None if status is Status.SENT else "cut")
    return Finish(message.id, message.revision, message.attempt, message.claim, status, kind, detail)


def _release(message: Claimed, event: EventType | None = None) -> Release:
    back = Release(message.id, message.revision, message.attempt, message.claim, refund=event is None)
    return back if event is None else replace(back, delay=0.1, event=event, detail=EventDetail(error="cut"))


async def _enqueue(at: Scene) -> None:
    message = NewMessage(ID, at.account, Priority.MEDIUM, CONTENT, max_age=3600.0)
    await at.mortal.queue.enqueue({at.tenant: [message]})


async def _claim(at: Scene) -> None:
    await at.mortal.queue.claim(at.account, 0, epoch=at.epoch, limit=1)


async def _give_back(at: Scene) -> None:
    await at.mortal.queue.settle(at.epoch, [], [_release(await at.claimed())])


async def _fail_unprepared(at: Scene) -> None:
    await at.mortal.queue.settle(at.epoch, [_finish(await at.claimed(), Status.ERROR)])


async def _intend(at: Scene) -> None:
    await at.mortal.queue.intend(at.epoch, [(await at.claimed()).id], limited=False)


def _finished(status: Status) -> Callable[[Scene], Awaitable[None]]:
    async def act(at: Scene) -> None:
        await at.mortal.queue.settle(at.epoch, [_finish(await at.authorised(), status)])

    return act


def _retried(event: EventType) -> Callable[[Scene], Awaitable[None]]:
    async def act(at: Scene) -> None:
        await at.mortal.queue.settle(at.epoch, [], [_release(await at.authorised(), event)])

    return act


async def _late(at: Scene) -> None:
    """Its finish finds no row; what turns the doubt is the second commit."""
    await at.mortal.queue.settle(at.epoch, [_finish(await at.in_doubt(), Status.SENT)])


def _resolved(decision: Resolution) -> Callable[[Scene], Awaitable[None]]:
    async def act(at: Scene) -> None:
        await at.in_doubt()
        await at.mortal.directory.resolve(at.tenant, ID, decision, max_age=3600.0)

    return act


async def _suspend(at: Scene) -> None:
    await at.mortal.directory.suspend(at.tenant, "b")


async def _activate(at: Scene) -> None:
    await at.mortal.directory.activate(at.tenant, "b")


async def _cancel(at: Scene) -> None:
    await at.mortal.directory.cancel(at.tenant, ID)


async def _expire(at: Scene) -> None:
    await at.mortal.directory.expire(limit=10)


async def _clean_up(at: Scene) -> None:
    await at.mortal.directory.cleanup(at.tenant, 0.0, limit=10)


ACTS: dict[str, tuple[Callable[[Scene], Awaitable[None]], int]] = {
    "accepted": (_enqueue, 1),
    "claimed": (_claim, 1),
    "given back": (_give_back, 1),
    "failed unprepared": (_fail_unprepared, 1),
    "intended": (_intend, 1),
    "sent": (_finished(Status.SENT), 1),
    "deferred by the dot": (_retried(EventType.DEFERRED), 1),
    "refused by the dot": (_finished(Status.ERROR), 1),
    "unknown": (_finished(Status.UNKNOWN), 1),
    "retried after unknown": (_retried(EventType.RETRY_AFTER_UNKNOWN), 1),
    "sent by late evidence": (_late, 2),
    "resolved as sent": (_resolved(Resolution.SENT), 1),
    "resolved as retry": (_resolved(Resolution.RETRY), 1),
    "resolved as error": (_resolved(Resolution.ERROR), 1),
    "suspended": (_suspend, 1),
    "activated": (_activate, 2),
    "cancelled": (_cancel, 1),
    "expired": (_expire, 1),
    "removed": (_clean_up, 1),
}


def run(name: str, when: str, tenant: TenantPk, account: AccountPk, environ: dict[str, str]) -> None:
    """The whole life of the process: `name` of ACTS, cut `before` or `after` its commit."""
    log.set_up("INFO", "json")
    asyncio.run(_run(name, when, tenant, account, environ))


async def _run(name: str, when: str, tenant: TenantPk, account: AccountPk, environ: dict[str, str]) -> None:
    settings = config.load(environ)
    act, fatal = ACTS[name]
    calm = await open_store(settings, role="sender")
    epoch = await calm.fleet.register(OWNER, keyfile.node_id(settings), "sender")
    assert await calm.queue.take_lease(account, 0, epoch=epoch, ttl=60.0)
    vault = Vault(keyfile.key_ring(settings))
    mortal = assemble(Mortal(calm.engine, when, fatal), calm.wakeups, vault, fallback=False)
    await act(Scene(calm, mortal, epoch, tenant, account))
    raise AssertionError("nothing was written")

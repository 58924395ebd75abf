"""What is asked while a round is under way is answered by the next one, together with whatever else waits.

Under load each transaction serves many callers; alone, a caller waits for nobody. No answer is older than its
question.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mailproxy.audit import Pending
from mailproxy.errors import StorageUnavailable
from mailproxy.model import TenantPk
from mailproxy.once import Kept, Once
from mailproxy.records import Enqueued, NewMessage

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LARGEST_GROUP = 500
ROUNDS_AT_ONCE = 2

Result = list[Enqueued] | Kept | None


class Shared(Generic[K, V]):
    """Equal questions that wait at the same time are asked once."""

    def __init__(self, ask: Callable[[K], Awaitable[V]]) -> None:
        self._ask = ask
        self._next: dict[K, asyncio.Future[V]] = {}
        self._rounds: dict[K, asyncio.Task[None]] = {}

    async def get(self, key: K) -> V:
        answer = self._next.get(key)
        if answer is None:
            answer = self._next[key] = asyncio.get_running_loop().create_future()
            if key not in self._rounds:
                self._rounds[key] = asyncio.create_task(self._run(key))
        return await asyncio.shield(answer)  # one caller that goes away takes nothing from the others

    async def _run(self, key: K) -> None:
        try:
            while (answer := self._next.pop(key, None)) is not None:
                await _settle(answer, self._ask(key))
        finally:
            del self._rounds[key]


async def _settle(answer: "asyncio.Future[V]", asked: Awaitable[V]) -> None:
    try:
        answer.set_result(await asked)
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who wait
        answer.set_exception(error)
        answer.exception()  # they may all have gone


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call wants queued, the command it is, and what makes it happen once."""

    batches: Mapping[TenantPk, Sequence[NewMessage]]
    pending: Pending | None = None
    once: Once[Sequence[Enqueued]] | None = None

    def size(self) -> int:
        return sum(map(len, self.batches.values()))

    def names(self) -> set[tuple[int, str]]:
        """What no two calls of one transaction may have in common: ids, and keys."""
        ids = {(int(tenant), item.client_id) for tenant, items in self.batches.items() for item in items}
        key = {(-1 - self.once.ticket.scope, self.once.ticket.key)} if self.once else set()
        return ids | key


@dataclass(frozen=True, slots=True)
class _Call:
    asked: Asked
    answer: "asyncio.Future[Result]"


class Enqueues:
    """Calls that wait together share a transaction; a call is in it as a whole, and its ids are its own. The
    commands they belong to are entered in the log by the same transaction."""

    def __init__(self, enqueue: Callable[[Sequence[Asked]], Awaitable[list[Result]]]) -> None:
        self._enqueue = enqueue
        self._waiting: list[_Call] = []
        self._rounds: set[asyncio.Task[None]] = set()

    async def add(self, asked: Asked) -> Result:
        """What became of the call's messages, in the order of its tenants and their messages; under a key maybe what
        it was answered before, or None while it is under way elsewhere."""
        call = _Call(asked, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if len(self._rounds) < ROUNDS_AT_ONCE:
            task = asyncio.create_task(self._run())
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)
        return await asyncio.shield(call.answer)

    async def _run(self) -> None:
        while self._waiting:
            group = self._group()
            if len(group) == 1 or not await self._together(group):
                for call in group:
                    await _settle(call.answer, self._alone(call))

    def _group(self) -> list[_Call]:
        """The first calls that wait, as many as fit and share no id; the others keep their places."""
        group: list[_Call] = []
        left: list[_Call] = []
        taken: set[tuple[int, str]] = set()
        size = 0
        for call in self._waiting:
            names = call.asked.names()
            if group and (size + call.asked.size() > LARGEST_GROUP or not taken.isdisjoint(names)):
                left.append(call)
            else:
                group.append(call)
                size += call.asked.size()
            taken |= names
        self._waiting = left
        return group

    async def _alone(self, call: _Call) -> Result:
        [result] = await self._enqueue([call.asked])
        return result

    async def _together(self, group: Sequence[_Call]) -> bool:
        """False when something is wrong with one of the calls: each has to be tried alone."""
        try:
            results = await self._enqueue([call.asked for call in group])
        except StorageUnavailable as error:
            for call in group:
                call.answer.set_exception(error)
                call.answer.exception()
            return True
        except Exception:  # noqa: BLE001 - whose it is shows when each is tried alone
            return False
        for call, result in zip(group, results, strict=True):
            call.answer.set_result(result)
        return True

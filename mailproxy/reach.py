"""From a host's name to the addresses that may be connected to: the one place where targets are resolved.

Whoever connects takes an address from here and never the name again, so a name that leads elsewhere a moment
later (DNS rebinding) gains nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mailproxy import egress
from mailproxy.egress import Allowed

MAX_ADDRESSES = 10
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) -> addresses, best first; raises OSError or UnicodeError for a name nobody knows."""


async def ask_system(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


@dataclass(frozen=True, slots=True)
class Forbidden:
    """The target lies where it may not; `reason` names the host and what it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reach:
    """How far this process reaches for others: to public addresses and to what `allow` lists."""

    allow: Allowed = egress.NOTHING
    resolver: Resolver = ask_system

    async def addresses(self, host: str, port: int, *, guarded: bool) -> Sequence[str] | Forbidden:
        """Where to connect, in order. Unguarded are targets that the operator set.

        Raises OSError or UnicodeError for a name nobody knows.
        """
        found = await self.resolver(host, port)
        if not found:
            raise socket.gaierror("no address")
        if guarded and (reason := egress.refusal(host, found, self.allow)):
            return Forbidden(reason)
        return found[:MAX_ADDRESSES]

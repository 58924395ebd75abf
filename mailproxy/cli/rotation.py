"""The steps of a key's replacement, each of which leaves a ring that opens every stored secret.

| interrupted after | the file holds | what was sealed | the next call |
|---|---|---|---|
| the new key was added | old, new | by the old key | takes the added key out again and begins anew |
| the new key was put first | new, old | by either | seals the rest, drops the old key |
| everything was sealed anew | new, old | by the new key | drops the old key and begins anew |
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from mailproxy import keyfile
from mailproxy.cli import process, show
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import Instance
from mailproxy.config import Settings, decode_keys
from mailproxy.errors import ConfigurationError
from mailproxy.model import Instant
from mailproxy.store import Store
from mailproxy.vault import Vault, key_id
from sql.open import open_store

_PATIENCE = 30.0
_LOOK_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Ring:
    """The key ring of an instance, or of the environment's server; `file` None when it is not ours to change."""

    instance: Instance | None
    settings: Settings
    keys: Sequence[bytes] = field(repr=False)
    file: Path | None


@dataclass(frozen=True, slots=True)
class Rotated:
    key: str
    resealed: int
    dropped: list[str]


def file_of(instance: Instance, settings: Settings, keys: Sequence[bytes]) -> Path | None:
    """The file the instance keeps its ring in, unless the environment overrides it."""
    if not settings.encryption_keys:
        return keyfile.key_path(settings)
    named = instance.remembered().get("encryption_key_file")
    if not isinstance(named, str):
        return None
    try:
        kept = decode_keys(Path(named).read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{named} cannot be read: {error}") from error
    return Path(named) if kept == tuple(keys) else None


async def rotate(ring: Ring, fresh: bytes, at: Callable[[str], None] = lambda step: None) -> Rotated:
    """Raises Failure when servers run that cannot be told of a new key; `at` is told each step that is done."""
    with ring.instance.starting() if ring.instance and ring.file else nullcontext():
        await _refuse_strangers(ring)
        if ring.file is not None and await _is_unfinished(ring):
            await _tell(ring)
        elif ring.file is not None:
            ring = await _put_first(ring, ring.file, fresh, at)
        resealed = await _seal_anew(ring)
        at("sealed")
        dropped = [key_id(key) for key in ring.keys[1:]] if ring.file else []
        if ring.file is not None:
            keyfile.write_key_file(ring.file, ring.keys[:1])
            at("dropped")
        return Rotated(key_id(ring.keys[0]), resealed, dropped)


async def _put_first(ring: Ring, file: Path, fresh: bytes, at: Callable[[str], None]) -> Ring:
    """First every process learns to open what the new key seals, then they seal with it."""
    old = ring.keys[0]
    for step, keys in (("added", (old, fresh)), ("put first", (fresh, old))):
        keyfile.write_key_file(file, keys)
        at(step)
        ring = replace(ring, keys=keys)
        await _tell(ring)
    return ring


async def _is_unfinished(ring: Ring) -> bool:
    """Whether an earlier call put a new key first and could not seal everything with it."""
    async with aclosing(await _open(ring)) as store:
        return bool((await store.upkeep.seals()).keys() - {key_id(ring.keys[0])})


async def _seal_anew(ring: Ring) -> int:
    """Until nothing is left that another key seals: what is written meanwhile is looked at again."""
    resealed = 0
    async with aclosing(await _open(ring)) as store:
        while (await store.upkeep.seals()).keys() - {key_id(ring.keys[0])}:
            resealed += await store.upkeep.reseal()
    return resealed


async def _open(ring: Ring) -> Store:
    return await open_store(ring.settings, role="cli", vault=Vault(ring.keys))


async def _refuse_strangers(ring: Ring) -> None:
    """Only the instance's own server on this machine can be told of a key that is put into a file here."""
    if ring.file is None:
        return
    own = keyfile.node_id(ring.settings) if ring.instance else None
    async with aclosing(await _open(ring)) as store:
        now = time.time() + await store.upkeep.clock_ahead()
        recent = now - 2 * ring.settings.lease_seconds
        nodes = {
            one.node for one in await store.fleet.processes() if one.seen_at > recent and one.node != own
        }
    if nodes:
        raise Failure(
            f"Servers run that cannot be told of a new key: {', '.join(sorted(nodes))}",
            Exit.CONFLICT,
            remedy="Stop them first; or give all of them the ring NEW,OLD in MAIL_PROXY_ENCRYPTION_KEY.",
        )


async def _tell(ring: Ring) -> None:
    """Let the instance's server, if it runs, read the ring again, and wait until each of its processes did."""
    server = process.running(ring.instance) if ring.instance else None
    if server is None:
        return
    async with aclosing(await _open(ring)) as store:
        ahead = await store.upkeep.clock_ahead()
        told_at = time.time() + ahead
        os.kill(server.pid, signal.SIGHUP)
        show.note("Waiting until every process has read the keys …")
        ends_at = time.monotonic() + ring.settings.drain_seconds + _PATIENCE
        silent = 2 * ring.settings.lease_seconds
        while await _is_stale(store, told_at, time.time() + ahead - silent):
            if time.monotonic() > ends_at:
                raise Failure(
                    "Some processes did not read the keys in time; both keys are kept.",
                    remedy="Look at its log, or stop it, and type this again: it goes on where it stopped.",
                )
            await asyncio.sleep(_LOOK_EVERY)


async def _is_stale(store: Store, told_at: Instant, seen_after: Instant) -> bool:
    alive = [one for one in await store.fleet.processes() if one.seen_at > seen_after]
    return not alive or any(one.started_at < told_at for one in alive)

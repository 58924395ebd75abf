"""Objects in storages, through fsspec: the one module that imports it. File systems are made after the fork, when
they are first used; their calls block, so each runs in one of the few threads of its storage, under a deadline.
"""

import hashlib
import importlib.util
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mailproxy import egress, redaction
from mailproxy.attachments import backends, places
from mailproxy.attachments.places import Place
from mailproxy.attachments.threads import NoRoom, Room, Threads
from mailproxy.egress import Allowed
from mailproxy.model import Seconds
from mailproxy.reach import Forbidden, Reach

BLOCK = 8 * 1024 * 1024
SLOWEST = 100_000
"""Octets a second below which an upload is given up."""
_MODULES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
_LONGEST_CAUSE = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """A storage did not do what it was asked; `gone` when it said that there is no such object, not `tried` when it
    was not even asked, because others still wait for it."""

    cause: str
    gone: bool = False
    tried: bool = True


@dataclass(frozen=True, slots=True)
class Object:
    """An object's place and name, and the secrets to reach it with."""

    place: Place
    name: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        return self.place.path(self.name)


class Unusable(Exception):
    """The place cannot be used here; the text says why."""


def problem(place: Place, base_dirs: Sequence[Path]) -> str | None:
    """Why this process cannot use the place: a package is missing, or a directory lies where none may."""
    module = _MODULES.get(place.protocol)
    if module is not None and importlib.util.find_spec(module) is None:
        extra = places.EXTRAS[place.protocol]
        return f'{place.protocol}:// needs the package {module}: pip install "mailproxy[{extra}]"'
    if place.protocol != "file":
        return None
    if not base_dirs:
        return "file:// is switched off: name directories in GMP_LARGE_FILE_BASE_DIR"
    wanted = Path(place.path("")).resolve()
    if not any(wanted.is_relative_to(base.resolve()) for base in base_dirs):
        return "the directory lies below none of GMP_LARGE_FILE_BASE_DIR"
    return None


def refused_endpoint(url: str, allow: Allowed) -> str | None:
    """Why a tenant may not have its storage there, as far as the URL tells."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return egress.refusal_at_door(parts.hostname or "", port, egress.WEB_PORTS, allow)


class Storage:
    """All storages of a process. What a call does not bring to an end within `timeout` counts as failed.

    Each place with its credentials has its own share of the `room`: one that hangs holds up no other.
    """

    def __init__(
        self, base_dirs: Sequence[Path], timeout: Seconds, reach: Reach, room: Room | None = None
    ) -> None:
        self._base_dirs = base_dirs
        self._timeout = timeout
        self._reach = reach
        self._systems: dict[str, Any] = {}
        self._threads = Threads(room or Room(), "storage")

    async def put(
        self, wanted: Object, pieces: Callable[[], Iterable[bytes | memoryview]], size: int, **told: str
    ) -> Failed | None:
        """Store an object whole; `told` are its `filename` and `media_type`."""
        within = self._timeout + size / SLOWEST
        return await self._call(wanted, partial(self._put, wanted, pieces, size, told), within)

    async def read(self, wanted: Object, start: int, end: int) -> bytes | Failed:
        """The octets from `start` up to `end`, which lie in the object."""
        return await self._call(wanted, lambda: self._read(wanted, start, end), self._timeout)

    async def link(self, wanted: Object, filename: str, lasts: Seconds) -> str | Failed:
        """A URL that the storage signs."""
        return await self._call(wanted, lambda: self._link(wanted, filename, lasts), self._timeout)

    async def remove(self, wanted: Object) -> Failed | None:
        """One that is not there has been removed."""
        return await self._call(wanted, lambda: self._remove(wanted), self._timeout)

    def close(self) -> None:
        self._threads.close()

    async def _call(self, wanted: Object, work: Callable[[], T], within: Seconds) -> T | Failed:
        try:
            return await self._threads.run(_digest(wanted), work, within)
        except NoRoom:
            return Failed("others still wait for the storage", tried=False)
        except TimeoutError:
            return Failed("the storage does not answer in time")
        except FileNotFoundError as error:
            return Failed(_said(error, wanted), gone=True)
        except Exception as error:  # noqa: BLE001 - each backend raises what its client raises
            return Failed(_said(error, wanted))

    # -- in a thread

    def _system(self, wanted: Object) -> Any:
        place = wanted.place
        digest = _digest(wanted)
        if digest not in self._systems:
            if reason := problem(place, self._base_dirs):
                raise Unusable(reason)
            if place.set_by_tenant and place.protocol == "file":
                raise Unusable("only the admin may set a directory")
            if place.set_by_tenant and places.missing_secrets(place.protocol, wanted.secrets, place.options):
                raise Unusable("the tenant's credentials for it are not there any more")
            resolver = self._resolver(place) if place.set_by_tenant and place.protocol == "s3" else None
            found = backends.options(place, wanted.secrets, self._timeout, resolver)
            import fsspec  # noqa: PLC0415 - most processes never store a file

            system = fsspec.filesystem(place.protocol, skip_instance_cache=True, **found)
            system.retries = backends.CLIENT_TRIES
            self._systems[digest] = system
        return self._systems[digest]

    def _resolver(self, place: Place) -> Any:
        """Addresses written as such are never resolved, so they are judged here."""
        if (url := place.options.get("endpoint_url")) and (
            reason := refused_endpoint(url, self._reach.allow)
        ):
            raise Unusable(reason)
        return _guarding(self._reach)

    def _put(
        self,
        wanted: Object,
        pieces: Callable[[], Iterable[bytes | memoryview]],
        size: int,
        told: Mapping[str, str],
    ) -> None:
        system, path = self._system(wanted), wanted.path
        if wanted.place.protocol == "file":
            _put_file(system, Path(path), pieces())
        else:
            with system.open(
                path, "wb", block_size=BLOCK, **backends.written_with(wanted.place.protocol, **told)
            ) as target:
                for piece in pieces():
                    target.write(piece)
        stored = system.size(path)
        if stored != size:
            raise Unusable(f"{stored} of {size} octets were stored")

    def _read(self, wanted: Object, start: int, end: int) -> bytes:
        found: bytes = self._system(wanted).cat_file(wanted.path, start=start, end=end)
        if len(found) != end - start:
            raise Unusable(f"{len(found)} of {end - start} octets were read")
        return found

    def _link(self, wanted: Object, filename: str, lasts: Seconds) -> str:
        told = backends.signed_with(wanted.place.protocol, filename)
        return str(self._system(wanted).sign(wanted.path, expiration=int(lasts), **told))

    def _remove(self, wanted: Object) -> None:
        system = self._system(wanted)
        if wanted.place.protocol == "file":
            _part_of(Path(wanted.path)).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            system.rm_file(wanted.path)


def _digest(wanted: Object) -> str:
    """Of a storage as it is reached: the place and the secrets."""
    text = json.dumps([wanted.place.to_json(), sorted(wanted.secrets.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def _put_file(system: Any, path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """On the disk before it has its name: a link is never made to what a power cut may take away."""
    part = _part_of(path)
    try:
        with system.open(str(part), "wb") as target:
            for piece in pieces:
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _part_of(path: Path) -> Path:
    """An object that is being stored."""
    return path.with_name(f"{path.name}.part")


def _said(error: Exception, wanted: Object) -> str:
    text = redaction.without(" ".join(str(error).split()), wanted.secrets.values())
    return (text or type(error).__name__)[:_LONGEST_CAUSE]


def _guarding(reach: Reach) -> Any:
    """What S3's client resolves names with: for a target that a tenant set, as everywhere (egress.py)."""
    from aiohttp.abc import AbstractResolver, ResolveResult  # noqa: PLC0415 - only there with the extra s3

    class Guarding(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await reach.addresses(host, port, guarded=True)
            if isinstance(found, Forbidden):
                raise OSError(found.reason)
            return [_result(host, port, address) for address in found]

        async def close(self) -> None:
            """Nothing is held."""

    def _result(host: str, port: int, address: str) -> ResolveResult:
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return ResolveResult(
            hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
        )

    return Guarding()

"""What a tenant wants done with large attachments, and what follows for one of a certain size."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from mailproxy.attachments.places import Place
from mailproxy.model import Seconds

MIB: Final = 1024 * 1024
DAY: Final[Seconds] = 86400.0
SIGNED_AT_MOST: Final[Mapping[str, Seconds]] = {"s3": 7 * DAY, "gs": 7 * DAY}
"""How long a URL may live that a storage signs (signature version 4)."""


SET_BY_TENANT: Final = "set_by_tenant"


class Action(StrEnum):
    WARN = "warn"
    REJECT = "reject"
    REWRITE = "rewrite"


class Links(StrEnum):
    """Who serves a link: the storage, by a URL that it signs, or this service."""

    STORAGE = "storage"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class LargeFiles:
    """A tenant's `large_file_config`; sizes in MiB, times in days, as there."""

    enabled: bool = False
    max_size_mb: float = 10.0
    action: Action = Action.WARN
    place: Place | None = None
    links: Links | None = None
    public_base_url: str | None = None
    file_ttl_days: float = 30.0
    lifespan_after_download_days: float | None = None

    @property
    def ttl(self) -> Seconds:
        return self.file_ttl_days * DAY

    @property
    def lifespan(self) -> Seconds | None:
        """How long a file stays once it was downloaded."""
        days = self.lifespan_after_download_days
        return None if days is None else days * DAY

    def is_large(self, size: int) -> bool:
        return self.enabled and size / MIB > self.max_size_mb

    def served_by(self, secrets: Mapping[str, str]) -> Links:
        """The storage where it can sign for that long and need not be told of downloads."""
        place = self.place
        if self.links is not None or place is None or place.protocol == "file":
            return self.links or Links.OWN
        cannot_sign = _cannot_sign(place, secrets)
        too_long = self.ttl > SIGNED_AT_MOST.get(place.protocol, self.ttl)
        return Links.OWN if cannot_sign or too_long or self.lifespan is not None else Links.STORAGE

    def problem(self, secrets: Mapping[str, str], public_base_url: str | None) -> tuple[str, str] | None:
        """The field that keeps files from being rewritten as links, and why; `public_base_url` is the instance's."""
        if not self.enabled or self.action is not Action.REWRITE:
            return None
        if self.place is None:
            return "storage_url", "is needed to rewrite attachments as links"
        served_by = self.served_by(secrets)
        found = self._unsigned(secrets) if served_by is Links.STORAGE else self._unserved(public_base_url)
        return next(iter(found), None)

    def _unsigned(self, secrets: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        assert self.place is not None
        longest = SIGNED_AT_MOST.get(self.place.protocol, self.ttl)
        if self.place.protocol == "file":
            yield "links", "cannot be `storage`: a directory signs no URLs"
        if _cannot_sign(self.place, secrets):
            yield "links", "cannot be `storage` with a sas_token, which signs no URLs: give account_key"
        if self.ttl > longest:
            yield "file_ttl_days", f"may be at most {longest / DAY:g} where the storage signs the links"
        if self.lifespan is not None:
            yield "lifespan_after_download_days", "needs `own` links: a storage tells of no downloads"

    def _unserved(self, public_base_url: str | None) -> Iterator[tuple[str, str]]:
        assert self.place is not None
        if self.public_base_url or public_base_url:
            return
        reason = "is needed: these links are served here, at a URL that recipients reach"
        if self.links is None and (longest := SIGNED_AT_MOST.get(self.place.protocol)):
            reason += f"; the storage signs links itself when file_ttl_days is at most {longest / DAY:g}"
        yield "public_base_url", reason


def _cannot_sign(place: Place, secrets: Mapping[str, str]) -> bool:
    """Azure signs with an account's key; a SAS token is itself a signature."""
    return place.protocol == "az" and "sas_token" in secrets and "account_key" not in secrets


def of_stored(text: str | None) -> LargeFiles:
    """The configuration in a tenant's row. Before it was checked, anybody could store anything: such a text counts as
    switched off, and a storage of which it is not known who set it as none."""
    try:
        fields = json.loads(text or "{}")
        trusted = fields if fields.get(SET_BY_TENANT) is not None else {**fields, "storage_url": None}
        return of_fields(trusted)
    except (AttributeError, TypeError, ValueError):
        return LargeFiles()


def of_fields(fields: Mapping[str, Any]) -> LargeFiles:
    """Raises TypeError or ValueError for what the checks at the door never let pass."""
    url = fields.get("storage_url")
    options = dict(fields.get("storage_options") or {})
    links = fields.get("links")
    lifespan = fields.get("lifespan_after_download_days")
    return LargeFiles(
        enabled=bool(fields.get("enabled", False)),
        max_size_mb=float(fields.get("max_size_mb", 10.0)),
        action=Action(fields.get("action", Action.WARN)),
        place=Place(url, options, bool(fields.get(SET_BY_TENANT))) if url else None,
        links=None if links is None else Links(links),
        public_base_url=fields.get("public_base_url"),
        file_ttl_days=float(fields.get("file_ttl_days", 30.0)),
        lifespan_after_download_days=None if lifespan is None else float(lifespan),
    )


def reached(place: Place, config: str | None, secrets: Mapping[str, str]) -> tuple[Place, Mapping[str, str]]:
    """How an object's place is reached now: as what is stored of the tenant's configuration says, with the tenant's
    `secrets`, if it names the same place; whoever saved it last answers for it."""
    now = of_stored(config).place
    return (now, secrets) if now is not None and now.is_where(place) else (place, {})


def shown_size(size: int) -> str:
    """As bodies and errors show it: `2.0 MB`."""
    return f"{size / MIB:.1f} MB"


def over_limit(filename: str, size: int, wanted: LargeFiles) -> str:
    """The error of a message whose attachment is to be rejected."""
    return f"Attachment '{filename}' ({shown_size(size)}) exceeds limit ({wanted.max_size_mb:.1f} MB)"

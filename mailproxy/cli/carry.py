"""Carries what genro-mail-proxy left over: tenants, their suspensions, accounts, unsent messages, in this order.

What is there already stays as it is, so a second run adds nothing and one that was interrupted goes on. A tenant
without accounts counts as unfinished: its suspensions are put again before a message of it can go.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mailproxy import submission
from mailproxy.cli import carried
from mailproxy.cli.carried import EVERYTHING, NotCarried, OldTenant, Row
from mailproxy.config import Settings
from mailproxy.intake import Intake
from mailproxy.model import TenantPk
from mailproxy.store import Store
from mailproxy.submission import Draft
from sql.genro import Source

BATCH = 200


@dataclass(frozen=True, slots=True)
class Left:
    """Something that could not be carried over, wholly or in part."""

    id: str
    reason: str


@dataclass(slots=True)
class Tally:
    """What became of the rows of one kind; `added` is what would be added when nothing is done.

    `left` stay behind, `notes` tell what of the added ones does.
    """

    added: int = 0
    known: int = 0
    left: list[Left] = field(default_factory=list)
    notes: list[Left] = field(default_factory=list)

    def add(self, id_: str, notes: Iterable[str]) -> None:
        self.added += 1
        self.notes += [Left(id_, note) for note in notes]


@dataclass(slots=True)
class Carrying:
    """One run over a source. Without `does` it only counts."""

    source: Source
    store: Store
    settings: Settings
    key: bytes | None
    does: bool
    tenants: Tally = field(default_factory=Tally)
    accounts: Tally = field(default_factory=Tally)
    messages: Tally = field(default_factory=Tally)
    _tenant_pks: dict[str, TenantPk | None] = field(default_factory=dict)
    _accounts: set[tuple[str, str]] = field(default_factory=set)
    _owners: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        for row in self.source.tenants():
            await self._tenant(row)
        for row in self.source.accounts():
            await self._account(row)
        batch: dict[str, dict[str, Draft]] = {}
        for tenant_id, draft in self._drafts():
            batch.setdefault(tenant_id, {})[draft.client_id] = draft
            if len(batch[tenant_id]) >= BATCH:
                await self._send(tenant_id, batch.pop(tenant_id))
        for tenant_id, drafts in batch.items():
            await self._send(tenant_id, drafts)

    async def _tenant(self, row: Row) -> None:
        try:
            old = carried.tenant(row, time.time())
        except NotCarried as reason:
            self.tenants.left.append(Left(str(row.get("id")), str(reason)))
            return
        id_ = old.write.id
        stored = await self.store.directory.tenant(id_)
        if stored is not None:
            self.tenants.known += 1
        else:
            self.tenants.add(id_, old.notes)
            if self.does:
                await self._put(old)
                stored = await self.store.directory.tenant(id_)
        self._tenant_pks[id_] = stored.pk if stored else None
        if stored is not None and self.does and not await self.store.directory.account_ids(stored.pk):
            await self._suspend(stored.pk, old)

    async def _put(self, old: OldTenant) -> None:
        id_ = old.write.id
        await self.store.directory.put_tenant(old.write, None, None)
        if old.key_hash is not None:
            await self.store.directory.put_key(
                id_, old.key_hash, old.key_hash.hex()[:12], expires_at=old.key_expires_at, keep_previous=0.0
            )

    async def _suspend(self, tenant: TenantPk, old: OldTenant) -> None:
        for code in old.suspended:
            await self.store.directory.suspend(tenant, None if code == EVERYTHING else code)

    async def _account(self, row: Row) -> None:
        name = f"{row.get('tenant_id')}/{row.get('id')}"
        try:
            old = carried.account(row, self.key)
        except NotCarried as reason:
            self.accounts.left.append(Left(name, str(reason)))
            return
        if old.tenant_id not in self._tenant_pks:
            self.accounts.left.append(Left(name, "its tenant is not carried over"))
            return
        pk = self._tenant_pks[old.tenant_id]
        if pk is not None and await self.store.directory.account(pk, old.write.id) is not None:
            self.accounts.known += 1
        else:
            self.accounts.add(name, old.notes)
            if pk is not None and self.does:
                await self.store.directory.put_account(pk, old.write)
        self._accounts.add((old.tenant_id, old.write.id))
        self._owners[old.write.id] = old.tenant_id

    def _drafts(self) -> Iterator[tuple[str, Draft]]:
        """Every unsent message that can be carried over, with its tenant: 0.5 names it by the account only."""
        for row in self.source.messages():
            if not carried.is_unsent(row):
                continue
            tenant_id = str(row.get("tenant_id") or self._owners.get(str(row.get("account_id")), ""))
            try:
                if (tenant_id, row.get("account_id")) not in self._accounts:
                    raise NotCarried("its account is not carried over")
                yield tenant_id, carried.message(row, tenant_id, self.settings.default_priority)
            except NotCarried as reason:
                self.messages.left.append(Left(f"{tenant_id}/{row.get('id')}", str(reason)))

    async def _send(self, tenant_id: str, drafts: dict[str, Draft]) -> None:
        pk = self._tenant_pks[tenant_id]
        known = await self.store.upkeep.known(pk, list(drafts)) if pk is not None else frozenset()
        fresh = [draft for id_, draft in drafts.items() if id_ not in known]
        self.messages.known += len(known)
        if not (fresh and self.does and pk is not None):
            self.messages.added += len(fresh)
            return
        intake = Intake(self.settings, self.store.queue)
        done = await submission.submit(self.store, intake, self.settings, {pk: fresh})
        self.messages.added += len(done.accepted)
        self.messages.left += [Left(f"{tenant_id}/{one.client_id}", one.reason) for one in done.rejected]

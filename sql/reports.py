"""The outbox: which tenants are to be called, with what, and what they acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailproxy.figures import SyncStanding
from mailproxy.model import Epoch, EventDetail, EventType, MessageId, Priority, Seconds, TenantPk
from mailproxy.reports import CallSettled, Report, TenantCall
from mailproxy.vault import Vault
from sql import rows
from sql.engine import Engine, Work, one
from sql.queries import Row, Step


@dataclass(frozen=True, slots=True)
class SqlReports:
    engine: Engine
    vault: Vault

    async def claim_tenants(
        self, epoch: Epoch, *, limit: int, ttl: Seconds, interval: Seconds, fallback: bool
    ) -> list[TenantCall]:
        found = await self.engine.write(
            lambda: one(
                "claim_tenants", epoch=epoch, limit=limit, ttl=ttl, interval=interval, fallback=fallback
            )
        )
        return [self._call(row) for row in found]

    def _call(self, row: Row) -> TenantCall:
        pk, tenant_id, base, path, auth, fails, gone, strict, form, webhooks, by_tenant = row
        return TenantCall(
            tenant_pk=TenantPk(pk),
            tenant_id=tenant_id,
            url=rows.sync_url(base, path),
            auth=rows.client_auth(self.vault, tenant_id, auth),
            fails=fails,
            report_strict=bool(strict),
            report_format=form,
            guarded=bool(by_tenant) and base is not None,
            webhook_secrets=rows.webhook_secrets(self.vault, tenant_id, webhooks),
            gone=gone,
        )

    async def renew_calls(self, epoch: Epoch, tenants: Sequence[TenantPk], ttl: Seconds) -> None:
        called = list(tenants)
        await self.engine.write_soon(lambda: one("renew_calls", epoch=epoch, tenants=called, ttl=ttl))

    async def free_calls(self, owners: Sequence[str]) -> None:
        await self.engine.write(lambda: one("free_calls", owners=list(owners)))

    async def next_call_in(self, interval: Seconds, *, fallback: bool) -> Seconds | None:
        ((seconds,),) = await self.engine.read(
            lambda: one("next_call_in", interval=interval, fallback=fallback)
        )
        return None if seconds is None else max(0.0, float(seconds))

    async def standings(self, *, after: str | None, limit: int) -> list[SyncStanding]:
        found = await self.engine.read(lambda: one("sync_standings", after=after, limit=limit))
        return [standing(row) for row in found]

    async def pending(self, tenant: TenantPk, limit: int) -> list[Report]:
        found = await self.engine.read(lambda: one("pending_reports", tenant=tenant, limit=limit))
        return [_report(row) for row in found]

    async def latest_event(self) -> int:
        ((latest,),) = await self.engine.read(lambda: one("latest_event"))
        return int(latest)

    async def events_after(
        self, after: int, missed: Sequence[int], *, limit: int
    ) -> list[tuple[str, Report]]:
        again = list(missed)
        found = await self.engine.read(lambda: one("events_after", after=after, missed=again, limit=limit))
        return [(row[0], _report(row[1:])) for row in found]

    async def acknowledge(self, tenant: TenantPk, epoch: Epoch, events: Sequence[int]) -> int:
        acknowledged = await self.engine.write(
            lambda: one("acknowledge", tenant=tenant, epoch=epoch, events=list(events))
        )
        return len(acknowledged)

    async def settle_call(self, tenant: TenantPk, epoch: Epoch, settled: CallSettled) -> None:
        await self.engine.write(
            lambda: one(
                "settle_call",
                tenant=tenant,
                epoch=epoch,
                fails=settled.fails,
                gone=settled.gone,
                failure=settled.failure,
                next_in=settled.next_in,
                called=settled.called,
                muted_until=settled.muted_until,
                switch_off=settled.switch_off,
            )
        )

    async def poke(self, tenant: TenantPk | None, *, held: bool = True) -> None:
        await self.engine.write(lambda: _poke(tenant, held))


def _poke(tenant: TenantPk | None, held: bool) -> Work[None]:
    if held:
        yield (Step("retry_held_reports", {"tenant": tenant}),)
    yield (Step("poke", {"tenant": tenant}),)


def standing(row: Row) -> SyncStanding:
    tenant_id, name, active, url, now, called, muted, next_try, fails = row[:9]
    failure, off, poked, pending, dead = row[9:]
    return SyncStanding(
        tenant_id=tenant_id,
        name=name,
        active=bool(active),
        client_base_url=url,
        now=now,
        last_call_at=called,
        muted_until=muted,
        next_try_at=next_try,
        fails=fails,
        failure=failure,
        switched_off=off,
        poked=bool(poked),
        pending=pending,
        dead=dead,
    )


def _report(row: Row) -> Report:
    event_id, kind, at, message_id, client_id, account_id, priority, batch_code, detail, tries = row
    return Report(
        event_id=event_id,
        event_type=EventType(kind),
        event_ts=at,
        message_id=MessageId(message_id),
        client_id=client_id,
        account_id=account_id,
        priority=Priority(priority),
        batch_code=batch_code,
        detail=EventDetail.from_json(detail),
        tries=tries,
    )

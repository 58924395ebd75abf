"""Rows become values here, and values rows: the one place where a column's position matters."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mailproxy import signing
from mailproxy.authorization import ClientAuth
from mailproxy.limits import Limit, Scope, next_token, used_now
from mailproxy.model import (
    Account,
    AccountCondition,
    AccountPk,
    BouncedRecipient,
    EventDetail,
    EventType,
    MessageId,
    OnUnknownOutcome,
    Priority,
    State,
    Status,
    TenantPk,
)
from mailproxy.records import (
    AccountView,
    Claimed,
    EventView,
    Finish,
    InDoubt,
    MessageView,
    NewMessage,
    RecipientOutcome,
    Release,
    Tenant,
    Window,
)
from mailproxy.signing import Secrets
from mailproxy.vault import Vault
from sql import receipts
from sql.queries import Row

DEFAULT_MAX_AGE = 5 * 86400.0


def new_message(item: NewMessage) -> dict[str, object]:
    return {
        "client_id": item.client_id,
        "account_pk": item.account_pk,
        "priority": int(item.priority),
        "batch_code": item.batch_code,
        "due_at": item.due_at,
        "expires_at": item.expires_at,
        "max_age": item.max_age or DEFAULT_MAX_AGE,
        "error": item.rejected,
        "payload": item.payload,
        "header_id": item.header_id,
    }


def recipients(settled: str | None) -> tuple[RecipientOutcome, ...]:
    if not settled:
        return ()
    return tuple(
        RecipientOutcome(index, bool(accepted), address, code, enhanced, reply, bool(permanent))
        for index, accepted, address, code, enhanced, reply, permanent in json.loads(settled)
    )


def hashes(fetched: str | None) -> tuple[str | None, ...]:
    return tuple(json.loads(fetched)) if fetched else ()


def claimed(row: Row) -> Claimed:
    (
        id_,
        revision,
        client_id,
        attempt,
        claim,
        crashes,
        suspect,
        priority,
        at,
        waited,
        expired,
        batch,
        payload,
        settled,
        octets,
        fetched,
    ) = row
    return Claimed(
        id=MessageId(id_),
        revision=revision,
        client_id=client_id,
        attempt=attempt,
        claim=claim,
        crashes=crashes,
        suspect=bool(suspect),
        priority=Priority(priority),
        accepted_at=at,
        waited=waited,
        expired=bool(expired),
        payload=payload or "",
        left_behind=octets if payload is None else 0,
        fetched=hashes(fetched),
        batch_code=batch,
        recipients=recipients(settled),
    )


def in_doubt(row: Row) -> InDoubt:
    return InDoubt(MessageId(row[0]), *row[1:])


def limits(rows: Iterable[Row]) -> list[Limit]:
    return [
        Limit(Scope(kind, scope, win), slot_s, slots, lim) for kind, scope, win, slot_s, slots, lim in rows
    ]


def used(rows: Iterable[Row]) -> tuple[dict[Scope, dict[int, int]], float]:
    """What is charged by scope and slot, and the database's clock after the locks."""
    found: dict[Scope, dict[int, int]] = {}
    at = 0.0
    for kind, scope, win, slot, n, now in rows:
        at = now
        if kind is not None:
            found.setdefault(Scope(kind, scope, win), {})[slot] = n
    return found, at


def finish(one: Finish) -> dict[str, object]:
    return {
        "id": one.id,
        "revision": one.revision,
        "claim": one.claim,
        "status": int(one.status),
        "refund": int(one.refund),
        "kind": str(one.event),
        "error": one.detail.error,
        "detail": one.detail.to_json(),
    }


def release(one: Release) -> dict[str, object]:
    return {
        "id": one.id,
        "revision": one.revision,
        "claim": one.claim,
        "delay": one.delay,
        "refund": int(one.refund),
        "kind": str(one.event) if one.event else None,
        "detail": (one.detail or EventDetail()).to_json(),
    }


def claim_of(one: Finish | Release) -> dict[str, object]:
    return {"id": one.id, "revision": one.revision, "claim": one.claim}


def late(one: Finish) -> dict[str, object]:
    return {"id": one.id, "revision": one.revision, "detail": one.detail.to_json()}


def recipient_states(settlements: Sequence[Finish | Release]) -> list[dict[str, object]]:
    return [
        {
            "message_id": one.id,
            "revision": one.revision,
            "claim": one.claim,
        }
        | recipient(r)
        for one in settlements
        for r in one.recipients
    ]


def recipient(one: RecipientOutcome) -> dict[str, object]:
    return {
        "rcpt": one.index,
        "accepted": one.accepted,
        "permanent": one.permanent,
        "address": one.address,
        "code": one.code,
        "enhanced": one.enhanced,
        "reply": one.text,
    }


# -- directory


def auth_binding(tenant_id: str) -> str:
    return f"tenant|{tenant_id}|client_auth"


def webhook_binding(tenant_id: str) -> str:
    return f"tenant|{tenant_id}|webhook_secrets"


def large_files_binding(tenant_id: str) -> str:
    return f"tenant|{tenant_id}|large_file_secrets"


def large_file_secrets(vault: Vault, tenant_id: str, sealed: bytes | None) -> dict[str, str]:
    return {} if sealed is None else json.loads(vault.open(bytes(sealed), large_files_binding(tenant_id)))


def webhook_secrets(vault: Vault, tenant_id: str, sealed: bytes | None) -> Secrets:
    return () if sealed is None else signing.loads(vault.open(bytes(sealed), webhook_binding(tenant_id)))


def password_binding(tenant: int, account_id: str) -> str:
    return f"account|{tenant}/{account_id}|password"


def imap_binding(tenant: int, account_id: str) -> str:
    return f"account|{tenant}/{account_id}|imap_password"


def client_auth(vault: Vault, tenant_id: str, sealed: bytes | None) -> ClientAuth:
    if sealed is None:
        return ClientAuth()
    return ClientAuth(**json.loads(vault.open(bytes(sealed), auth_binding(tenant_id))))


def sync_url(base: str | None, path: str | None) -> str | None:
    return None if base is None else base.rstrip("/") + (path or "/mail-proxy/sync")


def tenant(vault: Vault, row: Row) -> Tenant:
    pk, id_, name, auth, base, sync, attach, limits_, large, strict, form, active = row[:12]
    webhooks, by_tenant, suppresses, storage, created, updated, switched_off, switched_off_at = row[12:]
    return Tenant(
        pk=TenantPk(pk),
        id=id_,
        name=name,
        client_auth=client_auth(vault, id_, auth),
        client_base_url=base,
        client_sync_path=sync,
        client_attachment_path=attach,
        rate_limits=limits_,
        large_file_config=large,
        report_strict=bool(strict),
        report_format=form,
        active=bool(active),
        webhook_secrets=webhook_secrets(vault, id_, webhooks),
        url_set_by_tenant=bool(by_tenant),
        suppress_bounces=bool(suppresses),
        large_file_secrets=large_file_secrets(vault, id_, storage),
        created_at=created,
        updated_at=updated,
        switched_off=switched_off,
        switched_off_at=switched_off_at,
    )


def account(vault: Vault, row: Row) -> Account:
    pk, tenant_pk, tenant_id, id_, version, host, port, user, secret, use_tls, verify, ca, ttl = row[:13]
    batch_size, max_retries, delays, policy, behavior, by_tenant, is_pec, pec_address = row[13:21]
    imap_host, imap_port, imap_user, imap_secret, folder, imap_ssl, imap_by_tenant = row[21:28]
    return Account(
        pk=AccountPk(pk),
        tenant_pk=TenantPk(tenant_pk),
        tenant_id=tenant_id,
        id=id_,
        version=version,
        host=host,
        port=port,
        user=user,
        password=_opened(vault, secret, password_binding(tenant_pk, id_)),
        use_tls=None if use_tls is None else bool(use_tls),
        tls_verify=bool(verify),
        tls_ca=ca,
        ttl=float(ttl),
        batch_size=batch_size,
        max_retries=max_retries,
        retry_delays=tuple(map(float, delays.split(","))) if delays else None,
        on_unknown_outcome=OnUnknownOutcome(policy),
        limit_behavior=behavior,
        host_set_by_tenant=bool(by_tenant),
        is_pec_account=bool(is_pec),
        pec_address=pec_address,
        imap_host=imap_host,
        imap_port=imap_port,
        imap_user=imap_user,
        imap_password=_opened(vault, imap_secret, imap_binding(tenant_pk, id_)),
        imap_folder=folder,
        imap_ssl=None if imap_ssl is None else bool(imap_ssl),
        imap_host_set_by_tenant=bool(imap_by_tenant),
    )


def _opened(vault: Vault, sealed: bytes | None, bound_to: str) -> str | None:
    return None if sealed is None else vault.open(bytes(sealed), bound_to)


class Standing(NamedTuple):
    """A window of the account or tenant whose pk is `scope`."""

    scope: int
    window: Window


def windows(found: Iterable[Row]) -> list[Standing]:
    """How each limit stands, from its rows joined with what is charged."""
    known: dict[tuple[int, str], tuple[Limit, dict[int, int], float]] = {}
    for scope, win, lim, slot_s, slots, slot, n, now in found:
        limit = Limit(Scope(0, scope, win), slot_s, slots, lim)
        known.setdefault((scope, win), (limit, {}, now))[1][slot] = n
    return [Standing(limit.scope.pk, _window(limit, charged, now)) for limit, charged, now in known.values()]


def _window(limit: Limit, charged: dict[int, int], now: float) -> Window:
    used = used_now(limit, {limit.scope: charged}, now)
    left = max(0, limit.limit - used)
    next_at = None if left else now + next_token(limit, {limit.scope: charged}, now)
    return Window(limit.scope.window, limit.limit, used, left, next_at)


def account_view(vault: Vault, row: Row, standing: Iterable[Standing]) -> AccountView:
    opened = account(vault, row)
    condition, reason, cause, since, not_before, created, updated = row[28:]
    mine = tuple(s.window for s in standing if s.scope == opened.pk)
    limit = {w.name: w.limit for w in mine}
    return AccountView(
        account=opened,
        password_set=opened.password is not None,
        imap_password_set=opened.imap_password is not None,
        limit_per_minute=limit.get("minute"),
        limit_per_hour=limit.get("hour"),
        limit_per_day=limit.get("day"),
        condition=AccountCondition(condition),
        reason=reason,
        cause=cause,
        since=since,
        next_try=not_before,
        created_at=created,
        updated_at=updated,
        windows=mine,
    )


def like(text: str) -> str:
    """LIKE's own wildcards, escaped with its default escape character."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def message_view(row: Row) -> MessageView:
    id_, client_id, tenant_id, tenant_name, account_id, status, priority, batch, error = row[:9]
    attempts, done, reported, created, updated, phase, tries, due, held, payload, settled = row[9:20]
    now, bounced, pec_states = row[20:]
    state = _state(Status(status), phase, due, now, bool(held))
    return MessageView(
        id=MessageId(id_),
        client_id=client_id,
        tenant_id=tenant_id,
        tenant_name=tenant_name,
        account_id=account_id,
        state=state,
        priority=Priority(priority),
        batch_code=batch,
        deferred_until=due if due is not None and due > now else None,
        done_at=done,
        error=error,
        reported_at=reported,
        created_at=created,
        updated_at=updated,
        attempts=attempts if tries is None else tries,
        payload=payload,
        refused=tuple(r for r in recipients(settled) if not r.accepted),
        bounced=tuple(_bounced(one) for one in json.loads(bounced or "[]")),
        certified=receipts.recipients(pec_states),
    )


def _bounced(one: Row) -> BouncedRecipient:
    address, type_, code, status, reason, at, verified = one
    return BouncedRecipient(address, type_, code, status, reason, at, bool(verified))


def event_view(row: Row) -> EventView:
    event_id, kind, at, detail, reported = row
    return EventView(event_id, EventType(kind), at, EventDetail.from_json(detail), bool(reported))


def _state(status: Status, phase: int | None, due: float | None, now: float, held: bool) -> State:
    if status is not Status.QUEUED:
        return State[status.name]
    if phase:
        return State.SENDING
    if held:
        return State.SUSPENDED
    return State.DEFERRED if due is not None and due > now else State.PENDING

"""Tenants, keys, accounts; secrets are sealed on the way in and opened on the way out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from mailproxy import limits, signing
from mailproxy.errors import Conflict
from mailproxy.model import Account, AccountPk, Instant, Seconds, TenantPk
from mailproxy.records import AccountView, AccountWrite, Admission, Tenant, TenantWrite
from mailproxy.tokens import Principal
from mailproxy.vault import Vault
from sql import receipts, rows
from sql.engine import Engine, Last, Work, one
from sql.gather import Shared
from sql.messages import SqlMessages
from sql.queries import Step
from sql.suspensions import ALL

CONTENTS_AT_ONCE = 20


def directory(engine: Engine, fallback: bool, vault: Vault) -> "SqlDirectory":
    """What every request asks for is shared by those that ask at the same time."""

    async def principal(token_hash: bytes) -> Principal | None:
        found = await engine.read(lambda: one("principal", hash=token_hash))
        return Principal(TenantPk(found[0][0]), found[0][1], found[0][2]) if found else None

    async def admission(tenant: TenantPk) -> Admission:
        return await engine.read(lambda: _admission(tenant))

    return SqlDirectory(engine, fallback, vault, Shared(principal), Shared(admission))


@dataclass(frozen=True, slots=True)
class SqlDirectory(SqlMessages):
    engine: Engine
    fallback: bool
    vault: Vault
    principals: Shared[bytes, Principal | None]
    admissions: Shared[TenantPk, Admission]

    async def principal(self, token_hash: bytes) -> Principal | None:
        return await self.principals.get(token_hash)

    # -- tenants

    async def put_tenant(self, tenant: TenantWrite, key_hash: bytes | None, key_id: str | None) -> bool:
        return await self.engine.write(lambda: self._put_tenant(tenant, key_hash, key_id))

    def _put_tenant(self, tenant: TenantWrite, key_hash: bytes | None, key_id: str | None) -> Work[bool]:
        values = asdict(tenant) | self._sealed(tenant)
        (known,) = yield (Step("tenant", {"id": tenant.id}),)
        ((stored,),) = yield (Step("put_tenant", values),)
        pk = TenantPk(stored[0])
        wanted = limits.standard(limits.TENANT, pk, {"hour": tenant.hourly_limit, "day": tenant.daily_limit})
        yield (
            Step("tenant_sync_ready", {"tenant": pk, "switch_on": tenant.switch_on}),
            Step("lift_rests", {"tenant": pk}),
            *_limits(limits.TENANT, pk, wanted),
        )
        if not known and key_hash is not None:
            yield (Step("put_key", _key(pk, key_hash, key_id, None)),)
        return not known

    def _sealed(self, tenant: TenantWrite) -> dict[str, bytes | None]:
        auth = secrets = storage = None
        if tenant.client_auth is not None:
            auth = self.vault.seal(json.dumps(asdict(tenant.client_auth)), rows.auth_binding(tenant.id))
        if tenant.webhook_secrets is not None:
            told = signing.dumps(tenant.webhook_secrets)
            secrets = self.vault.seal(told, rows.webhook_binding(tenant.id))
        if tenant.large_file_secrets is not None:
            binding = rows.large_files_binding(tenant.id)
            storage = self.vault.seal(json.dumps(dict(tenant.large_file_secrets)), binding)
        return {"client_auth": auth, "webhook_secrets": secrets, "large_file_secrets": storage}

    async def tenant(self, tenant_id: str) -> Tenant | None:
        found = await self.engine.read(lambda: one("tenant", id=tenant_id))
        return rows.tenant(self.vault, found[0]) if found else None

    async def tenants(self, *, active_only: bool, after: str | None, limit: int) -> list[Tenant]:
        found = await self.engine.read(
            lambda: one("tenants", active_only=active_only, after=after, limit=limit)
        )
        return [rows.tenant(self.vault, row) for row in found]

    async def delete_tenant(self, tenant_id: str) -> bool:
        """Nothing more of it is sent from the beginning; one that was cut off half-way goes on when it is repeated."""
        found = await self.engine.read(lambda: one("tenant", id=tenant_id))
        if not found:
            return False
        tenant = TenantPk(found[0][0])
        await self.engine.write(lambda: one("suspend", tenant=tenant, batch_code=ALL))
        await self.empty(tenant)
        whose = {"tenant": tenant, "limit": CONTENTS_AT_ONCE}
        while await self.engine.write(lambda: one("forget_contents_of", **whose)):
            pass
        return bool(await self.engine.write(lambda: one("delete_tenant", tenant=tenant)))

    async def put_key(
        self,
        tenant_id: str,
        key_hash: bytes,
        key_id: str,
        *,
        expires_at: Instant | None,
        keep_previous: Seconds,
    ) -> bool:
        return await self.engine.write(
            lambda: _put_key(tenant_id, key_hash, key_id, expires_at, keep_previous)
        )

    async def revoke_keys(self, tenant_id: str) -> bool:
        return await self.engine.write(lambda: _revoke_keys(tenant_id))

    # -- accounts

    async def put_account(self, tenant: TenantPk, account: AccountWrite) -> AccountPk:
        return await self.engine.write(lambda: self._put_account(tenant, account))

    def _put_account(self, tenant: TenantPk, account: AccountWrite) -> Work[AccountPk]:
        delays = account.retry_delays
        values = asdict(account) | {
            "tenant": tenant,
            "secret": self._seal(account.password, rows.password_binding(tenant, account.id)),
            "imap_secret": self._seal(account.imap_password, rows.imap_binding(tenant, account.id)),
            "retry_delays": ",".join(f"{d:g}" for d in delays) if delays else None,
            "on_unknown_outcome": str(account.on_unknown_outcome),
        }
        ((stored,),) = yield (Step("put_account", values),)
        pk = AccountPk(stored[0])
        wanted = limits.standard(
            limits.ACCOUNT,
            pk,
            {
                "minute": account.limit_per_minute,
                "hour": account.limit_per_hour,
                "day": account.limit_per_day,
            },
        )
        yield (Step("account_state_fresh", {"account": pk}), *_limits(limits.ACCOUNT, pk, wanted))
        return pk

    def _seal(self, secret: str | None, bound_to: str) -> bytes | None:
        return None if secret is None else self.vault.seal(secret, bound_to)

    async def account(self, tenant: TenantPk, account_id: str) -> AccountView | None:
        found = await self.engine.read(lambda: self._accounts(tenant, None, account_id, 1))
        return found[0] if found else None

    async def accounts(self, tenant: TenantPk, *, after: str | None, limit: int) -> list[AccountView]:
        return await self.engine.read(lambda: self._accounts(tenant, after, None, limit))

    def _accounts(
        self, tenant: TenantPk, after: str | None, id_: str | None, limit: int
    ) -> Work[list[AccountView]]:
        (found,) = yield (Step("accounts", {"tenant": tenant, "after": after, "id": id_, "limit": limit}),)
        (windows,) = yield (Step("account_windows", {"accounts": [row[0] for row in found]}),)
        standing = rows.windows(windows)
        return [rows.account_view(self.vault, row, standing) for row in found]

    async def admission(self, tenant: TenantPk) -> Admission:
        return await self.admissions.get(tenant)

    async def account_ids(self, tenant: TenantPk) -> dict[str, AccountPk]:
        return {id_: door.pk for id_, door in (await self.admission(tenant)).accounts.items()}

    async def tenants_of_account(self, account_id: str) -> list[str]:
        return [t for (t,) in await self.engine.read(lambda: one("tenants_of_account", id=account_id))]

    async def sending_account(self, account: AccountPk) -> Account | None:
        found = await self.engine.read(lambda: one("sending_account", account=account))
        return rows.account(self.vault, found[0]) if found else None

    async def delete_account(self, tenant: TenantPk, account_id: str) -> bool:
        """Nothing more of it is sent from the beginning; one that was cut off half-way goes on when it is repeated."""
        found = await self.engine.write(lambda: _close_account(tenant, account_id))
        if found is None:
            return False
        await self.empty(tenant, found)
        return await self.engine.write(lambda: _delete_account(tenant, account_id))

    async def reset_account(self, tenant: TenantPk, account_id: str) -> bool:
        return await self.engine.write(lambda: _reset_account(tenant, account_id))


def _admission(tenant: TenantPk) -> Work[Admission]:
    whose = {"tenant": tenant}
    (accounts, ((suppresses,),)) = yield Last((Step("account_ids", whose), Step("any_suppressed", whose)))
    return Admission({row[0]: receipts.door(row) for row in accounts}, bool(suppresses))


def _limits(kind: int, scope: int, wanted: Sequence[limits.Limit]) -> Iterator[Step]:
    yield Step("drop_limits", {"kind": kind, "scope": scope, "kept": [x.scope.window for x in wanted]})
    values = [{"win": x.scope.window, "slot_s": x.slot_s, "slots": x.slots, "lim": x.limit} for x in wanted]
    if values:
        yield Step("put_limits", {"kind": kind, "scope": scope}, values)


def _key(
    tenant: TenantPk, key_hash: bytes, key_id: str | None, expires_at: Instant | None
) -> Mapping[str, object]:
    return {"tenant": tenant, "hash": key_hash, "key_id": key_id or "", "expires_at": expires_at}


def _put_key(
    tenant_id: str, key_hash: bytes, key_id: str, expires_at: Instant | None, keep: Seconds
) -> Work[bool]:
    (found,) = yield (Step("tenant", {"id": tenant_id}),)
    if not found:
        return False
    pk = TenantPk(found[0][0])
    yield (
        Step("end_keys", {"tenant": pk, "keep": keep}),
        Step("put_key", _key(pk, key_hash, key_id, expires_at)),
    )
    return True


def _revoke_keys(tenant_id: str) -> Work[bool]:
    (found,) = yield (Step("tenant", {"id": tenant_id}),)
    if found:
        yield (Step("revoke_keys", {"tenant": found[0][0]}),)
    return bool(found)


def _account_pk(tenant: TenantPk, account_id: str) -> Work[AccountPk | None]:
    (found,) = yield (Step("account_ids", {"tenant": tenant}),)
    return next((AccountPk(row[1]) for row in found if row[0] == account_id), None)


def _close_account(tenant: TenantPk, account_id: str) -> Work[AccountPk | None]:
    """The account, at rest until it is gone, unless there is none; refused before anything of it is changed."""
    pk = yield from _account_pk(tenant, account_id)
    if pk is not None:
        (((busy,),),) = yield (Step("close_account", {"account": pk}),)
        _require_idle(busy, "try again when their outcome is known")
    return pk


def _delete_account(tenant: TenantPk, account_id: str) -> Work[bool]:
    whose = {"tenant": tenant, "id": account_id}
    (((busy,),),) = yield (Step("account_alone", whose),)
    _require_idle(busy, "it was used again while its messages were being removed, and the others are gone")
    (gone,) = yield (Step("delete_account", whose),)
    return bool(gone)


def _require_idle(busy: int, so: str) -> None:
    if busy:
        raise Conflict(f"{busy} of its messages are being handed over: {so}", code="account_busy")


def _reset_account(tenant: TenantPk, account_id: str) -> Work[bool]:
    pk = yield from _account_pk(tenant, account_id)
    if pk is None:
        return False
    yield (Step("account_state_fresh", {"account": pk}),)
    return True

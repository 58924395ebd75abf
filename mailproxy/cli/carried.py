"""Rows of genro-mail-proxy 0.5 and 0.6 as ours: what can be carried over, and why the rest cannot.

Booleans are 0 or 1, objects are JSON text, columns come and go with the release (REFERENCE §27). A message is unsent
while it has no time of an attempt: `sent_ts` and `error_ts` in 0.5, `smtp_ts` in 0.6.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from mailproxy import vault
from mailproxy.api import large_file_fields, wire_messages
from mailproxy.api.refusals import Refusal
from mailproxy.api.wire import AccountForm, Form, LargeFileForm, TenantForm
from mailproxy.authorization import ClientAuth
from mailproxy.model import Instant, Priority
from mailproxy.records import AccountWrite, TenantWrite
from mailproxy.submission import Draft
from mailproxy.vault import VaultError

F = TypeVar("F", bound=Form)
Row = Mapping[str, Any]
_ATTEMPTED = ("sent_ts", "error_ts", "smtp_ts")
_TENANT = ("name", "client_base_url", "client_sync_path", "client_attachment_path")
_ACCOUNT = (
    *("id", "host", "port", "user", "ttl", "batch_size"),
    *("limit_per_minute", "limit_per_hour", "limit_per_day"),
)
EVERYTHING = "*"


class NotCarried(Exception):
    """Why a row cannot be carried over."""


@dataclass(frozen=True, slots=True)
class OldTenant:
    """`suspended` are batch codes, or `*` alone for everything; `notes` say what of it stays behind."""

    write: TenantWrite
    key_hash: bytes | None = field(repr=False)
    key_expires_at: Instant | None
    suspended: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OldAccount:
    """`notes` say what of it stays behind."""

    tenant_id: str
    write: AccountWrite
    notes: tuple[str, ...]


def tenant(row: Row, now: Instant) -> OldTenant:
    """Raises NotCarried."""
    objects = {name: _object(row, name) for name in ("client_auth", "rate_limits")}
    files, file_notes = _large_files(row)
    plain = {name: row.get(name) or None for name in _TENANT}
    form = _checked(TenantForm, {"id": row.get("id"), **plain, **objects})
    auth, limits = form.client_auth, form.rate_limits
    write = TenantWrite(
        id=form.id,
        **{name: getattr(form, name) for name in _TENANT},
        client_auth=ClientAuth(
            method=auth.method if auth else "none",
            token=auth.token.get_secret_value() if auth and auth.token else None,
            user=auth.user if auth else None,
            password=auth.password.get_secret_value() if auth and auth.password else None,
        ),
        rate_limits=json.dumps(limits.model_dump(exclude_none=True)) if limits else None,
        hourly_limit=limits.hourly if limits else None,
        daily_limit=limits.daily if limits else None,
        large_file_config=files,
        active=row.get("active") not in (0, False),
    )
    expires_at = _moment(row.get("api_key_expires_at"))
    is_valid = row.get("api_key_hash") and (expires_at is None or expires_at > now)
    return OldTenant(
        write,
        bytes.fromhex(row["api_key_hash"]) if is_valid else None,
        expires_at,
        tuple(code for code in str(row.get("suspended_batches") or "").split(",") if code),
        (
            *(() if is_valid else ("has no API key that is valid: make one with tenants api-key",)),
            *file_notes,
        ),
    )


def _large_files(row: Row) -> tuple[str | None, tuple[str, ...]]:
    """The configuration as it is stored here, and what is to be said about it."""
    given = _object(row, "large_file_config")
    if not given:
        return None, ()
    try:
        form = _checked(LargeFileForm, given)
    except NotCarried as reason:
        return None, (f"large_file_config is not taken over: {reason}",)
    note = "large_file_config: see that its storage and links work here (docs/large-files.md)"
    return json.dumps(large_file_fields.plain(form)), (note,) if form.enabled else ()


def account(row: Row, key: bytes | None) -> OldAccount:
    """`key` opens passwords that were stored encrypted. Raises NotCarried."""
    if not row.get("tenant_id"):
        raise NotCarried("belongs to no tenant: nobody could send through it")
    given = {name: row.get(name) or None for name in _ACCOUNT}
    form = _checked(AccountForm, given)
    password = _password(row.get("password"), key)
    changes = {name: value for name in _ACCOUNT if (value := getattr(form, name)) is not None}
    use_tls = row.get("use_tls")
    write = AccountWrite(
        **changes,
        password=password,
        use_tls=None if use_tls is None else bool(use_tls),
        limit_behavior="reject" if row.get("limit_behavior") == "reject" else "defer",
    )
    return OldAccount(str(row["tenant_id"]), write, tuple(_left_out(row)))


def _left_out(row: Row) -> Iterator[str]:
    if row.get("limit_behavior") not in (None, "", "defer", "reject"):
        yield "limit_behavior: is neither defer nor reject; messages above a limit are deferred, as before"
    if row.get("is_pec_account") or row.get("imap_host"):
        yield "its IMAP mailbox (PEC) is not taken over"


def is_unsent(row: Row) -> bool:
    return all(row.get(name) is None for name in _ATTEMPTED)


def message(row: Row, tenant_id: str, default: Priority) -> Draft:
    """An unsent message as it would be posted now. Raises NotCarried with every fault."""
    payload = _object(row, "payload")
    if not payload:
        raise NotCarried("its payload is no JSON object")
    fields = {
        name: value for name, value in payload.items() if name in wire_messages.MessageFields.__annotations__
    }
    if fields.get("content_type") != "html":
        fields.pop("content_type", None)  # 0.5 sends whatever it does not know as plain text
    fields |= {
        "id": row.get("id"),
        "tenant_id": tenant_id,
        "account_id": row.get("account_id"),
        "priority": min(max(int(row.get("priority") or 0), 0), 3),
        "deferred_ts": row.get("deferred_ts"),
        "batch_code": row.get("batch_code"),
    }
    try:
        (checked,) = wire_messages.decode({"messages": [fields]}).messages
    except Refusal as refusal:
        raise NotCarried(_schema_faults(refusal.detail)) from refusal
    draft = wire_messages.draft(checked, default)
    if draft.faults:
        raise NotCarried("; ".join(f"{one.field}: {one.detail or 'is missing'}" for one in draft.faults))
    return draft


def _schema_faults(detail: Any) -> str:
    faults = detail if isinstance(detail, list) else []
    return "; ".join(f"{'.'.join(map(str, one['loc'][3:]))}: {one['msg']}" for one in faults) or str(detail)


def _checked(kind: type[F], fields: Mapping[str, Any]) -> F:
    try:
        return kind.decode(fields)[0]
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        texts = (f"{'.'.join(map(str, one['loc']))}: {_said(one['msg'])}" for one in faults)
        raise NotCarried("; ".join(texts)) from None


def _said(text: str) -> str:
    return text.removeprefix("Value error, ")


def _object(row: Row, name: str) -> dict[str, Any] | None:
    """A JSON column, decoded already by PostgreSQL's json types."""
    stored = row.get(name)
    if stored is None or stored == "":
        return None
    try:
        found = json.loads(stored) if isinstance(stored, str) else stored
    except ValueError:
        raise NotCarried(f"{name}: is no JSON") from None
    if found is None or isinstance(found, dict):
        return found or None
    raise NotCarried(f"{name}: is no JSON object")


def _password(stored: Any, key: bytes | None) -> str | None:
    if not stored:
        return None
    text = str(stored)
    if not text.startswith(vault.FOREIGN):
        return text
    if key is None:
        raise NotCarried("password: is encrypted; name the old key with --key-file")
    try:
        return vault.open_foreign(text, key)
    except VaultError as error:
        raise NotCarried(f"password: {error.detail}") from error


def _moment(stored: Any) -> Instant | None:
    """A time as any release wrote it: Unix seconds, or a time stamp without a zone, which is UTC."""
    if stored is None or stored == "":
        return None
    if isinstance(stored, datetime):
        return (stored if stored.tzinfo else stored.replace(tzinfo=UTC)).timestamp()
    try:
        return float(stored)
    except ValueError:
        return _moment(datetime.fromisoformat(str(stored)))

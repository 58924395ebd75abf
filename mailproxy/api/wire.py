"""Requests about tenants, accounts and the service as they arrive; untyped data ends here."""

import difflib
import ipaddress
import re
import ssl
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)

from mailproxy import address, webhooks
from mailproxy.attachments import places
from mailproxy.errors import InvalidInput
from mailproxy.model import IMAPS_PORT, OnUnknownOutcome, Priority, Resolution, State

LATEST = 253402300799.0
_GOOGLE_TOKENS = "https://oauth2.googleapis.com/token"
_HOST_LABELS = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_MAX_WARNINGS = 20


def moment(value: Any) -> float:
    """Unix seconds from a number, numeric text or RFC 3339 text; ValueError for anything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = _rfc3339(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be Unix seconds or an RFC 3339 time")
    if not 0 <= value <= LATEST:
        hint = ": are these milliseconds?" if LATEST < value < LATEST * 1000 else ""
        raise ValueError(f"must be Unix seconds between 0 and the year 9999{hint}")
    return float(value)


def _rfc3339(text: str) -> float:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be Unix seconds or an RFC 3339 time") from None
    if parsed.tzinfo is None:
        raise ValueError("must have a zone, as in 2030-01-31T12:00:00Z")
    return parsed.timestamp()


def priority(value: Any) -> Priority:
    """A word, a number or numeric text; numbers are clamped to 0…3 (REFERENCE §6)."""
    if isinstance(value, str):
        word = value.strip()
        if word.upper() in Priority.__members__:
            return Priority[word.upper()]
        value = int(word) if re.fullmatch(r"[+-]?[0-9]{1,9}", word) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be 0 to 3 or immediate, high, medium or low")
    return Priority(min(max(value, 0), 3))


def unknown_fields(given: Iterable[str], known: Iterable[str], where: str = "") -> list[str]:
    """One warning for each name that is not known, with the nearest that is."""
    names = sorted(known)
    found = []
    for name in sorted(set(given).difference(names))[:_MAX_WARNINGS]:
        nearest = difflib.get_close_matches(name[:64], names, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        found.append(f"{where}unknown field {name[:64]!r} ignored{hint}")
    return found


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if len(value) > 253 or not _HOST_LABELS.fullmatch(value.encode("idna").decode()):
            raise ValueError("must be a host name or an address, without scheme, port or path") from None
    return value


def _mailbox(value: str) -> str:
    try:
        return address.parse(value).addr_spec
    except InvalidInput as refusal:
        raise ValueError(f"must be an address: {refusal.detail}") from None


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or len(value) > 2048:
        raise ValueError("must be an http:// or https:// address")
    if parts.username is not None or parts.fragment or re.search(r"[\x00-\x20\x7f\\]", value):
        raise ValueError("must have no credentials, fragment, spaces or control characters")
    _ = parts.port
    return value


def _path(value: str) -> str:
    if len(value) > 1024 or re.search(r"[\x00-\x20\x7f\\#]", value):
        raise ValueError("must be a path without spaces, control characters or fragment")
    return value


def _webhook_secret(value: SecretStr) -> SecretStr:
    try:
        webhooks.key_of(value.get_secret_value())
    except InvalidInput:
        raise ValueError("must be whsec_ and the base64 of 24 to 64 random bytes") from None
    return value


def _service_account(value: dict[str, str]) -> dict[str, str]:
    """Google's key file. What it names to get tokens from is called, so it has to be Google's."""
    if value.get("type") != "service_account" or not value.get("private_key"):
        raise ValueError("must be the JSON object of a service account's key")
    if value.get("token_uri", _GOOGLE_TOKENS) != _GOOGLE_TOKENS:
        raise ValueError(f"must have {_GOOGLE_TOKENS} as token_uri")
    return value


def certificates(value: str) -> str | None:
    """Certificates in PEM, None for an empty text; ValueError for anything else, a private key among it too."""
    if not value.strip():
        return None
    if "PRIVATE KEY" in value:
        raise ValueError("holds a private key: give certificates only, and consider the key as disclosed")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=value if value.isascii() else "")
    except (ValueError, ssl.SSLError):
        raise ValueError("must be one or more certificates in PEM (-----BEGIN CERTIFICATE-----)") from None
    return value


Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
BatchCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
_TIME = WithJsonSchema(
    {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": LATEST},
            {"type": "string", "format": "date-time"},
        ]
    }
)
_PRIORITY = WithJsonSchema(
    {"anyOf": [{"type": "integer"}, {"enum": [level.name.lower() for level in Priority]}]}
)
Moment = Annotated[float, BeforeValidator(moment), _TIME]
AnyMoment = Annotated[Any, _TIME]
AnyPriority = Annotated[Any, _PRIORITY]
Line = Annotated[str, Field(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]
Secret = Annotated[SecretStr, Field(max_length=4096)]
WebhookSecret = Annotated[SecretStr, Field(max_length=128), AfterValidator(_webhook_secret)]
Host = Annotated[str, Field(max_length=255), AfterValidator(_host)]
MailAddress = Annotated[str, Field(max_length=320), AfterValidator(_mailbox)]
Folder = Annotated[str, Field(max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
WebAddress = Annotated[str, AfterValidator(_web_address)]
WebPath = Annotated[str, AfterValidator(_path)]
Limit = Annotated[int, Field(ge=0, le=2_000_000_000)]
EventId = Annotated[int, Field(ge=1, le=2**62)]
Delay = Annotated[float, Field(ge=0, le=30 * 86400)]


class Form(BaseModel):
    """A request body or query. Nulls count as not given, as in the reference, but in `nullable` fields."""

    nullable: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)

    @classmethod
    def decode(cls, given: Any) -> tuple[Self, list[str]]:
        """The form in `given` and a warning for each unknown field; raises pydantic's ValidationError."""
        if not isinstance(given, Mapping):
            return cls.model_validate(given), []
        known = {name: value for name, value in given.items() if value is not None or name in cls.nullable}
        return cls.model_validate(known), unknown_fields(given, cls.names())

    @classmethod
    def names(cls) -> list[str]:
        return [field.alias or name for name, field in cls.model_fields.items()]


class ClientAuthForm(Form):
    method: Literal["none", "bearer", "basic"] = "none"
    token: Secret | None = None
    user: Line | None = None
    password: Secret | None = None


class StorageOptions(Form):
    """Where and with what a storage is reached; what is not given, the service's own environment tells."""

    model_config = ConfigDict(extra="forbid")

    endpoint_url: WebAddress | None = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] | None = None
    addressing_style: Literal["auto", "path", "virtual"] | None = None
    project: Annotated[str, Field(pattern=r"^[a-z0-9.:-]{1,128}$")] | None = None
    account_name: Annotated[str, Field(pattern=r"^[a-z0-9]{3,24}$")] | None = None
    key: Secret | None = None
    secret: Secret | None = None
    token: Secret | None = None
    account_key: Secret | None = None
    sas_token: Secret | None = None
    service_account: Annotated[dict[str, str], AfterValidator(_service_account)] | None = None


class LargeFileForm(Form):
    """What is done with large attachments. It is replaced as a whole; secrets stay while the storage does."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = False
    max_size_mb: Annotated[float, Field(gt=0, le=1_000_000)] = 10.0
    action: Literal["warn", "reject", "rewrite"] = "warn"
    storage_url: Annotated[str, AfterValidator(places.storage_url)] | None = None
    storage_options: StorageOptions | None = None
    links: Literal["storage", "own"] | None = None
    public_base_url: WebAddress | None = None
    file_ttl_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    lifespan_after_download_days: Annotated[float, Field(gt=0, le=3650)] | None = None

    @model_validator(mode="after")
    def _options_of_the_storage(self) -> Self:
        given = self.storage_options.model_fields_set if self.storage_options else set()
        protocol = places.protocol_of(self.storage_url) if self.storage_url else None
        known = places.OPTIONS[protocol] | places.SECRETS[protocol] if protocol else frozenset()
        if others := sorted(given - known):
            raise ValueError(f"storage_options: {', '.join(others)}: no option of {protocol or 'no storage'}")
        return self


class RateLimits(Form):
    hourly: Limit | None = None
    daily: Limit | None = None


class TenantChange(Form):
    """PUT: only what is given changes."""

    name: Line | None = None
    client_auth: ClientAuthForm | None = None
    client_base_url: WebAddress | None = None
    client_sync_path: WebPath | None = None
    client_attachment_path: WebPath | None = None
    rate_limits: RateLimits | None = None
    large_file_config: LargeFileForm | None = None
    webhook_secret: WebhookSecret | None = None
    report_strict: bool = False
    report_format: Literal["item", "event"] = "item"
    suppress_bounces: bool = False
    active: bool = True
    switch_on: bool = False


class TenantForm(TenantChange):
    id: Identifier


class KeyForm(Form):
    expires_at: Moment | None = None
    keep_previous: Annotated[float, Field(ge=0, le=30 * 86400)] = 0.0


class WebhookSecretForm(Form):
    webhook_secret: WebhookSecret | None = None
    keep_previous: Annotated[float, Field(ge=0, le=30 * 86400)] = 86400.0


class AccountChange(Form):
    """PATCH: only what is given changes; a null `use_tls` or `imap_ssl` leaves TLS to the port and the server."""

    nullable = frozenset({"use_tls", "imap_ssl"})

    tenant_id: Identifier | None = None
    host: Host | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: Line | None = None
    password: Secret | None = None
    use_tls: bool | None = None
    tls_verify: bool = True
    tls_ca: Annotated[str, Field(max_length=65536), AfterValidator(certificates)] | None = None
    ttl: Annotated[int, Field(ge=1, le=86400)] = 300
    batch_size: Annotated[int, Field(ge=1, le=10000)] | None = None
    max_retries: Annotated[int, Field(ge=0, le=100)] | None = None
    retry_delays: Annotated[tuple[Delay, ...], Field(min_length=1, max_length=100)] | None = None
    on_unknown_outcome: OnUnknownOutcome = OnUnknownOutcome.RETRY
    limit_per_minute: Limit | None = None
    limit_per_hour: Limit | None = None
    limit_per_day: Limit | None = None
    limit_behavior: Literal["defer", "reject"] = "defer"
    is_pec_account: bool = False
    pec_address: MailAddress | None = None
    imap_host: Host | None = None
    imap_port: Annotated[int, Field(ge=1, le=65535)] = IMAPS_PORT
    imap_user: Line | None = None
    imap_password: Secret | None = None
    imap_folder: Folder = "INBOX"
    imap_ssl: bool | None = None


class AccountForm(AccountChange):
    id: Identifier
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]


class DeleteMessages(Form):
    ids: Annotated[list[str], Field(max_length=100_000)] = []


class Resolve(Form):
    resolution: Resolution = Field(alias="as")


class CleanupMessages(Form):
    older_than_seconds: Annotated[float, AfterValidator(lambda age: max(0.0, age))] | None = None


class TenantQuery(Form):
    tenant_id: str | None = None


class BatchQuery(TenantQuery):
    batch_code: BatchCode | None = None


class PageQuery(TenantQuery):
    limit: Annotated[int, Field(ge=1, le=500)] = 500
    cursor: str | None = None


class SyncQuery(Form):
    limit: Annotated[int, Field(ge=1, le=500)] = 500
    cursor: str | None = None


class TenantsQuery(SyncQuery):
    active_only: bool = False


class DeadLettersQuery(PageQuery):
    since: Moment | None = None
    until: Moment | None = None


class Letters(Form):
    """Which dead letters: those that meet everything that is given."""

    event_ids: Annotated[tuple[EventId, ...], Field(max_length=100_000)] | None = None
    since: Moment | None = None
    until: Moment | None = None


class MessagesQuery(TenantQuery):
    limit: Annotated[int, Field(ge=1, le=5000)] = 1000
    cursor: str | None = None
    active_only: bool = False
    status: State | None = None
    account_id: str | None = None
    batch_code: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    q: Annotated[str, Field(max_length=200)] | None = None
    newest_first: bool = False
    include_payload: bool = True
    include_history: bool = False


class ReadyQuery(Form):
    verbose: str | None = None

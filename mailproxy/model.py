"""The nouns: tenants, accounts, messages, events.

Times are Unix seconds (`Instant`, a float with microsecond precision) everywhere inside: the contract speaks
Unix seconds, and both databases convert at their own border. The database's clock is the authority.
"""

import json
import re
import uuid
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import NewType

from mailproxy.authorization import ClientAuth
from mailproxy.pieces import Stored

IMAPS_PORT = 993

Instant = float
Seconds = float

TenantPk = NewType("TenantPk", int)
AccountPk = NewType("AccountPk", int)
MessageId = NewType("MessageId", int)
Epoch = NewType("Epoch", int)


class Priority(IntEnum):
    IMMEDIATE = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3


class Status(IntEnum):
    """What is stored of a message's fate; while QUEUED, its queue row says the rest (see `State`)."""

    QUEUED = 0
    SENT = 1
    ERROR = 2
    UNKNOWN = 3
    CANCELLED = 4
    EXPIRED = 5


class State(StrEnum):
    """What a client sees: the stored status together with the queue row, account and suspensions."""

    PENDING = "pending"
    DEFERRED = "deferred"
    SENDING = "sending"
    SUSPENDED = "suspended"
    SENT = "sent"
    ERROR = "error"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class EventType(StrEnum):
    SENT = "sent"
    ERROR = "error"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"
    RETRY_AFTER_UNKNOWN = "retry_after_unknown"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    PEC_ACCEPTANCE = "pec_acceptance"
    PEC_RELAY = "pec_relay"
    PEC_DELIVERY = "pec_delivery"
    PEC_WARNING = "pec_warning"
    PEC_ERROR = "pec_error"
    PEC_TIMEOUT = "pec_timeout"


CERTIFIED = frozenset(kind for kind in EventType if kind.startswith("pec_"))


class OnUnknownOutcome(StrEnum):
    """What to do with a message whose hand-over may or may not have happened (RELIABILITY H8)."""

    RETRY = "retry"
    HOLD = "hold"


class Resolution(StrEnum):
    """What somebody decides about a message whose outcome stayed unknown."""

    SENT = "sent"
    RETRY = "retry"
    ERROR = "error"


class AccountCondition(StrEnum):
    OK = "ok"
    BACKING_OFF = "backing_off"
    BREAKER_OPEN = "breaker_open"


class TlsMode(StrEnum):
    """`use_tls` and the port, resolved (CONTRACT §4)."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class FetchMode(StrEnum):
    """Where an attachment's content comes from (CONTRACT §4)."""

    BASE64 = "base64"
    ENDPOINT = "endpoint"
    HTTP_URL = "http_url"
    FILESYSTEM = "filesystem"


@dataclass(frozen=True, slots=True)
class Source:
    """What has to be fetched: the client's `storage_path`, and the login it gave for this attachment alone.

    Of base64 the location is the SHA-256 of what came with the message and is in the store; only then is its `size`
    in octets known.
    """

    mode: FetchMode
    location: str
    auth: ClientAuth | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part of a message. `content` is decoded; with a `source` it is empty and has still to be fetched from there.

    `md5` (hexadecimal) is what the content has to have, if the client said.
    """

    filename: str
    content: bytes | Stored = field(repr=False)
    mime_type: str | None = None
    content_id: str | None = None
    inline: bool = False
    source: Source | None = None
    md5: str | None = None

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.size


@dataclass(frozen=True, slots=True)
class Content:
    """A message as its sender wrote it: header addresses may carry display names.

    `headers` are the client's own, in order. Exactly one of the bodies may be missing.
    """

    id: str
    sender: str
    to: tuple[str, ...]
    subject: str
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: str | None = None
    return_path: str | None = None
    message_id: str | None = None
    body_text: str | None = None
    body_html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class RefusedRecipient:
    """A recipient the server would not take, as reported (CONTRACT §5)."""

    address: str
    code: int
    enhanced: str | None
    text: str


@dataclass(frozen=True, slots=True)
class BouncedRecipient:
    """A recipient whose copy came back after it had been sent; `type` is hard or soft, `status` as in RFC 3463."""

    address: str
    type: str
    code: str | None
    status: str | None
    reason: str | None
    at: Instant
    verified: bool


@dataclass(frozen=True, slots=True)
class CertifiedDetail:
    """What a receipt of certified mail says, in the provider's words where it has a `type`, `error` and reason; `at`
    is its provider's time, `receipt` its number among those of the client's id."""

    type: str
    receipt: int
    signature: str
    at: Instant | None = None
    recipients: tuple[str, ...] = ()
    provider: str | None = None
    identifier: str | None = None
    error: str | None = None
    error_reason: str | None = None


@dataclass(frozen=True, slots=True)
class EventDetail:
    """What an event says besides its type; empty fields are left out of its JSON."""

    attempt: int | None = None
    error: str | None = None
    reason: str | None = None
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    deferred_until: Instant | None = None
    late: bool = False
    refused: tuple[RefusedRecipient, ...] = ()
    recipient: str | None = None
    bounce_type: str | None = None
    bounce_code: str | None = None
    bounce_reason: str | None = None
    verified: bool = False
    pec: CertifiedDetail | None = None

    def to_json(self) -> str:
        said = {k: v for k in self.__slots__ if (v := getattr(self, k)) not in (None, False, ())}
        if self.refused:
            said["refused"] = [asdict(one) for one in self.refused]
        if self.pec is not None:
            said["pec"] = {k: v for k, v in asdict(self.pec).items() if v not in (None, ())}
        return json.dumps(said)

    @classmethod
    def from_json(cls, text: str) -> "EventDetail":
        values = json.loads(text)
        values["refused"] = tuple(RefusedRecipient(**r) for r in values.get("refused", ()))
        if "pec" in values:
            receipt = values["pec"]
            values["pec"] = CertifiedDetail(**receipt | {"recipients": tuple(receipt.get("recipients", ()))})
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant's SMTP account with its secret opened; `version` grows with every change of the row.

    A host that the tenant set itself is connected to only where a tenant may point (egress.py).
    Without a login of its own the IMAP mailbox has that of the SMTP server; `imap_ssl` None: TLS from the start on
    port 993, else STARTTLS.
    """

    pk: AccountPk
    tenant_pk: TenantPk
    tenant_id: str
    id: str
    version: int
    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    use_tls: bool | None = None
    tls_verify: bool = True
    tls_ca: str | None = None
    ttl: Seconds = 300.0
    batch_size: int | None = None
    max_retries: int | None = None
    retry_delays: tuple[Seconds, ...] | None = None
    on_unknown_outcome: OnUnknownOutcome = OnUnknownOutcome.RETRY
    limit_behavior: str = "defer"
    host_set_by_tenant: bool = False
    is_pec_account: bool = False
    pec_address: str | None = None
    imap_host: str | None = None
    imap_port: int = IMAPS_PORT
    imap_user: str | None = None
    imap_password: str | None = field(default=None, repr=False)
    imap_folder: str = "INBOX"
    imap_ssl: bool | None = None
    imap_host_set_by_tenant: bool = False

    @property
    def tls_mode(self) -> TlsMode:
        if self.use_tls is False:
            return TlsMode.NONE
        if self.port == 465:
            return TlsMode.IMPLICIT
        return TlsMode.STARTTLS if self.use_tls else TlsMode.OPPORTUNISTIC


def public_pk(instance: int, message: MessageId) -> str:
    """The `pk` a client sees: a UUIDv8 (RFC 9562 §5.8) of the instance's 60 random bits and the row id.

    Globally unique without a column or an index of its own; `message_of` is its inverse.
    """
    high = (instance >> 12 & (1 << 48) - 1) << 16 | 0x8 << 12 | instance & 0xFFF
    return str(uuid.UUID(int=high << 64 | 0b10 << 62 | message & (1 << 62) - 1))


def message_of(instance: int, pk: str) -> MessageId | None:
    """The row id behind a `pk` made by this instance, or None for anything else."""
    try:
        value = uuid.UUID(pk).int
    except ValueError:
        return None
    message = MessageId(value & (1 << 62) - 1)
    return message if public_pk(instance, message) == pk.lower() else None


def sending_of(instance: int, header_id: str) -> tuple[MessageId, int] | None:
    """The message and its revision behind a Message-ID that this instance made, or None for anything else."""
    local, at, _ = header_id.strip().strip("<>").partition("@")
    pk, dot, revision = local.partition(".")
    message = message_of(instance, pk) if at else None
    if message is None or (dot and not re.fullmatch("[0-9]{1,9}", revision)):
        return None
    return message, int(revision or 0)

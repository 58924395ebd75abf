"""Mail that comes in: the mailboxes that are read, and what a mail from one tells of our messages."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypedDict

from mailproxy.instance import BounceSettings
from mailproxy.model import IMAPS_PORT, Account, AccountPk, Instant, MessageId, Seconds, TenantPk
from mailproxy.pec.reading import Proof


class Encryption(StrEnum):
    """IMPLICIT from the first octet on; STARTTLS required; IF_OFFERED only where somebody said so."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    IF_OFFERED = "if_offered"


class Disposal(StrEnum):
    """What happens to a mail that was read and understood."""

    KEEP = "keep"
    DELETE = "delete"
    SEEN = "seen"
    MOVE = "move"


class _Disposing(TypedDict):
    disposal: Disposal
    move_to: str | None


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox to be read. Without an account it is the instance's, whose mail may be about any tenant's messages.

    `guarded`: its host was set by a tenant. `strict`: only what carries our proof is applied.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    folder: str
    encryption: Encryption
    interval: Seconds
    disposal: Disposal
    move_to: str | None = None
    account_pk: AccountPk | None = None
    account_id: str | None = None
    tenant_pk: TenantPk | None = None
    tenant_id: str | None = None
    is_pec: bool = False
    guarded: bool = False
    strict: bool = False
    tls_verify: bool = True
    tls_ca: str | None = None

    @property
    def name(self) -> str:
        """For logs and metrics."""
        return "instance" if self.account_pk is None else f"{self.tenant_id}/{self.account_id}"

    @property
    def disposes(self) -> bool:
        return self.disposal is not Disposal.KEEP

    @property
    def place(self) -> str:
        """Where its UIDs count."""
        return f"{self.user}@{self.host}:{self.port}/{self.folder}"


def of_instance(settings: BounceSettings) -> Mailbox | None:
    """The instance's bounce mailbox, None while it is off or incomplete."""
    if not settings.enabled or settings.imap_host is None:
        return None
    return Mailbox(
        host=settings.imap_host,
        port=settings.imap_port,
        user=settings.imap_user or "",
        password=settings.imap_password or "",
        folder=settings.imap_folder,
        encryption=_encryption(settings.imap_ssl, settings.imap_port),
        interval=settings.poll_interval,
        strict=settings.strict,
        **_disposal(settings.processed),
    )


def of_account(account: Account, settings: BounceSettings) -> Mailbox:
    """An account's mailbox; one of certified mail is an archive that nothing leaves (CONTRACT §7)."""
    assert account.imap_host is not None
    own_login = account.imap_user is not None
    processed = "keep" if account.is_pec_account else settings.processed
    return Mailbox(
        host=account.imap_host,
        port=account.imap_port,
        user=(account.imap_user if own_login else account.user) or "",
        password=(account.password if account.imap_password is None else account.imap_password) or "",
        folder=account.imap_folder,
        encryption=_encryption(account.imap_ssl, account.imap_port),
        interval=settings.poll_interval,
        account_pk=account.pk,
        account_id=account.id,
        tenant_pk=account.tenant_pk,
        tenant_id=account.tenant_id,
        is_pec=account.is_pec_account,
        guarded=account.imap_host_set_by_tenant,
        strict=settings.strict,
        tls_verify=account.tls_verify,
        tls_ca=account.tls_ca,
        **_disposal(processed),
    )


def _encryption(ssl: bool | None, port: int) -> Encryption:
    if ssl is False:
        return Encryption.IF_OFFERED
    return Encryption.IMPLICIT if ssl or port == IMAPS_PORT else Encryption.STARTTLS


def _disposal(processed: str) -> _Disposing:
    word, _, folder = processed.partition(":")
    return {"disposal": Disposal(word), "move_to": folder or None}


@dataclass(frozen=True, slots=True)
class Ours:
    """By what we know a message as ours: the instance's bits, and the key of its proofs."""

    instance: int
    proof_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Leased:
    """A mailbox that this process alone reads until its lease ends; `fails` in a row so far."""

    pk: int
    mailbox: Mailbox
    fails: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail as it lies in its mailbox; `fingerprint` is the SHA-256 of its octets."""

    uidvalidity: int
    uid: int
    fingerprint: bytes
    octets: bytes = field(repr=False)


class Told(StrEnum):
    """What a mail tells of a recipient."""

    FAILED = "failed"
    DELAYED = "delayed"
    REACHED = "reached"
    COMPLAINED = "complained"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient, who is known by any of `addresses`.

    `type` is hard or soft; `code` the digits of the enhanced status, else the SMTP code; `address_is_dead`: it will
    never take mail.
    """

    told: Told
    addresses: tuple[str, ...]
    type: str | None = None
    code: str | None = None
    status: str | None = None
    reason: str | None = None
    address_is_dead: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """A bounce, a delay or a complaint: of which message, and what it says of whom.

    `is_status`: a server speaks of what it did with the message, so it has accepted it.
    """

    kind: str
    fates: tuple[Fate, ...]
    client_id: str | None = None
    header_id: str | None = None
    proofs: tuple[str, ...] = ()
    is_status: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """Mail that tells nothing of a message: `auto-reply`, or `none` for mail that is no answer at all."""

    kind: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    reason: str


Effects = Returned | Proof | Nothing | Unreadable


class Verdict(StrEnum):
    """What was done about a mail. EARLY ones are tried again; REPEATED ones had their effect before."""

    APPLIED = "applied"
    IGNORED = "ignored"
    UNMATCHED = "unmatched"
    UNPROVEN = "unproven"
    EARLY = "early"
    QUARANTINED = "quarantined"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class TakenIn:
    """How a mail was taken in; `counts` are the types to count it under, `message` the one it is about.

    An EARLY one is tried again for `parked_for` seconds at most.
    """

    verdict: Verdict
    counts: tuple[str, ...] = ()
    message: MessageId | None = None
    parked_for: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Parked:
    """A mail that came too early; its octets are None until it is to be tried again."""

    pk: int
    octets: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A mail that could not be read, and stayed in its mailbox; without `account_id` in the instance's. `header` is
    what there was of it, up to its body."""

    number: int
    tenant_id: str | None
    account_id: str | None
    uidvalidity: int
    uid: int
    reason: str
    at: Instant
    header: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Health:
    """How the reading of a mailbox stands; `account_pk` None: the instance's."""

    account_pk: AccountPk | None
    checked_at: Instant | None
    fails: int
    failure: str | None
    failing_since: Instant | None
    next_try_at: Instant | None
    quarantined: int
    last_uid: int

"""The port: what the rest of the service asks of storage. Nothing else talks to a database.

Each method is one transaction and one commit. All raise `StorageUnavailable` when the database cannot be
reached, is read-only or full, and `CommitUnknown` when a commit's answer was lost.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Protocol

from mailproxy.attachments.large_file import LargeFiles
from mailproxy.audit import Command, CommandFilter, Entry, Pending
from mailproxy.evidence import Evidence
from mailproxy.figures import AccountGauge, Overview, ProcessView, QueueDepth, SyncStanding, Totals
from mailproxy.instance import Stored
from mailproxy.looks import FROM_START, Bounds, Look
from mailproxy.model import (
    Account,
    AccountCondition,
    AccountPk,
    Epoch,
    Instant,
    MessageId,
    Resolution,
    Seconds,
    State,
    TenantPk,
)
from mailproxy.once import Kept, Once, Ticket
from mailproxy.records import (
    AccountView,
    AccountWrite,
    Admission,
    Claim,
    Claimed,
    Deleted,
    DueAccounts,
    Enqueued,
    EventView,
    Finish,
    MessageFilter,
    MessageView,
    NewMessage,
    Recovered,
    Release,
    Rest,
    Settled,
    Suspensions,
    Taken,
    Tenant,
    TenantWrite,
)
from mailproxy.reports import CallSettled, Report, TenantCall
from mailproxy.store_certified import CertifiedMail
from mailproxy.store_contents import Contents
from mailproxy.store_dead_letters import DeadLetters
from mailproxy.store_inbound import Inbound
from mailproxy.suppressions import Cause, NewSuppression, Suppression, SuppressionFilter
from mailproxy.tokens import Principal


class Queue(Protocol):
    async def enqueue(self, batches: Mapping[TenantPk, Sequence[NewMessage]]) -> list[Enqueued]:
        """One answer an item, in the batches' order; of equal ids of a tenant the last item counts."""

    async def enqueue_once(
        self, batches: Mapping[TenantPk, Sequence[NewMessage]], once: Once[Sequence[Enqueued]]
    ) -> list[Enqueued] | Kept | None:
        """`enqueue`, with its answer kept in the same transaction. Kept: what a call under this key was answered
        before; None: another such call is under way."""

    async def kept_answer(self, ticket: Ticket) -> Kept | None:
        """What a call under this key was answered in the last `once.KEPT_FOR` seconds, whatever it sent."""

    async def forget_answers(self, *, limit: int) -> int:
        """Remove answers kept long enough; at most `limit`."""

    async def queued(self, tenant: TenantPk, at_most: int) -> int:
        """How many of the tenant's messages wait, counting no further than `at_most`."""

    async def due_accounts(self, node: str, slots: int, newer_than: Seconds = inf) -> DueAccounts:
        """Of rows that fell due longer ago than that nothing is said."""

    async def take_lease(
        self, account: AccountPk, slot: int, *, epoch: Epoch, ttl: Seconds, succeeds: Sequence[str] = ()
    ) -> Taken | None:
        """Take a free or expired lease, or one whose owner our supervisor reaped (`succeeds`)."""

    async def renew_leases(
        self, epoch: Epoch, accounts: Sequence[AccountPk], ttl: Seconds
    ) -> frozenset[tuple[AccountPk, int]]:
        """Renew all that are still ours; an expired lease is never renewed."""

    async def release_leases(self, epoch: Epoch, account: tuple[AccountPk, int] | None = None) -> None:
        """Give back one lease, or all. It only ends where claimed rows are left, so that somebody comes to look."""

    async def recover(
        self, account: AccountPk, *, epoch: Epoch, node: str, foreign_grace: Seconds, poison_after: int
    ) -> Recovered:
        """Adopt what dead epochs hold of the account: claimed rows at once; authorised rows at once when
        their process ran on `node` (its journal was replayed), else `foreign_grace` seconds after its end."""

    async def unclaim(self, account: AccountPk, epoch: Epoch, known: Sequence[MessageId]) -> int:
        """Free what this epoch claimed without knowing it, because the answer of a claim was lost."""

    async def suspect_alone(self, epoch: Epoch, message: MessageId, alone: bool) -> None:
        """Mark a suspect as being prepared alone: a death from now on counts against it. False clears it."""

    async def claim(
        self, account: AccountPk, slot: int, *, epoch: Epoch, limit: int, since: Bounds = FROM_START
    ) -> Claim:
        """Of rows that fell due before `since` none is claimed, and nothing is said."""

    async def look(self, account: AccountPk) -> Look:
        """What of the account nobody has claimed, looked for from the start; nothing is locked by it."""

    async def payload(self, message: MessageId) -> str | None:
        """The payload of a claimed message with its attachments' logins, which claims hide; None when it is gone."""

    async def remember_fetched(
        self, epoch: Epoch, message: Claimed, hashes: Sequence[str | None]
    ) -> Sequence[str | None] | None:
        """What every attempt's attachments must hash to: what was told first. None when the claim is lost."""

    async def intend(
        self, epoch: Epoch, messages: Sequence[MessageId], *, limited: bool = False
    ) -> frozenset[MessageId]:
        """Record durably that a dot may be sent; only the returned ids may get one, and within `limits.SLACK`.

        `limited`: a claim said that rate limits apply, so a slot that has turned is charged again.
        """

    async def settle(
        self, epoch: Epoch, finishes: Sequence[Finish], releases: Sequence[Release] = ()
    ) -> Settled: ...

    async def back_off(
        self, account: AccountPk, *, condition: AccountCondition, reason: str, cause: str, delay: Seconds
    ) -> Rest:
        """Rest the account for `delay` seconds (for ever with an open breaker)."""

    async def account_works(self, account: AccountPk) -> bool:
        """A login or delivery succeeded: forget failures; whether there were any."""


class Reports(Protocol):
    async def claim_tenants(
        self, epoch: Epoch, *, limit: int, ttl: Seconds, interval: Seconds, fallback: bool
    ) -> list[TenantCall]:
        """Lease tenants that are due: events waiting and not backing off, poked by run-now, or idle for
        `interval` seconds and not muted. `fallback`: tenants without a URL are called too."""

    async def renew_calls(self, epoch: Epoch, tenants: Sequence[TenantPk], ttl: Seconds) -> None:
        """Keep these tenants leased while their calls last; the lease of one whose end was not settled runs out."""

    async def free_calls(self, owners: Sequence[str]) -> None:
        """Take from reporters that are known to be dead what they had leased."""

    async def next_call_in(self, interval: Seconds, *, fallback: bool) -> Seconds | None: ...

    async def standings(self, *, after: str | None, limit: int) -> list[SyncStanding]:
        """A page of tenants by id, with how the calls to each stand."""

    async def pending(self, tenant: TenantPk, limit: int) -> list[Report]: ...

    async def latest_event(self) -> int:
        """The highest number of an event so far."""

    async def events_after(
        self, after: int, missed: Sequence[int], *, limit: int
    ) -> list[tuple[str, Report]]:
        """The next `limit` events after a number, and those of `missed` that are there now, each with its tenant's
        id. Numbers are given before the commit: a lower one may appear after a higher one."""

    async def acknowledge(self, tenant: TenantPk, epoch: Epoch, events: Sequence[int]) -> int: ...

    async def settle_call(self, tenant: TenantPk, epoch: Epoch, settled: CallSettled) -> None:
        """End the lease of `claim_tenants`."""

    async def poke(self, tenant: TenantPk | None, *, held: bool = True) -> None:
        """run-now: call the tenant (or every one) at once, muted or not; `held`: also with what waits by itself."""


class Directory(Protocol):
    async def principal(self, token_hash: bytes) -> Principal | None:
        """Whose unexpired, unrevoked key of an active tenant this is."""

    async def put_tenant(self, tenant: TenantWrite, key_hash: bytes | None, key_id: str | None) -> bool:
        """Upsert; the key is stored only for a new tenant. Returns whether it is new."""

    async def tenant(self, tenant_id: str) -> Tenant | None: ...
    async def tenants(self, *, active_only: bool, after: str | None, limit: int) -> list[Tenant]: ...
    async def delete_tenant(self, tenant_id: str) -> bool: ...
    async def put_key(
        self,
        tenant_id: str,
        key_hash: bytes,
        key_id: str,
        *,
        expires_at: Instant | None,
        keep_previous: Seconds,
    ) -> bool:
        """Make this the tenant's active key; the former one ends after `keep_previous` seconds."""

    async def revoke_keys(self, tenant_id: str) -> bool: ...
    async def put_account(self, tenant: TenantPk, account: AccountWrite) -> AccountPk: ...
    async def account(self, tenant: TenantPk, account_id: str) -> AccountView | None: ...
    async def accounts(self, tenant: TenantPk, *, after: str | None, limit: int) -> list[AccountView]: ...
    async def admission(self, tenant: TenantPk) -> Admission: ...
    async def account_ids(self, tenant: TenantPk) -> dict[str, AccountPk]: ...
    async def tenants_of_account(self, account_id: str) -> list[str]: ...
    async def sending_account(self, account: AccountPk) -> Account | None: ...
    async def delete_account(self, tenant: TenantPk, account_id: str) -> bool:
        """With its messages; raises Conflict while one of them has an intent."""

    async def reset_account(self, tenant: TenantPk, account_id: str) -> bool: ...
    async def suspend(self, tenant: TenantPk | None, batch_code: str | None) -> Suspensions:
        """After this returns, no new intent of the tenant (of that batch; of anybody with None) commits."""

    async def activate(self, tenant: TenantPk | None, batch_code: str | None) -> Suspensions | None:
        """None: a single batch cannot be activated out of a full suspension."""

    async def messages(
        self, tenant: TenantPk | None, wanted: MessageFilter, *, after: MessageId | None, limit: int
    ) -> list[MessageView]:
        """`after` is the id of the last message of the previous page."""

    async def message(self, tenant: TenantPk, client_id: str) -> MessageView | None: ...
    async def events(self, tenant: TenantPk, client_id: str) -> list[EventView] | None: ...
    async def history(self, messages: Sequence[MessageId]) -> dict[MessageId, list[EventView]]:
        """The events of those of the messages that have any."""

    async def delete_messages(self, tenant: TenantPk, client_ids: Sequence[str]) -> Deleted: ...
    async def cancel(self, tenant: TenantPk, client_id: str) -> State | None:
        """CANCELLED when it worked, else the state it is in; None when there is no such message."""

    async def resolve(
        self, tenant: TenantPk, client_id: str, resolution: Resolution, *, max_age: Seconds
    ) -> State | None:
        """UNKNOWN when the decision was taken, else the state it is in; None when there is no such message.

        To be sent again it gets `max_age` seconds, a fresh count of attempts, and a new revision: what comes
        late of the attempt in doubt no longer counts.
        """

    async def cleanup(self, tenant: TenantPk | None, older_than: Seconds, *, limit: int) -> int:
        """Remove messages that ended, and were reported if anybody is told, more than `older_than` seconds ago;
        at most `limit`, so call again."""

    async def expire(self, *, limit: int) -> int:
        """Waiting messages past their age become `expired`; at most `limit`."""


class Suppressions(Protocol):
    """Addresses are normalised (`suppressions.normalised`); entries past their time count as none."""

    async def listed(
        self, tenant: TenantPk, wanted: SuppressionFilter, *, after: str, limit: int
    ) -> list[Suppression]:
        """`after` is the last address of the previous page."""

    async def among(self, tenant: TenantPk, addresses: Iterable[str]) -> dict[str, Cause]: ...
    async def add(self, tenant: TenantPk, entries: Sequence[NewSuppression]) -> int:
        """Enter them, or say anew why and for how long; how many are new."""

    async def remove(self, tenant: TenantPk, address: str) -> bool: ...
    async def forget(self, *, limit: int) -> int:
        """Remove entries past their time; at most `limit`, so call again."""


class Fleet(Protocol):
    async def register(self, owner: str, node: str, role: str) -> Epoch:
        """Enter a process; its epoch is unique for ever and greater than all before."""

    async def beat(self, epoch: Epoch) -> bool:
        """False when the process has been declared dead and removed."""

    async def leave(self, epoch: Epoch) -> None: ...
    async def processes(self) -> list[ProcessView]: ...
    async def forget_dead(self, silent: Seconds) -> int: ...
    async def check(self) -> None:
        """Raise StorageUnavailable unless a small write commits."""

    async def lacking_schema(self) -> str | None:
        """What the schema lacks of this release's: a backup of an older one may have been restored under it."""

    async def instance(self) -> int:
        """The instance's 60 random bits, made at the first migration (see `model.public_pk`)."""

    async def overview(self, tenant: TenantPk | None = None) -> Overview:
        """`tenant`: with the figures of the queue for its messages alone."""

    async def totals(self) -> Totals: ...
    async def canary(self) -> bytes | None: ...
    async def put_canary(self, sealed: bytes) -> bool: ...
    async def depths(self) -> list[QueueDepth]: ...
    async def account_gauges(self) -> list[AccountGauge]: ...


class Upkeep(Protocol):
    """What operators ask and do at a command line."""

    async def clock_ahead(self) -> Seconds:
        """How far the database's clock is ahead of this machine's."""

    async def evidence(self, tenant: TenantPk, client_id: str) -> Evidence | None:
        """All that may keep a message from going, on one snapshot; None when there is no such message."""

    async def tidy(self) -> None:
        """Keep the queue's table small where the database leaves dead rows in it."""

    async def known(self, tenant: TenantPk, client_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids that the tenant has messages of."""

    async def seals(self) -> dict[str, int]:
        """How many secrets each key seals, by key id; the canary counts as one."""

    async def reseal(self) -> int:
        """Seal with the ring's first key what others seal; how many values that were. Safe to interrupt."""


class Administration(Protocol):
    async def instance(self) -> Stored:
        """What was set over the API; `instance.bounce` completes it."""

    async def proof_key(self) -> bytes:
        """The instance's secret behind the proofs on its messages (`proof.py`), made when first asked for."""

    async def change_instance(self, changes: Mapping[str, object], password: str | None) -> None:
        """Set these values, and the password of the bounce mailbox unless None; an empty one ends it."""

    async def note(self, command: Command) -> None:
        """Enter a command that wrote nothing; not waited for, so a crash may lose it."""

    async def correct(self, entry: int, status: int) -> None:
        """Say how a command ended that was entered with its first write."""

    async def newest_commands(
        self, wanted: CommandFilter, *, before: int | None, limit: int
    ) -> list[Entry]: ...
    async def oldest_commands(
        self, wanted: CommandFilter, *, after: int | None, limit: int
    ) -> list[Entry]: ...
    async def forget_commands(self, older_than: Seconds, *, limit: int) -> int:
        """Remove entries older than that; at most `limit`, so call again."""


class Wakeups(Protocol):
    """A hint that may be lost: something was enqueued, resumed or poked."""

    async def announce(self, topic: str = "queue") -> None:
        """Coalesced: the leading edge at once, then at most one per 100 ms. Never raises."""

    def listen(self) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Topics as they come (`queue`, `reports`, `bounces`); ends never, misses while the connection is down."""

    async def aclose(self) -> None: ...


class Store(Protocol):
    """An open store. Close it with `aclose`."""

    def noting(self, pending: Pending) -> "Store":
        """The same store for one command: its first write enters the command into the log, too."""

    @property
    def queue(self) -> Queue: ...
    @property
    def contents(self) -> Contents: ...
    @property
    def reports(self) -> Reports: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def suppressions(self) -> Suppressions: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def large_files(self) -> LargeFiles: ...
    @property
    def upkeep(self) -> Upkeep: ...
    @property
    def inbound(self) -> Inbound: ...
    @property
    def certified(self) -> CertifiedMail: ...
    @property
    def administration(self) -> Administration: ...
    @property
    def wakeups(self) -> Wakeups: ...
    async def aclose(self) -> None: ...

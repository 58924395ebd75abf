"""Mailboxes and their readers' leases; a mail with its effects and its UID in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailproxy import log
from mailproxy.inbound import (
    Arrival,
    Effects,
    Health,
    Leased,
    Mailbox,
    Nothing,
    Ours,
    Parked,
    Returned,
    SetAside,
    TakenIn,
    Unreadable,
    Verdict,
    of_account,
)
from mailproxy.instance import BounceSettings
from mailproxy.model import AccountPk, Epoch, Seconds
from mailproxy.pec.reading import Proof
from mailproxy.vault import Vault, VaultError
from sql import certified, returned, rows
from sql.engine import Engine, Work, one
from sql.queries import Step

HEADER_KEPT = 64 << 10
PAUSE: Seconds = 5.0
LONGEST_PAUSE: Seconds = 60.0

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class SqlInbound:
    engine: Engine
    vault: Vault
    fallback: bool

    async def account_mailboxes(
        self,
        settings: BounceSettings,
        *,
        held: Sequence[AccountPk],
        succeeds: Sequence[str] = (),
        asked: bool = False,
        limit: int,
    ) -> list[Mailbox]:
        params = {"held": list(held), "succeeds": list(succeeds), "asked": asked, "limit": limit}
        found = await self.engine.read(lambda: one("account_mailboxes", **params))
        mailboxes = []
        for row in found:
            try:
                mailboxes.append(of_account(rows.account(self.vault, row), settings))
            except VaultError as error:
                _log.error("mailbox_not_opened", account=row[3], tenant=row[2], error=error.detail)
        return mailboxes

    async def lease(
        self,
        mailbox: Mailbox,
        *,
        epoch: Epoch,
        ttl: Seconds,
        succeeds: Sequence[str] = (),
        asked: bool = False,
    ) -> Leased | None:
        whose = {"account": mailbox.account_pk, "place": mailbox.place, "epoch": epoch, "ttl": ttl}
        found = await self.engine.write(
            lambda: one("lease_mailbox", **whose, succeeds=list(succeeds), asked=asked)
        )
        return Leased(found[0][0], mailbox, found[0][1]) if found else None

    async def renew(self, epoch: Epoch, mailboxes: Sequence[int], ttl: Seconds) -> frozenset[int]:
        wanted = list(mailboxes)
        kept = await self.engine.write_soon(
            lambda: one("renew_mailboxes", epoch=epoch, mailboxes=wanted, ttl=ttl)
        )
        return frozenset(pk for (pk,) in kept)

    async def settle(self, leased: Leased, epoch: Epoch, *, failure: str | None, wait: Seconds) -> None:
        await self.engine.write(
            lambda: one("mailbox_settled", mailbox=leased.pk, epoch=epoch, failure=failure, wait=wait)
        )

    async def leave(self, leased: Leased, epoch: Epoch) -> None:
        await self.engine.write(lambda: one("mailbox_left", mailbox=leased.pk, epoch=epoch))

    async def checked(self, leased: Leased, epoch: Epoch) -> bool:
        return bool(
            await self.engine.write_soon(lambda: one("mailbox_checked", mailbox=leased.pk, epoch=epoch))
        )

    async def opened(self, leased: Leased, epoch: Epoch, uidvalidity: int) -> int | None:
        found = await self.engine.write(
            lambda: one("open_folder", mailbox=leased.pk, epoch=epoch, uidvalidity=uidvalidity)
        )
        return int(found[0][0]) if found else None

    async def undisposed(self, leased: Leased, limit: int) -> list[int]:
        found = await self.engine.read(lambda: one("undisposed", mailbox=leased.pk, limit=limit))
        return [uid for (uid,) in found]

    async def disposed(self, leased: Leased, uidvalidity: int, uids: Sequence[int]) -> None:
        gone = list(uids)
        await self.engine.write(
            lambda: one("disposed", mailbox=leased.pk, uidvalidity=uidvalidity, uids=gone)
        )

    async def take(
        self, leased: Leased, epoch: Epoch, arrival: Arrival, effects: Effects, ours: Ours
    ) -> TakenIn | None:
        return await self.engine.write(lambda: self._take(leased, epoch, arrival, effects, ours))

    def _take(
        self, leased: Leased, epoch: Epoch, arrival: Arrival, effects: Effects, ours: Ours
    ) -> Work[TakenIn | None]:
        where = _where(leased, arrival)
        (held,) = yield (Step("mailbox_held", where | {"epoch": epoch}),)
        if not held:
            return None
        (fresh,) = yield (Step("see", where),)
        if fresh:
            taken = yield from self._applied(leased, effects, ours)
            yield tuple(_entered(leased, arrival, effects, taken))
        else:
            taken = TakenIn(Verdict.REPEATED)
            yield (Step("see_again", where),)
        yield (Step("advance", where),)
        return taken

    def _applied(self, leased: Leased, effects: Effects, ours: Ours) -> Work[TakenIn]:
        """What a mail does to messages. The one place that tells its kinds apart."""
        match effects:
            case Returned():
                return (yield from returned.apply(leased.mailbox, effects, ours, self.fallback))
            case Proof():
                return (yield from certified.apply(leased.mailbox, effects, ours, self.fallback))
            case Nothing(kind):
                return TakenIn(Verdict.IGNORED, (kind,))
            case Unreadable():
                return TakenIn(Verdict.QUARANTINED, ("quarantined",))

    async def quarantine(self, leased: Leased, epoch: Epoch, arrival: Arrival, reason: str) -> TakenIn | None:
        return await self.engine.write(lambda: _quarantine(leased, epoch, arrival, reason))

    async def skip(self, leased: Leased, epoch: Epoch, uidvalidity: int, uid: int) -> bool:
        where: dict[str, object] = {"mailbox": leased.pk, "uidvalidity": uidvalidity, "uid": uid}
        return await self.engine.write(lambda: _skip(where, epoch))

    async def stuck(self, leased: Leased, epoch: Epoch, uid: int) -> int | None:
        found = await self.engine.write(lambda: one("stuck", mailbox=leased.pk, epoch=epoch, uid=uid))
        return int(found[0][0]) if found else None

    async def parked(self, leased: Leased) -> Parked | None:
        found = await self.engine.read(lambda: one("next_parked", mailbox=leased.pk))
        return Parked(*found[0]) if found else None

    async def retry(
        self, leased: Leased, epoch: Epoch, parked: Parked, effects: Effects, ours: Ours
    ) -> TakenIn | None:
        return await self.engine.write(lambda: self._retry(leased, epoch, parked, effects, ours))

    def _retry(
        self, leased: Leased, epoch: Epoch, parked: Parked, effects: Effects, ours: Ours
    ) -> Work[TakenIn | None]:
        whose = {"parked": parked.pk, "epoch": epoch}
        (held,) = yield (Step("parked_held", whose),)
        if not held:
            return None
        ((fingerprint, uidvalidity, uid, left),) = held
        taken = yield from self._applied(leased, effects, ours)
        if left > 0 and taken.verdict in (Verdict.EARLY, Verdict.QUARANTINED):
            yield (Step("park_again", whose | {"wait": _pause(taken.parked_for - left)}),)
            return TakenIn(Verdict.EARLY, message=taken.message, parked_for=taken.parked_for)
        if taken.verdict is Verdict.EARLY:
            taken = TakenIn(Verdict.UNMATCHED, ("unmatched",))
        arrival = Arrival(uidvalidity, uid, bytes(fingerprint), parked.octets or b"")
        yield (Step("unpark", whose), *_entered(leased, arrival, effects, taken))
        return taken

    async def health(self, account: AccountPk | None) -> Health | None:
        found = await self.engine.read(lambda: one("mailbox_health", account=account or 0))
        return Health(*found[0]) if found else None

    async def failing(self) -> int:
        ((failing,),) = await self.engine.read(lambda: one("failing_mailboxes"))
        return int(failing)

    async def forget_seen(self, older_than: Seconds, *, limit: int) -> int:
        return len(await self.engine.write(lambda: one("forget_seen", older_than=older_than, limit=limit)))

    async def quarantined(self, tenant_id: str | None, *, before: int | None, limit: int) -> list[SetAside]:
        which = {"tenant_id": tenant_id, "before": before, "limit": limit}
        found = await self.engine.read(lambda: one("quarantined", **which))
        return [SetAside(*row) for row in found]

    async def forget_quarantined(self, older_than: Seconds, *, limit: int) -> int:
        gone = await self.engine.write(lambda: one("forget_quarantined", older_than=older_than, limit=limit))
        return len(gone)


def _pause(age: Seconds) -> Seconds:
    """Ever less often, as what did not come at once may take long; an unknown age is below zero."""
    return LONGEST_PAUSE if age < 0 else min(max(PAUSE, age / 4), LONGEST_PAUSE)


def _where(leased: Leased, arrival: Arrival) -> dict[str, object]:
    return {
        "mailbox": leased.pk,
        "fingerprint": arrival.fingerprint,
        "uidvalidity": arrival.uidvalidity,
        "uid": arrival.uid,
    }


def _entered(leased: Leased, arrival: Arrival, effects: Effects, taken: TakenIn) -> list[Step]:
    steps = [_seen_as(leased, arrival.fingerprint, effects, taken)]
    if isinstance(effects, Unreadable):
        steps.append(_quarantined(leased, arrival, effects.reason))
    if taken.verdict is Verdict.EARLY:
        kept = {"octets": arrival.octets, "wait": PAUSE, "most": taken.parked_for}
        steps.append(Step("park", _where(leased, arrival) | kept))
    return steps


def _seen_as(leased: Leased, fingerprint: bytes, effects: Effects, taken: TakenIn) -> Step:
    return Step(
        "seen_as",
        {
            "mailbox": leased.pk,
            "fingerprint": fingerprint,
            "verdict": str(taken.verdict),
            "message": taken.message,
            "disposable": leased.mailbox.disposes and _is_done_with(leased.mailbox, effects, taken),
        },
    )


def _is_done_with(mailbox: Mailbox, effects: Effects, taken: TakenIn) -> bool:
    """Whether nobody needs the mail any more. Somebody may read in an account's mailbox: there only what is about a
    message of ours."""
    if taken.verdict in (Verdict.EARLY, Verdict.QUARANTINED):
        return False
    if mailbox.account_pk is not None:
        return taken.message is not None
    return isinstance(effects, Returned) or effects == Nothing("auto-reply")


def _quarantined(leased: Leased, arrival: Arrival, reason: str) -> Step:
    kept = {"reason": reason[:500], "octets": arrival.octets.partition(b"\r\n\r\n")[0][:HEADER_KEPT]}
    return Step("quarantine", _where(leased, arrival) | kept)


def _quarantine(leased: Leased, epoch: Epoch, arrival: Arrival, reason: str) -> Work[TakenIn | None]:
    where = _where(leased, arrival)
    (held,) = yield (Step("mailbox_held", where | {"epoch": epoch}),)
    if not held:
        return None
    yield (_quarantined(leased, arrival, reason), Step("advance", where))
    return TakenIn(Verdict.QUARANTINED, ("quarantined",))


def _skip(where: dict[str, object], epoch: Epoch) -> Work[bool]:
    (held,) = yield (Step("mailbox_held", where | {"epoch": epoch}),)
    if held:
        yield (Step("advance", where),)
    return bool(held)

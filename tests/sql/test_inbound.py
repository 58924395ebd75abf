"""A mail's effects on both databases: once, in one transaction, and only by the reader that holds the mailbox."""

import hashlib
from dataclasses import dataclass, replace
from itertools import count

import pytest

from mailproxy import payload
from mailproxy.attribution import MOST_CANDIDATES
from mailproxy.inbound import (
    Arrival,
    Disposal,
    Effects,
    Encryption,
    Fate,
    Leased,
    Mailbox,
    Nothing,
    Ours,
    Parked,
    Returned,
    TakenIn,
    Told,
    Unreadable,
    Verdict,
)
from mailproxy.model import Epoch, EventType, MessageId, Resolution, State, public_pk
from mailproxy.proof import token_of
from mailproxy.records import RecipientOutcome
from tests.sql.conftest import Sender, Sql, World, back, sent, unknown
from tests.sql.conftest import failed as refused

BOX = Mailbox("127.0.0.1", 993, "u", "p", "INBOX", Encryption.IMPLICIT, 60.0, Disposal.DELETE)


def failed(address: str, code: str = "511", type_: str = "hard") -> Fate:
    return Fate(Told.FAILED, (address,), type_, code, ".".join(code), "no such user")


def bounce(*fates: Fate, **changes: object) -> Returned:
    return replace(Returned("bounce", fates, is_status=True), **changes)  # type: ignore[arg-type]


@dataclass
class Reader:
    """A process that reads the instance's mailbox, or another."""

    world: World
    epoch: Epoch
    ours: Ours
    leased: Leased
    uids: count

    async def take(self, effects: Effects, uid: int | None = None, octets: bytes = b"") -> TakenIn | None:
        number = uid or next(self.uids)
        octets = octets or f"mail {number}".encode()
        arrival = Arrival(7, number, hashlib.sha256(octets).digest(), octets)
        return await self.world.store.inbound.take(self.leased, self.epoch, arrival, effects, self.ours)

    def token(self, message: int) -> str:
        return token_of(self.ours.proof_key, public_pk(self.ours.instance, message), message)


async def reader(world: World, owner: str = "imap", box: Mailbox = BOX, **how: object) -> Reader:
    store = world.store
    epoch = await world.process(owner, role="imap")
    ours = Ours(await store.fleet.instance(), await store.administration.proof_key())
    leased = await store.inbound.lease(box, epoch=epoch, ttl=600.0, **how)  # type: ignore[arg-type]
    assert leased is not None
    assert await store.inbound.opened(leased, epoch, 7) == 0
    return Reader(world, epoch, ours, leased, count(1))


def is_postgres(world: World) -> bool:
    return type(world.store.engine).__name__ == "PostgresEngine"


def letter(id_: str, *to: str) -> str:
    return payload.encode({"id": id_, "from": "a@example.org", "to": list(to), "subject": "s", "body": "b"})


async def sent_message(world: World, id_: str, *to: str, **changes: object) -> int:
    (message,) = await world.post(id_, payload=letter(id_, *to), **changes)
    sender = await world.sender(f"sender-{id_}", slot=message)
    (claimed,) = await sender.authorised()
    await sender.settle(sent(claimed))
    return message


async def test_a_proven_bounce_marks_its_recipient_and_is_reported(world: World) -> None:
    message = await sent_message(world, "m1", "bob@example.com", "eve@example.com")
    imap = await reader(world)
    effects = bounce(failed("EVE@example.com"), proofs=(imap.token(message),))
    assert await imap.take(effects) == TakenIn(Verdict.APPLIED, ("hard",), MessageId(message))
    events = await world.store.directory.events(world.tenant, "m1")
    assert events is not None
    assert [e.event_type for e in events] == [EventType.SENT, EventType.BOUNCE]
    detail = events[1].detail
    assert (detail.recipient, detail.bounce_type, detail.bounce_code) == ("eve@example.com", "hard", "511")
    assert detail.verified
    assert not events[1].reported
    view = await world.store.directory.message(world.tenant, "m1")
    assert view is not None
    assert (view.state, view.refused) == (State.SENT, ())


async def test_one_mail_has_one_effect(world: World) -> None:
    message = await sent_message(world, "m1", "bob@example.com")
    imap = await reader(world)
    effects = bounce(failed("bob@example.com"), proofs=(imap.token(message),))
    assert await imap.take(effects, octets=b"same") is not None
    assert await imap.take(effects, octets=b"same") == TakenIn(Verdict.REPEATED)
    assert await imap.take(effects, octets=b"other") == TakenIn(
        Verdict.IGNORED, ("hard",), MessageId(message)
    )
    assert await world.events("m1") == [EventType.SENT, EventType.BOUNCE]


async def test_a_graver_failure_is_told_and_a_milder_one_is_not(world: World) -> None:
    message = await sent_message(world, "m1", "bob@example.com")
    imap = await reader(world)
    for code, type_ in (("422", "soft"), ("511", "hard"), ("422", "soft")):
        await imap.take(bounce(failed("bob@example.com", code, type_), proofs=(imap.token(message),)))
    assert await world.events("m1") == [EventType.SENT, EventType.BOUNCE, EventType.BOUNCE]
    view = await world.store.directory.message(world.tenant, "m1")
    assert view is not None
    assert [(one.type, one.code) for one in view.bounced] == [("hard", "511")]


@pytest.mark.parametrize(("strict", "verdict"), [(False, Verdict.APPLIED), (True, Verdict.UNPROVEN)])
async def test_a_bounce_without_proof_needs_id_and_recipient_and_leave_to_count(
    world: World, strict: bool, verdict: Verdict
) -> None:
    await sent_message(world, "m1", "bob@example.com")
    imap = await reader(world, box=replace(BOX, strict=strict))
    for wrong in (
        bounce(failed("eve@example.com"), client_id="m1"),
        bounce(failed("bob@example.com"), client_id="m2"),
        bounce(failed("bob@example.com"), header_id="<x@example.com>"),
        bounce(failed("bob@example.com"), proofs=("a" * 17,)),
        bounce(failed("bob@example.com")),
    ):
        taken = await imap.take(wrong)
        assert taken is not None
        assert taken.verdict is Verdict.UNMATCHED
    taken = await imap.take(bounce(failed("bob@example.com"), client_id="m1"))
    assert taken is not None
    assert taken.verdict is verdict
    told = [EventType.BOUNCE] if verdict is Verdict.APPLIED else []
    assert await world.events("m1") == [EventType.SENT, *told]


async def test_equal_ids_of_two_tenants_are_told_apart_by_recipient_mailbox_or_proof(world: World) -> None:
    other = await world.add_tenant("other")
    account = await world.add_account("main", other)
    first = await sent_message(world, "m1", "bob@example.com")
    theirs = world.message("m1", account_pk=account, payload=letter("m1", "bob@example.com"))
    await world.store.queue.enqueue({other: [theirs]})
    sender = await world.sender("theirs", account=account)
    await sender.settle(sent((await sender.authorised())[0]))
    imap = await reader(world)
    unclear = await imap.take(bounce(failed("bob@example.com"), client_id="m1"))
    assert unclear is not None
    assert unclear.verdict is Verdict.UNMATCHED
    proven = await imap.take(bounce(failed("bob@example.com"), client_id="m1", proofs=(imap.token(first),)))
    assert proven is not None
    assert proven.message == first
    own = await reader(world, "own", replace(BOX, account_pk=account, tenant_pk=other))
    taken = await own.take(bounce(failed("bob@example.com"), client_id="m1"))
    assert taken is not None
    assert (taken.verdict, taken.message != first) == (Verdict.APPLIED, True)
    foreign = await own.take(bounce(failed("bob@example.com"), proofs=(imap.token(first),)))
    assert foreign is not None
    assert foreign.verdict is Verdict.UNMATCHED


async def test_any_number_of_tenants_may_use_an_id_and_only_proof_tells_its_message(world: World) -> None:
    for number in range(MOST_CANDIDATES):
        other = await world.add_tenant(f"t{number}")
        account = await world.add_account("main", other)
        to = "bob@example.com" if number else "eve@example.com"
        theirs = world.message("m1", account_pk=account, payload=letter("m1", to))
        await world.store.queue.enqueue({other: [theirs]})
    message = await sent_message(world, "m1", "eve@example.com")
    imap = await reader(world)
    named = bounce(failed("eve@example.com"), client_id="m1")
    assert await imap.take(named) == TakenIn(Verdict.UNMATCHED, ("unmatched",))
    proven = replace(named, proofs=(imap.token(message),))
    assert await imap.take(proven) == TakenIn(Verdict.APPLIED, ("hard",), message)


async def test_a_report_on_a_message_in_doubt_proves_that_it_was_sent(world: World) -> None:
    (message,) = await world.post("m1", payload=letter("m1", "bob@example.com"))
    sender = await world.sender()
    await sender.settle(unknown((await sender.authorised())[0]))
    imap = await reader(world)
    late = Fate(Told.DELAYED, ("bob@example.com",), "soft", "441")
    effects = replace(bounce(late, proofs=(imap.token(message),)), kind="delay")
    assert await imap.take(effects) == TakenIn(Verdict.APPLIED, ("delay",), message)
    assert await world.state("m1") is State.SENT
    assert await world.events("m1") == [EventType.UNKNOWN, EventType.SENT]


async def test_a_report_without_proof_settles_no_doubt_and_keeps_nobody_from_another_try(
    world: World,
) -> None:
    (message,) = await world.post("m1", payload=letter("m1", "bob@example.com"))
    sender = await world.sender()
    await sender.settle(unknown((await sender.authorised())[0]))
    imap = await reader(world)
    forged = bounce(failed("bob@example.com"), client_id="m1")
    assert await imap.take(forged) == TakenIn(Verdict.UNPROVEN, ("unproven",), message)
    assert await world.events("m1") == [EventType.UNKNOWN]
    await world.store.directory.resolve(world.tenant, "m1", Resolution.RETRY, max_age=60.0)
    assert [one.recipients for one in await sender.claim()] == [()]


async def replaced(world: World, to: str) -> tuple[MessageId, Sender]:
    """A message that was sent in vain, and given anew to be sent to somebody else."""
    (message,) = await world.post("m1", payload=letter("m1", "bob@example.com"))
    sender = await world.sender()
    await sender.settle(refused((await sender.authorised())[0]))
    assert await world.post("m1", payload=letter("m1", to)) == [message]
    return message, sender


@pytest.mark.parametrize("revision", ["", ".1"])
async def test_a_report_on_a_former_version_does_nothing_to_the_one_that_waits(
    world: World, revision: str
) -> None:
    message, sender = await replaced(world, "bob.right@example.com")
    imap = await reader(world)
    made = f"<{public_pk(imap.ours.instance, message)}{revision}@example.org>"
    report = bounce(failed("bob@example.com"), proofs=(imap.token(message),), header_id=made)
    taken = await imap.take(report)
    assert taken is not None
    stopped = revision == ".1"
    assert (taken.verdict is Verdict.APPLIED) == stopped
    assert len(await sender.claim()) == (0 if stopped else 1)


async def test_a_report_that_may_be_on_a_former_version_needs_its_recipient_and_stops_nothing(
    world: World,
) -> None:
    message, sender = await replaced(world, "bob.right@example.com")
    imap = await reader(world)
    for wrong in ("bob@example.com", "bob.right@example.com"):
        taken = await imap.take(bounce(failed(wrong), proofs=(imap.token(message),)))
        assert taken == TakenIn(Verdict.IGNORED, ("hard",), message)
    (claimed,) = await sender.authorised()
    await sender.settle(sent(claimed))
    for wrong, verdict in (
        ("bob@example.com", Verdict.IGNORED),
        ("bob.right@example.com", Verdict.APPLIED),
    ):
        taken = await imap.take(bounce(failed(wrong), proofs=(imap.token(message),)))
        assert taken is not None
        assert taken.verdict is verdict


async def waiting_for_eve(world: World) -> MessageId:
    """A message that a server has taken for Bob, and that waits to be sent to Eve again."""
    await world.post("m1", payload=letter("m1", "bob@example.com", "eve@example.com"))
    sender = await world.sender()
    (claimed,) = await sender.authorised()
    await sender.settle(back(claimed, recipients=(RecipientOutcome(0, True, "bob@example.com"),)))
    return claimed.id


@pytest.mark.parametrize("address", ["bob.forwards@example.net", "eve@example.com"])
async def test_a_report_on_those_who_have_a_message_gives_up_nobody_who_waits_for_it(
    world: World, address: str
) -> None:
    message = await waiting_for_eve(world)
    imap = await reader(world)
    dead = replace(failed(address), address_is_dead=True)
    report = bounce(dead, proofs=(imap.token(message),))
    assert await imap.take(report) == TakenIn(Verdict.IGNORED, ("hard",), message)
    (claimed,) = await (await world.sender("second", slot=1)).authorised()
    assert [one.index for one in claimed.recipients] == [0]


async def test_those_who_have_a_message_may_bounce_while_others_wait_for_it(world: World) -> None:
    message = await waiting_for_eve(world)
    imap = await reader(world)
    report = bounce(failed("bob@example.com"), proofs=(imap.token(message),))
    assert await imap.take(report) == TakenIn(Verdict.APPLIED, ("hard",), message)
    assert await world.state("m1") is State.PENDING
    assert await world.events("m1") == [EventType.BOUNCE]


async def test_a_message_in_doubt_for_some_is_proven_by_a_report_on_them_alone(world: World) -> None:
    message = await waiting_for_eve(world)
    sender = await world.sender("second", slot=1)
    await sender.settle(unknown((await sender.authorised())[0]))
    imap = await reader(world)
    for address, state in (("bob@example.com", State.UNKNOWN), ("eve@example.com", State.SENT)):
        await imap.take(bounce(failed(address), proofs=(imap.token(message),)))
        assert await world.state("m1") is state


async def test_a_bounce_that_overtakes_its_message_waits_for_it(world: World, sql: Sql) -> None:
    (message,) = await world.post("m1", payload=letter("m1", "bob@example.com"))
    sender = await world.sender()
    (claimed,) = await sender.authorised()
    imap = await reader(world)
    inbound = world.store.inbound
    effects = bounce(failed("bob@example.com"), proofs=(imap.token(message),))
    taken = await imap.take(effects, octets=b"early")
    assert taken is not None
    assert taken.verdict is Verdict.EARLY
    await sender.settle(sent(claimed))
    waiting = await inbound.parked(imap.leased)
    assert waiting is not None
    assert waiting.octets is None, "it is not due yet"
    past = "now() - interval '1 s'" if is_postgres(world) else "0"
    sql(f"UPDATE parked SET next_try_at = {past}")
    parked = await inbound.parked(imap.leased)
    assert parked is not None
    assert parked.octets == b"early"
    again = await inbound.retry(imap.leased, imap.epoch, parked, effects, imap.ours)
    assert again == TakenIn(Verdict.APPLIED, ("hard",), message)
    assert await inbound.retry(imap.leased, imap.epoch, parked, effects, imap.ours) is None
    assert await world.events("m1") == [EventType.SENT, EventType.BOUNCE]


async def test_a_parked_mail_that_cannot_be_read_is_tried_again_and_set_aside_in_the_end(
    world: World, sql: Sql
) -> None:
    (message,) = await world.post("m1", payload=letter("m1", "bob@example.com"))
    await (await world.sender()).authorised()
    imap = await reader(world)
    inbound = world.store.inbound
    await imap.take(bounce(failed("bob@example.com"), proofs=(imap.token(message),)), octets=b"early")
    assert await inbound.undisposed(imap.leased, 9) == [], "it stays until it is understood"
    parked = Parked(sql("SELECT pk FROM parked")[0][0], b"early")
    again = await inbound.retry(imap.leased, imap.epoch, parked, Unreadable("slow"), imap.ours)
    assert again is not None
    assert again.verdict is Verdict.EARLY
    sql(f"UPDATE parked SET until = {'now()' if is_postgres(world) else '0'}")
    last = await inbound.retry(imap.leased, imap.epoch, parked, Unreadable("slow"), imap.ours)
    assert last == TakenIn(Verdict.QUARANTINED, ("quarantined",))
    ((uid, reason),) = sql("SELECT uid, reason FROM quarantine")
    assert (uid, reason, sql("SELECT pk FROM parked")) == (1, "slow", [])
    assert await inbound.undisposed(imap.leased, 9) == []


async def test_a_complaint_is_an_event_and_other_mail_is_none(world: World) -> None:
    message = await sent_message(world, "m1", "bob@example.com")
    imap = await reader(world)
    fate = Fate(Told.COMPLAINED, ("bob@example.com",))
    complaint = Returned("complaint", (fate,), proofs=(imap.token(message),))
    assert await imap.take(complaint) == TakenIn(Verdict.APPLIED, ("complaint",), MessageId(message))
    assert await imap.take(Nothing("auto-reply")) == TakenIn(Verdict.IGNORED, ("auto-reply",))
    assert await imap.take(Unreadable("?")) == TakenIn(Verdict.QUARANTINED, ("quarantined",))
    assert await world.events("m1") == [EventType.SENT, EventType.COMPLAINT]


async def test_what_was_set_aside_is_listed_and_forgotten_after_its_time(world: World, sql: Sql) -> None:
    imap = await reader(world)
    for number in range(3):
        await imap.take(Unreadable(f"reason {number}"), octets=b"mail %d" % number)
    sql(f"UPDATE quarantine SET at = {'to_timestamp(uid)' if is_postgres(world) else 'uid'}")
    inbound = world.store.inbound
    newest, *_ = listed = await inbound.quarantined(None, before=None, limit=9)
    assert [(one.uid, one.reason, one.account_id) for one in listed] == [
        (number, f"reason {number - 1}", None) for number in (3, 2, 1)
    ]
    assert (newest.header, newest.at) == (b"mail 2", 3.0)
    assert await inbound.quarantined(None, before=newest.number, limit=1) == listed[1:2]
    assert await inbound.quarantined("acme", before=None, limit=9) == []
    assert await inbound.forget_quarantined(3e9, limit=9) == 0
    assert await inbound.forget_quarantined(60.0, limit=2) == 2
    assert sql("SELECT reason FROM quarantine") == [("reason 2",)]
    assert await inbound.forget_quarantined(60.0, limit=2) == 1


@pytest.mark.parametrize("of_account", [False, True])
async def test_what_is_understood_leaves_the_mailbox_and_somebodys_own_mail_stays(
    world: World, of_account: bool
) -> None:
    message = await sent_message(world, "m1", "bob@example.com")
    box = replace(BOX, account_pk=world.account, tenant_pk=world.tenant) if of_account else BOX
    imap = await reader(world, box=box)
    ours = (imap.token(message),)
    delay = Fate(Told.DELAYED, ("bob@example.com",), "soft", "441")
    about_ours = [
        bounce(failed("bob@example.com"), proofs=ours),
        bounce(failed("bob@example.com"), proofs=ours),
        replace(bounce(delay, proofs=ours), kind="delay"),
    ]
    others = [bounce(failed("bob@example.com"), client_id="m2"), Nothing("auto-reply")]
    for effects in (*about_ours, *others, Nothing("none"), Unreadable("?")):
        await imap.take(effects)
    expected = [1, 2, 3] if of_account else [1, 2, 3, 4, 5]
    assert await world.store.inbound.undisposed(imap.leased, 9) == expected


async def test_a_stranger_takes_nothing_in(world: World) -> None:
    imap = await reader(world)
    stranger = replace(imap, epoch=await world.process("stranger", role="imap"))
    assert await stranger.take(Nothing("none"), 5) is None
    assert await world.store.inbound.lease(BOX, epoch=stranger.epoch, ttl=9.0) is None
    assert await world.store.inbound.lease(BOX, epoch=stranger.epoch, ttl=9.0, succeeds=("imap",)) is not None
    assert await imap.take(Nothing("none"), 6) is None

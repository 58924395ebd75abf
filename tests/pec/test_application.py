"""What receipts do to their messages, on both databases: each once, never backwards, and kept whatever they do."""

import hashlib
from dataclasses import dataclass, field
from itertools import count

import pytest

from mailproxy import payload
from mailproxy.certified import Certified
from mailproxy.inbound import Arrival, Disposal, Encryption, Leased, Mailbox, Ours, TakenIn, Verdict
from mailproxy.model import Epoch, EventType, MessageId, State, public_pk
from mailproxy.pec import Evidence, Receipt, ReceiptKind
from mailproxy.pec import State as Progress
from mailproxy.pec.effects import Outcome
from mailproxy.pec.reading import Proof
from mailproxy.pec.verification import Verdict as Signature
from tests.sql.conftest import Sql, World, back, sent, sql, unknown, world

__all__ = ["sql", "world"]

BOB, EVE = "bob@pec.example.org", "eve@pec.example.org"
PAST = {"postgres": "now() - interval '1 s'", "sqlite": "1.0"}
ACCEPTED = [EventType.SENT, EventType.PEC_ACCEPTANCE]


@dataclass
class Box:
    """The mailbox of a PEC account, and what comes into it."""

    world: World
    epoch: Epoch
    ours: Ours
    leased: Leased
    uids: count = field(default_factory=lambda: count(1))

    async def take(self, proof: Proof) -> TakenIn:
        uid = next(self.uids)
        octets = f"mail {uid}".encode()
        arrival = Arrival(7, uid, hashlib.sha256(octets).digest(), octets)
        taken = await self.world.store.inbound.take(self.leased, self.epoch, arrival, proof, self.ours)
        assert taken is not None
        return taken

    def receipt(
        self,
        message: MessageId,
        kind: ReceiptKind,
        *recipients: str,
        revision: int = 0,
        signature: Signature = Signature.VERIFIED,
        applies: bool = True,
    ) -> Proof:
        pk = public_pk(self.ours.instance, message)
        id_ = f"<{pk}.{revision}@example.org>" if revision else f"<{pk}@example.org>"
        said = Receipt(kind, Evidence.CERTIFICATION, recipients, id_)
        return Proof(said, signature, None, applies, b"raw " + kind.encode())

    async def states(self, client_id: str = "m1") -> list[Progress]:
        view = await self.world.store.directory.message(self.world.tenant, client_id)
        assert view is not None
        return [one.state for one in view.certified]

    async def outcomes(self, client_id: str = "m1") -> list[tuple[int, Outcome]]:
        found = await self.world.store.certified.receipts(self.world.tenant, client_id)
        assert found is not None
        return [(one.number, one.outcome) for one in found]


@pytest.fixture
async def box(world: World) -> Box:
    store = world.store
    epoch = await world.process("imap", role="imap")
    mailbox = Mailbox(
        "127.0.0.1", 993, "u", "p", "INBOX", Encryption.IMPLICIT, 60.0, Disposal.KEEP,
        account_pk=world.account, account_id="main", tenant_pk=world.tenant, tenant_id="acme", is_pec=True,
    )  # fmt: skip
    ours = Ours(await store.fleet.instance(), b"k" * 32)
    leased = await store.inbound.lease(mailbox, epoch=epoch, ttl=600.0)
    assert leased is not None
    await store.inbound.opened(leased, epoch, 7)
    return Box(world, epoch, ours, leased)


async def post(world: World, *to: str, **changes: object) -> MessageId:
    letter = payload.encode({"id": "m1", "from": "acme@pec.example", "to": list(to), "subject": "s"})
    folded = tuple(one.lower() for one in to)
    (message,) = await world.post("m1", payload=letter, certified=Certified(folded, 0.0), **changes)
    return message


async def sent_message(world: World, *to: str) -> MessageId:
    message = await post(world, *to)
    sender = await world.sender()
    await sender.settle(sent(*await sender.authorised()))
    return message


async def test_acceptance_and_delivery_are_reported_and_kept(world: World, box: Box) -> None:
    message = await sent_message(world, BOB)
    assert await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB)) == TakenIn(
        Verdict.APPLIED, ("pec_acceptance",), message
    )
    await box.take(box.receipt(message, ReceiptKind.DELIVERY, BOB.upper()))
    assert await world.events("m1") == [*ACCEPTED, EventType.PEC_DELIVERY]
    assert await box.states() == [Progress.DELIVERED]
    assert await box.outcomes() == [(1, Outcome.APPLIED), (2, Outcome.APPLIED)]
    events = await world.store.directory.events(world.tenant, "m1") or []
    detail = events[2].detail.pec
    assert detail is not None
    assert (detail.type, detail.receipt, detail.signature) == ("avvenuta-consegna", 2, "verified")
    assert await world.store.certified.receipt(world.tenant, "m1", 2) == b"raw avvenuta-consegna"
    assert await world.store.certified.receipt(world.tenant, "m1", 3) is None


async def test_each_recipient_has_a_state_of_its_own(world: World, box: Box) -> None:
    message = await sent_message(world, BOB, EVE)
    await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB, EVE))
    await box.take(box.receipt(message, ReceiptKind.DELIVERY_ERROR, EVE))
    await box.take(box.receipt(message, ReceiptKind.TAKING_IN_CHARGE, BOB))
    assert await box.states() == [Progress.TAKEN_IN_CHARGE, Progress.FAILED]
    await box.take(box.receipt(message, ReceiptKind.DELIVERY_ERROR_WARNING, BOB))
    assert await box.states() == [Progress.LATE, Progress.FAILED]
    assert (await world.events("m1"))[2:] == [
        EventType.PEC_ERROR,
        EventType.PEC_RELAY,
        EventType.PEC_WARNING,
    ]


async def test_receipts_in_any_order_never_set_a_state_back(world: World, box: Box) -> None:
    message = await sent_message(world, BOB)
    for kind in (
        ReceiptKind.DELIVERY,
        ReceiptKind.ACCEPTANCE,
        ReceiptKind.ACCEPTANCE,
        ReceiptKind.DELIVERY_ERROR,
    ):
        await box.take(box.receipt(message, kind, BOB))
    assert await box.states() == [Progress.DELIVERED]
    assert await world.events("m1") == [EventType.SENT, EventType.PEC_DELIVERY, EventType.PEC_ACCEPTANCE]
    applied, repeated = Outcome.APPLIED, Outcome.REPEATED
    assert [outcome for _, outcome in await box.outcomes()] == [applied, applied, repeated, repeated]


async def test_a_refusal_and_a_virus_are_errors(world: World, box: Box) -> None:
    message = await sent_message(world, BOB, EVE)
    await box.take(box.receipt(message, ReceiptKind.VIRUS, EVE))
    await box.take(box.receipt(message, ReceiptKind.NON_ACCEPTANCE))
    assert await box.states() == [Progress.REFUSED, Progress.VIRUS]
    assert (await world.events("m1"))[1:] == [EventType.PEC_ERROR, EventType.PEC_ERROR]


@pytest.mark.parametrize("signature", [Signature.UNVERIFIED, Signature.INVALID])
async def test_what_is_not_proven_is_kept_and_changes_nothing(
    world: World, box: Box, signature: Signature
) -> None:
    message = await sent_message(world, BOB)
    proof = box.receipt(message, ReceiptKind.DELIVERY, BOB, signature=signature, applies=False)
    assert (await box.take(proof)).verdict is Verdict.UNPROVEN
    assert await box.states() == [Progress.WAITING]
    assert await world.events("m1") == [EventType.SENT]
    assert await box.outcomes() == [(1, Outcome.UNPROVEN)]


async def test_a_receipt_before_the_end_of_the_hand_over_waits_for_it(
    world: World, box: Box, sql: Sql, dialect: str
) -> None:
    message = await post(world, BOB)
    sender = await world.sender()
    (claimed,) = await sender.authorised()
    early = await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB))
    assert (early.verdict, early.parked_for) == (Verdict.EARLY, 3600.0)
    await sender.settle(sent(claimed))
    sql(f"UPDATE parked SET next_try_at = {PAST[dialect]}")
    parked = await world.store.inbound.parked(box.leased)
    assert parked is not None
    again = box.receipt(message, ReceiptKind.ACCEPTANCE, BOB)
    retried = await world.store.inbound.retry(box.leased, box.epoch, parked, again, box.ours)
    assert retried is not None
    assert retried.verdict is Verdict.APPLIED
    assert await world.events("m1") == ACCEPTED


async def test_an_acceptance_decides_about_a_message_in_doubt(world: World, box: Box) -> None:
    message = await post(world, BOB)
    sender = await world.sender()
    (claimed,) = await sender.authorised()
    await sender.settle(unknown(claimed))
    assert await world.state("m1") is State.UNKNOWN
    await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB))
    assert await world.state("m1") is State.SENT
    assert await world.events("m1") == [EventType.UNKNOWN, *ACCEPTED]


async def test_only_a_verified_receipt_keeps_a_message_from_going_out_again(world: World, box: Box) -> None:
    message = await post(world, BOB)
    sender = await world.sender()
    (claimed,) = await sender.authorised()
    await sender.settle(back(claimed, delay=60.0))
    unverified = box.receipt(message, ReceiptKind.ACCEPTANCE, BOB, signature=Signature.UNVERIFIED)
    assert (await box.take(unverified)).verdict is Verdict.EARLY
    assert await world.state("m1") is State.DEFERRED
    assert (await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB))).verdict is Verdict.APPLIED
    assert await world.state("m1") is State.SENT


async def test_a_receipt_for_nothing_of_ours_is_neither_kept_nor_parked(
    world: World, box: Box, sql: Sql
) -> None:
    message = await sent_message(world, BOB)
    other = await world.add_tenant("other")
    theirs = box.receipt(MessageId(message + 1000), ReceiptKind.DELIVERY, BOB)
    assert (await box.take(theirs)).verdict is Verdict.UNMATCHED
    assert sql("SELECT pk FROM parked") == []
    assert await box.outcomes() == []
    assert await world.store.certified.receipts(other, "m1") is None


async def test_a_receipt_of_a_former_version_says_nothing_about_the_new_one(world: World, box: Box) -> None:
    message = await post(world, BOB)
    assert await post(world, EVE) == message
    sender = await world.sender()
    await sender.settle(sent(*await sender.authorised()))
    await box.take(box.receipt(message, ReceiptKind.DELIVERY, EVE))
    assert await box.states() == [Progress.WAITING]
    await box.take(box.receipt(message, ReceiptKind.DELIVERY, EVE, revision=1))
    assert await box.states() == [Progress.DELIVERED]
    assert [outcome for _, outcome in await box.outcomes()] == [Outcome.FORMER, Outcome.APPLIED]


async def test_a_missing_acceptance_is_told_of_once(world: World, box: Box, sql: Sql, dialect: str) -> None:
    message = await sent_message(world, BOB)
    certified = world.store.certified
    assert await certified.miss(3600.0, limit=10) == (1, 0)
    assert await certified.miss(0.0, limit=10) == (0, 0)
    sql(f"UPDATE pec_message SET look_at = {PAST[dialect]}")
    assert await certified.miss(0.0, limit=10) == (1, 1)
    assert await certified.miss(0.0, limit=10) == (0, 0)
    assert await world.events("m1") == [EventType.SENT, EventType.PEC_TIMEOUT]
    assert await box.states() == [Progress.TIMED_OUT]
    await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB))
    assert await box.states() == [Progress.ACCEPTED]


async def test_nothing_is_missed_of_mail_that_was_accepted_or_never_sent(world: World, box: Box) -> None:
    message = await sent_message(world, BOB)
    await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB))
    assert await world.store.certified.miss(0.0, limit=10) == (0, 0)
    await world.store.directory.delete_messages(world.tenant, ["m1"])
    await post(world, BOB)
    await world.store.directory.cancel(world.tenant, "m1")
    assert await world.store.certified.miss(0.0, limit=10) == (1, 0)
    assert await world.store.certified.miss(0.0, limit=10) == (0, 0)


async def test_certified_mail_is_not_cleaned_up_before_its_last_receipt(
    world: World, box: Box, sql: Sql, dialect: str
) -> None:
    message = await sent_message(world, BOB, EVE)
    await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB, EVE))
    await box.take(box.receipt(message, ReceiptKind.DELIVERY, BOB))
    sql("DELETE FROM outbox")
    directory = world.store.directory
    assert await directory.cleanup(None, -1.0, limit=10) == 0
    delivered = await box.take(box.receipt(message, ReceiptKind.DELIVERY, EVE))
    assert delivered.verdict is Verdict.APPLIED
    sql("DELETE FROM outbox")
    assert await directory.cleanup(None, -1.0, limit=10) == 1


async def test_certified_mail_whose_last_receipt_never_comes_is_cleaned_up(
    world: World, box: Box, sql: Sql, dialect: str
) -> None:
    message = await sent_message(world, BOB)
    await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB))
    sql("DELETE FROM outbox")
    days = {"postgres": "interval '49 hours'", "sqlite": "49 * 3600"}[dialect]
    sql(f"UPDATE message SET done_at = done_at - {days}")
    assert await world.store.directory.cleanup(None, -1.0, limit=10) == 1


async def test_receipts_outlive_their_message_for_their_time(world: World, box: Box) -> None:
    message = await sent_message(world, BOB)
    await box.take(box.receipt(message, ReceiptKind.ACCEPTANCE, BOB))
    await world.store.directory.delete_messages(world.tenant, ["m1"])
    assert await box.outcomes() == [(1, Outcome.APPLIED)]
    assert await world.store.certified.forget_receipts(3600.0, limit=10) == 0
    assert await world.store.certified.forget_receipts(-1.0, limit=10) == 1
    assert await world.store.certified.receipts(world.tenant, "m1") is None

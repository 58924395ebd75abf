"""Certified mail: what a receipt does to its message, the receipts as they are kept, and those that are missing."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailproxy.certified import KeptReceipt
from mailproxy.inbound import Mailbox, Ours, TakenIn, Verdict
from mailproxy.model import EventDetail, EventType, MessageId, Seconds, Status, TenantPk
from mailproxy.pec import State
from mailproxy.pec.effects import Effects, Outcome, Recipient, Standing, effects_of, told
from mailproxy.pec.missing import Looked, look
from mailproxy.pec.reading import Proof, reference_of
from sql import receipts
from sql.engine import Engine, Work, one
from sql.queries import Row, Step

PATIENCE: Seconds = 3600.0
SENT_AFTER_ALL = EventDetail(reason="attested by a PEC receipt", late=True)
NO_ACCEPTANCE = "no acceptance by the PEC provider came in time"


def apply(mailbox: Mailbox, proof: Proof, ours: Ours, fallback: bool) -> Work[TakenIn]:
    """In the caller's transaction. A receipt of a message that is being handed over waits; one that finds none is not
    ours, as a message is entered before it can be sent."""
    named = reference_of(proof.receipt, ours.instance)
    (found,) = yield (
        Step(
            "pec_find",
            {
                "tenant": mailbox.tenant_pk,
                "number": named.number,
                "header_id": named.header_id,
                "client_id": named.client_id,
            },
        ),
    )
    if not found:
        return TakenIn(Verdict.UNMATCHED, ("unmatched",))
    message = MessageId(found[0][0])
    ((known,),) = yield (Step("pec_standing", {"message": message}),)
    kept = {"tenant": mailbox.tenant_pk, "client_id": known[0], "message": message}
    (former,) = yield (Step("pec_former", kept),)
    standing = _standing(known[1:], former)
    effects = effects_of(proof, named.revision, standing)
    if effects is None:
        return TakenIn(Verdict.EARLY, message=message, parked_for=PATIENCE)
    said = {"said": receipts.said(proof), "outcome": str(effects.outcome), "raw": proof.raw}
    (((number,),),) = yield (Step("pec_enter", kept | said),)
    yield tuple(_steps(message, proof, effects, standing.revision, number, fallback))
    return _taken(message, effects)


def _standing(row: Row, former: Sequence[Row]) -> Standing:
    status, phase, attempts, revision, partly_taken, recipients = row
    before = (receipts.receipt_said(text) for (text,) in former)
    return Standing(
        status=Status(status),
        phase=phase,
        attempts=attempts or 0,
        revision=revision,
        recipients=[
            Recipient(n, address, State(state)) for n, address, state in json.loads(recipients or "[]")
        ],
        former=frozenset((one.kind, told(one)) for one in before),
        partly_taken=bool(partly_taken),
    )


def _steps(
    message: MessageId, proof: Proof, effects: Effects, revision: int, number: int, fallback: bool
) -> Iterator[Step]:
    """The message first, so that what is reported comes in its order."""
    if effects.was_sent:
        late = {"id": message, "revision": revision, "detail": SENT_AFTER_ALL.to_json()}
        yield Step("proven_sent", late | {"fallback": fallback})
    if effects.states:
        changed = [
            {"message_id": message, "rcpt": rcpt, "state": str(state)} for rcpt, state in effects.states
        ]
        yield Step("pec_states", {}, changed)
    if effects.event is not None:
        yield Step("pec_look", {}, [{"message_id": message, "look_at": None}])
        detail = EventDetail(pec=receipts.certified_detail(proof, number))
        reported = {"message_id": message, "kind": str(effects.event), "detail": detail.to_json()}
        yield Step("inbound_events", {"fallback": fallback}, [reported])


def _taken(message: MessageId, effects: Effects) -> TakenIn:
    if effects.event is not None:
        return TakenIn(Verdict.APPLIED, (str(effects.event),), message)
    verdict = Verdict.UNPROVEN if effects.outcome is Outcome.UNPROVEN else Verdict.IGNORED
    return TakenIn(verdict, (), message)


@dataclass(frozen=True, slots=True)
class SqlCertified:
    engine: Engine
    fallback: bool

    async def receipts(self, tenant: TenantPk, client_id: str) -> list[KeptReceipt] | None:
        whose = {"tenant": tenant, "client_id": client_id}
        return await self.engine.read(lambda: _receipts(whose))

    async def receipt(self, tenant: TenantPk, client_id: str, number: int) -> bytes | None:
        found = await self.engine.read(
            lambda: one("pec_receipt", tenant=tenant, client_id=client_id, number=number)
        )
        return bytes(found[0][0]) if found else None

    async def miss(self, timeout: Seconds, *, limit: int) -> tuple[int, int]:
        return await self.engine.write(lambda: _miss(timeout, limit, self.fallback))

    async def forget_receipts(self, older_than: Seconds, *, limit: int) -> int:
        return len(
            await self.engine.write(lambda: one("forget_receipts", older_than=older_than, limit=limit))
        )


def _receipts(whose: dict[str, object]) -> Work[list[KeptReceipt] | None]:
    (found, known) = yield (Step("pec_receipts", whose), Step("message_known", whose))
    return [receipts.kept_receipt(row) for row in found] if found or known else None


def _miss(timeout: Seconds, limit: int, fallback: bool) -> Work[tuple[int, int]]:
    (locked,) = yield (Step("pec_due", {"limit": limit}),)
    (due,) = yield (Step("pec_still_due", {"ids": [id_ for (id_,) in locked]}),)
    looked = [
        look(Looked(MessageId(id_), Status(status), done_at), now, timeout)
        for id_, status, done_at, now in due
    ]
    if not looked:
        return 0, 0
    yield (Step("pec_look", {}, [{"message_id": each.message, "look_at": each.look_at} for each in looked]),)
    missed = [each.message for each in looked if each.timed_out]
    if missed:
        detail = EventDetail(error=NO_ACCEPTANCE).to_json()
        kind = str(EventType.PEC_TIMEOUT)
        yield (
            Step("pec_timed_out", {"ids": missed}),
            Step(
                "inbound_events",
                {"fallback": fallback},
                [{"message_id": each, "kind": kind, "detail": detail} for each in missed],
            ),
        )
    return len(looked), len(missed)

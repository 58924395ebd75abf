"""A mail's effects on both databases: once, in one transaction, and only by the reader that holds the mailbox."""

import hashlib
from dataclasses import dataclass, replace
from itertools import count

from mailproxy import payload
from mailproxy.inbound import (
    Arrival,
    Disposal,
    Effects,
    Encryption,
    Fate,
    Leased,
    Mailbox,
    Ours,
    Returned,
    TakenIn,
    Told,
    Verdict,
)
from mailproxy.model import Epoch, EventType, State, public_pk
from mailproxy.proof import token_of
from tests.sql.conftest import World, sent

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
    assert await imap.take(effects) == TakenIn(Verdict.APPLIED, ("hard",), message)  # type: ignore[arg-type]
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

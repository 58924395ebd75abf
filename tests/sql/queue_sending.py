"""What processes do to the queue: living and dying, claiming, intending, settling, recovering."""

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from mailproxy.looks import FROM_START, Bounds
from mailproxy.model import Epoch, EventDetail, EventType, MessageId, Status
from mailproxy.records import Claimed, Finish, InDoubt, RecipientOutcome, Release
from tests.sql import queue_nouns as nouns
from tests.sql.queue_bench import TICK
from tests.sql.queue_nouns import Token, Verdict
from tests.sql.queue_watched import ACCOUNTS, NAMES, NODES, Sender, Watched

TTL = 3.5
POISON = 2

GIVEN = RecipientOutcome(0, True, "given@example.org")
REFUSED = RecipientOutcome(1, False, "refused@example.org", 550, None, "no", True)


def finish(status: int, *, certain: bool = False, recipients: tuple[tuple[int, bool], ...] = ()) -> Verdict:
    return Verdict(status, None, certain, recipients=recipients)


VERDICTS = {
    "sent": finish(nouns.SENT),
    "sent but to one": finish(nouns.SENT, recipients=((1, False),)),
    "permanent": finish(nouns.ERROR, certain=True),
    "expired": Verdict(nouns.EXPIRED, None, True, refund=True),
    "unknown": finish(nouns.UNKNOWN),
    "temporary": Verdict(None, "deferred", True, delay=0.5),
    "deferred for some": Verdict(None, "deferred", False, delay=1.5, recipients=((0, True),)),
    "withheld": Verdict(None, None, True, refund=True),
    "again after unknown": Verdict(None, "retry_after_unknown", False, delay=0.5),
}

senders_of = st.integers(0, 4)
claims_of = st.integers(0, 7)


class Sending(Watched):
    # -- processes

    @precondition(lambda self: len(self.senders) < 5)
    @rule(node=st.sampled_from(NODES))
    def register(self, node: str) -> None:
        owner = f"{self.id}/{len(self.senders)}"
        epoch = self.bench.run(self.bench.store.fleet.register(owner, node, "sender"))
        assert all(epoch > one.epoch for one in self.senders)
        self.senders.append(Sender(epoch, node, owner, []))
        self.model.processes[epoch] = nouns.Process(node, owner, self.model.now)

    @rule(number=senders_of, what=st.sampled_from(("beat", "beat", "leave", "forget")))
    def live_and_die(self, number: int, what: str) -> None:
        if what == "forget":
            self.forget_dead()
        else:
            getattr(self, what)(number)

    def beat(self, number: int) -> None:
        one = self.sender(number)
        process = self.model.processes.get(one.epoch)
        known = process is not None and process.left is None
        assert self.bench.run(self.bench.store.fleet.beat(one.epoch)) == known
        if process and known:
            process.seen = self.model.now

    def leave(self, number: int) -> None:
        """A process that stops well: it gives back what it has no intent for, and its leases."""
        one = self.sender(number)
        for name in ACCOUNTS:
            self.unclaim(number, name, frozenset())
        self.release_leases(number)
        self.bench.run(self.bench.store.fleet.leave(one.epoch))
        if process := self.model.processes.get(one.epoch):
            process.left = self.model.now

    def release_leases(self, number: int) -> None:
        epoch = self.sender(number).epoch
        self.bench.run(self.queue.release_leases(epoch))
        self.model.release_leases(epoch)

    def forget_dead(self) -> None:
        found = self.bench.run(self.bench.store.fleet.forget_dead(1.5 * TICK))
        assert found == self.model.forget_dead(1.5)

    @rule(number=senders_of, account=st.sampled_from(ACCOUNTS), slot=st.integers(0, 1), reaped=st.booleans())
    def take_lease(self, number: int, account: str, slot: int, reaped: bool) -> None:
        one = self.sender(number)
        succeeds = [other.owner for other in self.senders if other is not one and reaped]
        taken = self.bench.run(
            self.queue.take_lease(self.pks[account], slot, epoch=one.epoch, ttl=TTL * TICK, succeeds=succeeds)
        )
        unclean = self.model.take_lease(account, slot, one.epoch, TTL, succeeds)
        assert (taken and taken.unclean) == unclean

    @rule(number=senders_of)
    def renew_leases(self, number: int) -> None:
        one = self.sender(number)
        kept = self.bench.run(self.queue.renew_leases(one.epoch, list(self.pks.values()), TTL * TICK))
        assert kept == {(self.pks[name], slot) for name, slot in self.model.renew(one.epoch, TTL)}

    @rule(ticks=st.sampled_from((1, 1, 1, 2, 4)))
    def pass_time(self, ticks: int) -> None:
        self.bench.write("pass_time", gone=ticks * TICK, ticks=ticks)
        self.model.now += ticks

    # -- the way of a message

    @rule(which=claims_of, limit=st.integers(1, 4), at_watermark=st.booleans())
    def claim(self, which: int, limit: int, at_watermark: bool) -> None:
        self.claim_as(*self.holder(which), limit, at_watermark)

    @rule(which=claims_of, limit=st.integers(1, 4))
    def claim_and_intend(self, which: int, limit: int) -> None:
        one, *where = self.holder(which)
        self.intend_these(one, self.claim_as(one, *where, limit))

    @rule(
        which=claims_of,
        limit=st.integers(1, 4),
        verdicts=st.lists(st.sampled_from(sorted(VERDICTS)), min_size=4, max_size=4),
    )
    def hand_over(self, which: int, limit: int, verdicts: list[str]) -> None:
        one, *where = self.holder(which)
        tokens = self.claim_as(one, *where, limit)
        self.intend_these(one, tokens)
        self.settle_these(one, list(zip(tokens, verdicts, strict=False)))

    def holder(self, which: int) -> tuple[Sender, str, int]:
        """Mostly somebody who holds a lease, and where; sometimes just anybody."""
        senders = {one.epoch: one for one in self.senders}
        held = [(senders[Epoch(epoch)], *key) for key, (epoch, _) in sorted(self.model.leases.items())]
        if which < 6 and held:
            return held[which % len(held)]
        one = self.sender(which)
        where = ACCOUNTS[which % 2], 0
        if which < 6:
            self.take_lease(which, *where, False)
        return (one, *where)

    def claim_as(
        self, one: Sender, account: str, slot: int, limit: int, at_watermark: bool = False
    ) -> list[Token]:
        since = self.unclaimed(account) if at_watermark else FROM_START
        claim = self.bench.run(
            self.queue.claim(self.pks[account], slot, epoch=one.epoch, limit=limit, since=since)
        )
        expected = self.model.claim(account, slot, one.epoch, limit)
        assert tuple(message.client_id for message in claim.messages) == expected.names
        assert (claim.lease_lost, claim.above_limit) == (expected.lost, expected.above)
        if claim.messages:
            assert claim.limited == expected.limited
            one.limited = claim.limited
        return [self.learn(one, message) for message in claim.messages]

    def unclaimed(self, account: str) -> Bounds:
        """While time stands still, a claim from there is the same as one from the start."""
        look = self.bench.run(self.queue.look(self.pks[account]))
        return tuple(min(due, look.at) for due in look.first)

    def learn(self, one: Sender, message: Claimed | InDoubt) -> Token:
        token = Token(message.id, message.client_id, message.revision, message.claim)
        row = self.model.letters[token.name].row
        assert row is not None
        assert (message.attempt, message.claim) == (row.attempts, row.claim)
        if isinstance(message, Claimed):
            said = (message.crashes, message.suspect, message.expired)
            assert said == (row.crashes, row.suspect > 0, row.expires <= self.model.now)
            known = {recipient.index: recipient.accepted for recipient in message.recipients}
            assert known == self.model.letters[token.name].recipients
        one.known = [*one.known[-7:], token]
        return token

    @precondition(lambda self: any(one.known for one in self.senders))
    @rule(number=senders_of, which=st.sets(st.integers(0, 7), min_size=1, max_size=4))
    def intend(self, number: int, which: set[int]) -> None:
        one = self.knowing(number)
        self.intend_these(one, list({token.name: token for token in self.known(one, which)}.values()))

    def knowing(self, number: int) -> Sender:
        found = [one for one in self.senders if one.known]
        return found[number % len(found)]

    def known(self, one: Sender, which: set[int]) -> list[Token]:
        return [token for place, token in enumerate(reversed(one.known)) if place in which]

    def intend_these(self, one: Sender, tokens: list[Token]) -> None:
        if not tokens:
            return
        ids = [MessageId(token.id) for token in tokens]
        now_called = {letter.id: name for name, letter in self.model.letters.items()}
        names = {now_called[id_] for id_ in ids if id_ in now_called}
        granted = {
            now_called[id_] for id_ in self.bench.run(self.queue.intend(one.epoch, ids, limited=one.limited))
        }
        sure, lapsed = self.model.may_intend(one.epoch, names, one.limited)
        assert sure <= granted <= sure | lapsed
        self.check_room(granted & lapsed, granted | lapsed == granted)
        self.model.intend(granted, lapsed, one.limited)
        for name in granted:
            letter, row = self.model.letters[name], self.model.letters[name].row
            assert row is not None
            key = (letter.id, letter.revision)
            assert key not in self.open, "a second dot while the first is in doubt"
            self.open[key] = Token(letter.id, name, letter.revision, row.claim)
            self.dots.setdefault(letter.account, []).append((self.open[key], self.model.now))

    def check_room(self, granted: set[str], all_were: bool) -> None:
        """Of those charged again as many are granted as there is room for."""
        limits, now = self.model.limits, self.model.now
        for name in granted:
            for scope in limits.over(self.model.letters[name].account):
                mine = [other for other in granted if scope in (nouns.ALL, self.model.letters[other].account)]
                assert limits.used(scope, now) + len(mine) <= limits.most[scope]
        if not granted and not all_were:
            assert any(limits.used(scope, now) >= most for scope, most in limits.most.items())

    @precondition(lambda self: any(one.known for one in self.senders))
    @rule(
        number=senders_of,
        what=st.dictionaries(st.integers(0, 7), st.sampled_from(sorted(VERDICTS)), min_size=1, max_size=3),
    )
    def settle(self, number: int, what: dict[int, str]) -> None:
        one = self.knowing(number)
        chosen = {
            token.id: (token, what[place]) for place, token in enumerate(reversed(one.known)) if place in what
        }
        self.settle_these(one, list(chosen.values()))

    @precondition(lambda self: any(one.known for one in self.senders))
    @rule(which=claims_of, what=st.sampled_from(sorted(VERDICTS)))
    def tell_again(self, which: int, what: str) -> None:
        """An outcome of an earlier claim, best of a message that its process has claimed again since."""
        told = [(one, token) for one in self.senders for token in one.known]
        best = [(one, token) for one, token in told if self.is_superseded(one, token)] or told
        one, token = best[which % len(best)]
        self.settle_these(one, [(token, what)])

    def is_superseded(self, one: Sender, token: Token) -> bool:
        letter = self.model.letters.get(token.name)
        if letter is None or letter.row is None or letter.row.epoch != one.epoch:
            return False
        return (letter.row.claim, letter.revision) != (token.claim, token.revision)

    @rule(
        which=claims_of, first=st.sampled_from(("withheld", "withheld", "temporary", "permanent", "unknown"))
    )
    def claim_twice(self, which: int, first: str) -> None:
        """One process claims, settles, and claims once more what came back meanwhile."""
        one, *where = self.holder(which)
        tokens = self.claim_as(one, *where, 2)
        self.settle_these(one, [(token, first) for token in tokens])
        if first != "withheld":
            self.pass_time(1)
        self.claim_as(one, *where, 4)

    def settle_these(self, one: Sender, chosen: list[tuple[Token, str]]) -> None:
        if not chosen:
            return
        told = [self.spoken(token, VERDICTS[what]) for token, what in chosen]
        found = self.bench.run(
            self.queue.settle(
                one.epoch,
                [each for each in told if isinstance(each, Finish)],
                [each for each in told if isinstance(each, Release)],
            )
        )
        settled, late = self.model.settle(one.epoch, [(token, VERDICTS[what]) for token, what in chosen])
        assert (found.settled, found.late) == (settled, late)
        for token, what in chosen:
            if token.id in settled:
                self.conclude(token, VERDICTS[what])

    def conclude(self, token: Token, verdict: Verdict) -> None:
        """What is certainly not delivered, or named as in doubt, may be met by another dot."""
        dot = self.open.get((token.id, token.revision))
        if dot is None:
            return
        if verdict.status is None or verdict.certain:
            del self.open[token.id, token.revision]
        if verdict.certain:
            for account in self.dots:
                self.dots[account] = [one for one in self.dots[account] if one[0] != dot]

    @staticmethod
    def spoken(token: Token, verdict: Verdict) -> Finish | Release:
        recipients = tuple((REFUSED, GIVEN)[accepted] for _, accepted in verdict.recipients)
        claim = (MessageId(token.id), token.revision, 1, token.claim)
        if verdict.status is not None:
            event = EventType(nouns.NAMES[verdict.status])
            return Finish(
                *claim, Status(verdict.status), event, EventDetail(), recipients, refund=verdict.refund
            )
        return Release(
            *claim,
            delay=None if verdict.delay is None else verdict.delay * TICK,
            refund=verdict.refund,
            event=EventType(verdict.event) if verdict.event else None,
            recipients=recipients,
        )

    # -- after a death

    @rule(number=senders_of, account=st.sampled_from(ACCOUNTS), known=st.frozensets(st.sampled_from(NAMES)))
    def unclaim(self, number: int, account: str, known: frozenset[str]) -> None:
        one = self.sender(number)
        ids = {letter.id for name, letter in self.model.letters.items() if name in known}
        freed = self.bench.run(
            self.queue.unclaim(self.pks[account], one.epoch, [MessageId(id_) for id_ in sorted(ids)])
        )
        assert freed == self.model.unclaim(account, one.epoch, ids)

    @precondition(lambda self: any(one.known for one in self.senders))
    @rule(number=senders_of, which=st.integers(0, 3), alone=st.sampled_from((True, True, False)))
    def prepare_alone(self, number: int, which: int, alone: bool) -> None:
        one = self.knowing(number)
        for token in self.known(one, {which}):
            self.bench.run(self.queue.suspect_alone(one.epoch, MessageId(token.id), alone))
            if token.name in self.model.letters and self.model.letters[token.name].id == token.id:
                self.model.suspect_alone(one.epoch, token.name, alone)

    @rule(
        number=senders_of,
        account=st.sampled_from(ACCOUNTS),
        grace=st.sampled_from((0.5, 0.5, 2.5)),
        policy=st.sampled_from(("", "unknown", "again after unknown")),
    )
    def recover(self, number: int, account: str, grace: float, policy: str) -> None:
        one = self.sender(number)
        found = self.bench.run(
            self.queue.recover(
                self.pks[account],
                epoch=one.epoch,
                node=one.node,
                foreign_grace=grace * TICK,
                poison_after=POISON,
            )
        )
        ids = {name: letter.id for name, letter in self.model.letters.items()}
        freed, poisoned, doubtful = self.model.recover(account, one.epoch, one.node, grace, POISON)
        assert (found.freed, set(found.poisoned)) == (len(freed), {ids[name] for name in poisoned})
        assert {message.client_id for message in found.in_doubt} == doubtful
        tokens = [self.learn(one, message) for message in found.in_doubt]
        if policy and tokens:
            self.settle_these(one, [(token, policy) for token in tokens])

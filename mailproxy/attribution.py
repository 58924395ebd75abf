"""Which of our messages a mail is about, and which of its recipients. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mailproxy import proof
from mailproxy.inbound import Fate, Returned, Verdict
from mailproxy.model import MessageId, Status, TenantPk, public_pk, sending_of

MOST_NUMBERS = 20
MOST_CANDIDATES = 32
PAST_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class Bounced:
    """What is known of a recipient already."""

    type: str
    code: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that a mail may be about. `phase` is that of its queue row, None once it is finished;
    `settled` are the recipients whose fate was written down apart from it; `partly_taken`: a server has it for some of
    them, so only the others are still in doubt or waited for."""

    id: MessageId
    tenant_pk: TenantPk
    status: Status
    phase: int | None
    revision: int
    recipients: tuple[str, ...]
    settled: frozenset[int]
    bounced: dict[int, Bounced]
    partly_taken: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it may still go out to recipients who are not settled."""
        return self.phase is not None or self.status is Status.UNKNOWN


@dataclass(frozen=True, slots=True)
class Attributed:
    """A mail's message; `verified` when the mail proves that its author has seen it. `revision` is that of the sending
    it is about, where its Message-ID tells."""

    message: Candidate
    verified: bool
    revision: int | None = None

    @property
    def is_former(self) -> bool:
        """Whether the mail is about a message that was replaced, or sent again on somebody's word."""
        return self.revision not in (None, self.message.revision)

    @property
    def may_be_former(self) -> bool:
        return self.revision is None and self.message.revision > 0


def attribute(
    returned: Returned, candidates: Sequence[Candidate], key: bytes, instance: int, *, strict: bool
) -> Attributed | Verdict:
    """The one message the mail is about: that of its proof, else the only one that has a recipient it names.

    Of as many as MOST_CANDIDATES there may be others, so that none is the only one.
    """
    for one in candidates:
        if proof.is_proven(returned.proofs, key, public_pk(instance, one.id)):
            return Attributed(one, True, _revision(returned, instance, one))
    named = [one for one in candidates if any(matches(one, fate) is not None for fate in returned.fates)]
    if len(named) != 1 or len(candidates) >= MOST_CANDIDATES:
        return Verdict.UNMATCHED
    if strict:
        return Verdict.UNPROVEN
    return Attributed(named[0], False, _revision(returned, instance, named[0]))


def _revision(returned: Returned, instance: int, message: Candidate) -> int | None:
    made, revision = sending_of(instance, returned.header_id or "") or (None, None)
    return revision if made == message.id else None


def matches(message: Candidate, fate: Fate) -> int | None:
    """The index of the recipient a fate is of."""
    wanted = {_plain(address) for address in fate.addresses if address}
    return next((i for i, address in enumerate(message.recipients) if _plain(address) in wanted), None)


def recipient_of(found: Attributed, fate: Fate) -> int | None:
    """The same; what is proven to be about a message with one recipient is about that one, wherever it went on to."""
    index = matches(found.message, fate)
    return only_recipient(found) if index is None else index


def only_recipient(found: Attributed) -> int | None:
    """Whom a proven mail is about although it names nobody of them: a former version may have gone to others."""
    is_sure = found.verified and not found.may_be_former
    return 0 if is_sure and len(found.message.recipients) == 1 else None


def is_early(found: Attributed) -> bool:
    """Whether the message is being handed over: how that ends has to be written down first."""
    return found.message.phase in (1, 2)


def proves_sent(found: Attributed, returned: Returned) -> bool:
    """Whether a server's report proves that a message in doubt, or one that waits to be sent again, was taken.

    Of one that was partly taken before, the report may be about that part, wherever it was forwarded to: nobody who
    still waits is given up for it.
    """
    message = found.message
    if not (returned.is_status and found.verified) or found.may_be_former:
        return False
    told = {recipient_of(found, fate) for fate in returned.fates}
    if message.partly_taken:
        return message.status is Status.UNKNOWN and bool(told - message.settled - {None})
    return message.status is Status.UNKNOWN or (message.phase == 0 and not told <= message.settled)


def is_news(fate: Fate, before: Bounced | None) -> bool:
    """Whether a failure is worth an event: the first, or a graver one than is known."""
    if before is None:
        return True
    if fate.type == before.type:
        return fate.code != before.code
    return fate.type == "hard"


def _plain(address: str) -> str:
    """Without case in the local part, too: servers that change it are more common than people whom it tells apart."""
    return address.strip().strip("<>").casefold()


def numbers(returned: Returned, instance: int) -> list[int]:
    """The messages a mail names by number: behind its proofs, and in a Message-ID of our making."""
    found = set(islice(proof.numbers_in(returned.proofs), MOST_NUMBERS))
    made, _ = sending_of(instance, returned.header_id or "") or (None, None)
    return sorted(number for number in found | ({made} if made is not None else set()) if number < PAST_ALL)

"""Which of our messages a mail is about, and which of its recipients. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mailproxy import proof
from mailproxy.inbound import Fate, Returned, Verdict
from mailproxy.model import MessageId, Status, TenantPk, message_of, public_pk

MOST_NUMBERS = 20
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
    """A mail's message; `verified` when the mail proves that its author has seen it."""

    message: Candidate
    verified: bool


def attribute(
    returned: Returned, candidates: Sequence[Candidate], key: bytes, instance: int, *, strict: bool
) -> Attributed | Verdict:
    """The one message the mail is about: that of its proof, else the only one that has a recipient it names."""
    for one in candidates:
        if proof.is_proven(returned.proofs, key, public_pk(instance, one.id)):
            return Attributed(one, verified=True)
    named = [one for one in candidates if any(matches(one, fate) is not None for fate in returned.fates)]
    if len(named) != 1:
        return Verdict.UNMATCHED
    return Verdict.UNPROVEN if strict else Attributed(named[0], verified=False)


def matches(message: Candidate, fate: Fate) -> int | None:
    """The index of the recipient a fate is of."""
    wanted = {_plain(address) for address in fate.addresses if address}
    return next((i for i, address in enumerate(message.recipients) if _plain(address) in wanted), None)


def recipient_of(found: Attributed, fate: Fate) -> int | None:
    """The same; what is proven to be about a message with one recipient is about that one, wherever it went on to."""
    index = matches(found.message, fate)
    if index is None and found.verified and len(found.message.recipients) == 1:
        return 0
    return index


def is_early(found: Attributed) -> bool:
    """Whether the message is being handed over: how that ends has to be written down first."""
    return found.message.phase in (1, 2)


def proves_sent(found: Attributed, returned: Returned) -> bool:
    """Whether a server's report proves that a message in doubt, or one that waits to be sent again, was taken.

    Of one that was partly taken before, the report may be about that part, wherever it was forwarded to: nobody who
    still waits is given up for it.
    """
    message = found.message
    if not (returned.is_status and found.verified):
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
    pk = (returned.header_id or "").strip("<>").partition("@")[0].partition(".")[0]
    made = message_of(instance, pk)
    return sorted(number for number in found | ({made} if made is not None else set()) if number < PAST_ALL)

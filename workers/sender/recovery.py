"""What a dead predecessor left behind: its journal first, then its rows."""

import random
import time
from collections.abc import Callable
from pathlib import Path

from mailproxy import log
from mailproxy.model import Account, Epoch, OnUnknownOutcome, Seconds
from mailproxy.outcome import Sent, Unknown
from mailproxy.records import Finish, Recovered, Release
from mailproxy.retry import RetryPolicy
from mailproxy.store import Queue
from workers.sender import journal
from workers.sender.settlement import Attempt, Rules, Settlement, settle

FOREIGN_GRACE_LEASES = 4
POISON_AFTER = 3
CHUNK = 200

_log = log.get(__name__)


async def replay_orphans(queue: Queue, directory: Path, retry: RetryPolicy) -> None:
    """Settle what the journals of dead processes of this node know; fenced by their epochs, so idempotent."""
    for epoch, path in journal.orphans(directory):
        await _replay(queue, epoch, journal.read(path), retry)
        path.unlink(missing_ok=True)


async def believe_others(queue: Queue, directory: Path, retry: RetryPolicy, mine: Epoch) -> None:
    """Settle what journals of this node prove delivered, whether or not their writers live: a stopped one cannot.

    Failures in a living journal are left alone: its writer may have gone on to a later attempt.
    """
    for epoch, path in journal.others(directory, mine):
        sent = [record for record in journal.read(path) if isinstance(record.outcome, Sent)]
        await _replay(queue, epoch, sent, retry)


async def _replay(queue: Queue, epoch: Epoch, records: list[journal.Record], retry: RetryPolicy) -> None:
    rules = Rules(retry, OnUnknownOutcome.HOLD)
    latest = {record.message: record for record in records}
    known = (record for record in latest.values() if not isinstance(record.outcome, Unknown))
    settlements = [_from_record(record, rules) for record in known]
    if settlements:
        _log.info("journal_replayed", epoch=epoch, outcomes=len(settlements))
    for start in range(0, len(settlements), CHUNK):
        some = settlements[start : start + CHUNK]
        await queue.settle(
            epoch,
            [one for one in some if isinstance(one, Finish)],
            [one for one in some if isinstance(one, Release)],
        )


def _from_record(record: journal.Record, rules: Rules) -> Settlement:
    """A delivery is settled; a definite failure is free to be met again, with all that is known then."""
    if isinstance(record.outcome, Sent):
        attempt = Attempt(record.message, record.revision, record.attempt, record.claim)
        return settle(attempt, record.outcome, rules, time.time(), 0.5)
    return Release(record.message, record.revision, record.attempt, record.claim, refund=True)


async def recover(
    queue: Queue,
    account: Account,
    rules: Rules,
    *,
    epoch: Epoch,
    node: str,
    foreign_grace: Seconds,
    add: Callable[[Settlement], None],
) -> Recovered:
    """Adopt the account's rows of dead epochs; what is in doubt goes by the account's policy."""
    found = await queue.recover(
        account.pk, epoch=epoch, node=node, foreign_grace=foreign_grace, poison_after=POISON_AFTER
    )
    for message in found.in_doubt:
        outcome = Unknown("the sender ended between the intent and the reply to the dot")
        of = log.Of(message.id, message.client_id, account.tenant_id, account.id, message.attempt)
        log.in_doubt(of, cause=outcome.cause)
        chance = random.random()  # noqa: S311 - spreads retries
        add(settle(Attempt.in_doubt(message), outcome, rules, time.time(), chance))
    if found.freed or found.in_doubt or found.poisoned:
        _log.info(
            "recovered",
            account=account.id,
            freed=found.freed,
            in_doubt=len(found.in_doubt),
            poisoned=len(found.poisoned),
        )
    return found

"""What a bounce or complaint does to its message: found, attributed and written in the caller's transaction."""

import json
from collections.abc import Iterator, Sequence

from mailproxy import address, attribution
from mailproxy.attribution import Attributed, Bounced, Candidate
from mailproxy.errors import InvalidInput
from mailproxy.inbound import Fate, Mailbox, Ours, Returned, TakenIn, Told, Verdict
from mailproxy.model import EventDetail, EventType, MessageId, Seconds, Status, TenantPk
from mailproxy.suppressions import Cause
from sql import suppressions
from sql.engine import Work
from sql.queries import Row, Step

PATIENCE: Seconds = 900.0
SENT_AFTER_ALL = EventDetail(reason="reported on by a server", late=True)


def apply(mailbox: Mailbox, found: Returned, ours: Ours, fallback: bool) -> Work[TakenIn]:
    (named,) = yield (correlate(mailbox, found, ours),)
    candidates = [candidate(row) for row in named]
    to = attribution.attribute(found, candidates, ours.proof_key, ours.instance, strict=mailbox.strict)
    if isinstance(to, Verdict):
        return TakenIn(to, (str(to),))
    message = to.message
    counts = tuple(_counts(found))
    if to.is_former:
        return TakenIn(Verdict.IGNORED, counts, message.id)
    if attribution.is_early(to):
        return TakenIn(Verdict.EARLY, (), message.id, PATIENCE)
    if message.is_open and not to.verified and not _settled(to, found):
        return TakenIn(Verdict.UNPROVEN, (str(Verdict.UNPROVEN),), message.id)
    steps = tuple(_steps(to, found, fallback))
    if steps:
        yield steps
    return TakenIn(Verdict.APPLIED if steps else Verdict.IGNORED, counts, message.id)


def correlate(mailbox: Mailbox, found: Returned, ours: Ours) -> Step:
    """The messages that a mail names in any way, of the mailbox's tenant or of all."""
    return Step(
        "correlate",
        {
            "ids": attribution.numbers(found, ours.instance),
            "header_id": found.header_id,
            "client_id": found.client_id,
            "tenant": mailbox.tenant_pk,
            "limit": attribution.MOST_CANDIDATES,
        },
    )


def candidate(row: Row) -> Candidate:
    id_, tenant, status, phase, revision, to, cc, bcc, known = row
    states = json.loads(known) if known else []
    return Candidate(
        id=MessageId(id_),
        tenant_pk=TenantPk(tenant),
        status=Status(status),
        phase=phase,
        revision=revision,
        recipients=_recipients(to, cc, bcc),
        settled=frozenset(rcpt for rcpt, *_ in states),
        bounced={rcpt: Bounced(type_, code) for rcpt, _, type_, code in states if type_ is not None},
        partly_taken=any(accepted for _, accepted, *_ in states),
    )


def _recipients(*lists: str | None) -> tuple[str, ...]:
    """The envelope as the sender numbers it; none for what was recorded with faults and never sent."""
    try:
        return address.envelope_recipients(*(json.loads(text) if text else () for text in lists))
    except (InvalidInput, TypeError, AttributeError):
        return ()


def _settled(to: Attributed, found: Returned) -> bool:
    """Whether each recipient that the mail speaks of was taken by a server, although the message still waits."""
    return all(attribution.recipient_of(to, fate) in to.message.settled for fate in found.fates)


def _steps(to: Attributed, found: Returned, fallback: bool) -> Iterator[Step]:
    message = to.message
    was_sent = attribution.proves_sent(to, found)
    if was_sent:
        late = {"id": message.id, "revision": message.revision, "detail": SENT_AFTER_ALL.to_json()}
        yield Step("proven_sent", late | {"fallback": fallback})
    failures = [
        (index, fate)
        for fate in found.fates
        if fate.told is Told.FAILED
        and (index := attribution.recipient_of(to, fate)) is not None
        and (was_sent or index in message.settled or not message.is_open)
    ]
    news = [
        (index, fate)
        for index, fate in {index: (index, fate) for index, fate in failures}.values()
        if attribution.is_news(fate, message.bounced.get(index))
    ]
    if news:
        yield Step("bounced", {}, [_bounced(to, index, fate) for index, fate in news])
    events = [(EventType.BOUNCE, _detail(to, index, fate)) for index, fate in news]
    events += [(EventType.COMPLAINT, detail) for detail in _complaints(to, found)]
    if events:
        told = [{"message_id": message.id, "kind": str(k), "detail": d.to_json()} for k, d in events]
        yield Step("inbound_events", {"fallback": fallback}, told)
    if dead := _never_again(to, found, failures):
        yield suppressions.bounced(message.tenant_pk, message.id, dead)


def _bounced(to: Attributed, index: int, fate: Fate) -> dict[str, object]:
    return {
        "message_id": to.message.id,
        "rcpt": index,
        "address": to.message.recipients[index],
        "type": fate.type,
        "code": fate.code,
        "status": fate.status,
        "reason": fate.reason,
        "verified": to.verified,
    }


def _detail(to: Attributed, index: int, fate: Fate) -> EventDetail:
    return EventDetail(
        recipient=to.message.recipients[index],
        bounce_type=fate.type,
        bounce_code=fate.code,
        bounce_reason=fate.reason,
        enhanced=fate.status,
        verified=to.verified,
    )


def _complaints(to: Attributed, found: Returned) -> Iterator[EventDetail]:
    """One for each recipient that complained; providers often hide who it was."""
    if found.kind != "complaint":
        return
    who = sorted({i for fate in found.fates if (i := attribution.recipient_of(to, fate)) is not None})
    yield from (EventDetail(recipient=to.message.recipients[i], verified=to.verified) for i in who)
    if not who:
        yield EventDetail(verified=to.verified)


def _never_again(to: Attributed, found: Returned, failures: Sequence[tuple[int, Fate]]) -> dict[str, Cause]:
    """Whom no more mail should go to. Anybody can forge a bounce, so it must be proven; of failures only those that
    mean the address itself: a policy or a full mailbox is no reason."""
    recipients = to.message.recipients
    if not to.verified:
        return {}
    if found.kind == "complaint":
        who = {index for fate in found.fates if (index := attribution.recipient_of(to, fate)) is not None}
        if not who and (only := attribution.only_recipient(to)) is not None:
            who = {only}
        return {recipients[index]: Cause.COMPLAINT for index in who}
    return {recipients[index]: Cause.HARD_BOUNCE for index, fate in failures if fate.address_is_dead}


def _counts(found: Returned) -> Iterator[str]:
    if found.kind == "bounce":
        yield from (fate.type or "hard" for fate in found.fates if fate.told is Told.FAILED)
    else:
        yield found.kind

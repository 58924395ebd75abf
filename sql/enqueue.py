"""Enqueueing: one transaction for all calls that wait together, each of them as a whole, and once under its key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mailproxy.errors import StorageUnavailable
from mailproxy.model import MessageId, Status, TenantPk
from mailproxy.once import KEPT_FOR, Kept, Ticket
from mailproxy.records import Enqueued, NewMessage
from mailproxy.vault import Vault
from sql import logins, rows
from sql.engine import Last, Work
from sql.gather import Asked, Result
from sql.noting import noted
from sql.queries import Row, Step

REPLACEABLE = {Status.QUEUED, Status.ERROR, Status.CANCELLED, Status.EXPIRED}


def kept_answer(ticket: Ticket) -> Step:
    return Step("kept_answer", {"scope": ticket.scope, "key": ticket.key, "kept_for": KEPT_FOR})


def kept(found: Sequence[Row]) -> Kept | None:
    return Kept(bytes(found[0][0]), found[0][1], found[0][2]) if found else None


def enqueue(calls: Sequence[Asked], fallback: bool, vault: Vault, *, is_remote: bool) -> Work[list[Result]]:
    """What became of each call; its command is entered with it."""
    work = _enqueue_calls(calls, fallback, vault, is_remote)
    pending = [call.pending for call in calls if call.pending is not None]
    return noted(work, pending) if pending else work


def _enqueue_calls(
    calls: Sequence[Asked], fallback: bool, vault: Vault, is_remote: bool
) -> Work[list[Result]]:
    tickets = {n: call.once.ticket for n, call in enumerate(calls) if call.once is not None}
    settled: dict[int, Result] = {}
    if tickets:
        settled.update((yield from _settled(tickets)))
    merged: dict[TenantPk, list[NewMessage]] = {}
    for n, call in enumerate(calls):
        for tenant, items in call.batches.items() if n not in settled else ():
            merged.setdefault(tenant, []).extend(items)
    queued: dict[tuple[TenantPk, str], Enqueued] = {}
    for tenant in sorted(merged):  # so that equal calls at once never lock each other out
        found = yield from _enqueue(tenant, merged[tenant], fallback, vault, is_remote)
        queued.update(((tenant, one.client_id), one) for one in found)
    results: list[Result] = [
        settled[n]
        if n in settled
        else [queued[tenant, item.client_id] for tenant, items in call.batches.items() for item in items]
        for n, call in enumerate(calls)
    ]
    if keeping := tuple(_keep(calls, results)):
        yield Last(keeping)
    return results


def _settled(tickets: Mapping[int, Ticket]) -> Work[dict[int, Kept | None]]:
    """The calls that were answered before, and (with None) those under way elsewhere. Whoever has the gate and finds
    nothing kept is the first, and the gate is held until the commit."""
    steps = [
        step
        for ticket in tickets.values()
        for step in (Step("once_gate", {"scope": ticket.scope, "key": ticket.key}), kept_answer(ticket))
    ]
    found = yield tuple(steps)
    settled: dict[int, Kept | None] = {}
    for n, gate, answers in zip(tickets, found[::2], found[1::2], strict=True):
        if not gate[0][0]:
            settled[n] = None
        elif answers:
            settled[n] = kept(answers)
    return settled


def _keep(calls: Sequence[Asked], results: Sequence[Result]) -> Iterator[Step]:
    for call, result in zip(calls, results, strict=True):
        if call.once is not None and isinstance(result, list):
            ticket, answered = call.once.ticket, call.once.answer(result)
            yield Step(
                "keep_answer",
                {
                    "scope": ticket.scope,
                    "key": ticket.key,
                    "fingerprint": answered.fingerprint,
                    "status": answered.status,
                    "answer": answered.answer,
                },
            )


def _enqueue(
    tenant: TenantPk, items: Sequence[NewMessage], fallback: bool, vault: Vault, is_remote: bool
) -> Work[list[Enqueued]]:
    wanted, secret = logins.parted(items)
    accounts = sorted({item.account_pk for item in items if item.account_pk is not None})
    gate = (Step("enqueue_gate", {"accounts": accounts}), Step("enqueue_former"))
    params: dict[str, object] = {"tenant": tenant, "fallback": fallback, "accounts": accounts}
    inserted: list[Row] | None = None
    if is_remote and wanted:  # where nothing has to be known of what was before
        insert = Step("enqueue", params, [rows.new_message(item) for item in wanted.values()])
        (present, _, inserted) = yield (*gate, insert)
    else:
        (present, former) = yield gate
        params["former"] = former[0][0]
    gone = set(accounts) - {pk for (pk,) in present}
    answers = {
        item.client_id: Enqueued(item.client_id, None, "account_not_found")
        for item in wanted.values()
        if item.account_pk in gone
    }
    certified = [item for item in wanted.values() if item.certified is not None]
    # A message may be deleted between the insert that met it and the look at it: then it is new after all.
    while missing := [item for id_, item in wanted.items() if id_ not in answers]:
        if inserted is None:
            (inserted,) = yield (Step("enqueue", params, [rows.new_message(item) for item in missing]),)
        answers |= {client_id: Enqueued(client_id, MessageId(id_)) for id_, client_id in inserted}
        yield from _suppress((MessageId(id_), wanted[client_id]) for id_, client_id in inserted)
        yield from _link(tenant, [(MessageId(id_), wanted[client_id]) for id_, client_id in inserted])
        yield from logins.keep(vault, secret, ((MessageId(id_), client_id) for id_, client_id in inserted))
        if existing := [item for item in missing if item.client_id not in answers]:
            replaced = yield from _enqueue_existing(tenant, existing)
            renewed = (
                (one.message_id, id_) for id_, one in replaced.items() if one.replaced and one.message_id
            )
            yield from logins.keep(vault, secret, renewed)
            answers |= replaced
        inserted = None
    if certified:
        yield from _certify(tenant, certified, answers)
    return [answers[item.client_id] for item in items]


def _enqueue_existing(tenant: TenantPk, items: Sequence[NewMessage]) -> Work[dict[str, Enqueued]]:
    wanted = {"tenant": tenant, "client_ids": [item.client_id for item in items]}
    (_, found) = yield (Step("enqueue_existing_rows", wanted), Step("enqueue_existing", wanted))
    known = {client_id: (MessageId(id_), Status(status), phase) for id_, client_id, status, phase in found}
    answers = {}
    replaced = []
    for item in items:
        if item.client_id not in known:
            continue
        id_, status, phase = known[item.client_id]
        refused = _why_not_replaced(item, status, phase)
        answers[item.client_id] = Enqueued(item.client_id, id_, refused, replaced=refused is None)
        if refused is None:
            replaced.append(rows.new_message(item) | {"id": id_})
    if replaced:
        ids = [row["id"] for row in replaced]
        yield (
            Step("enqueue_replace", {"tenant": tenant, "ids": ids}, replaced),
            Step("pec_forget", {"ids": ids}),
            Step("content_unlink", {"ids": ids}),
        )
        renewed = [
            (known[item.client_id][0], item)
            for item in items
            if item.client_id in answers and answers[item.client_id].replaced
        ]
        yield from _suppress(renewed)
        yield from _link(tenant, renewed)
    return answers


def _suppress(queued: Iterable[tuple[MessageId, NewMessage]]) -> Work[None]:
    """Their suppressed recipients are settled before anybody claims them."""
    values = [{"message_id": id_, **rows.recipient(one)} for id_, item in queued for one in item.suppressed]
    if values:
        yield (Step("enqueue_suppressed", {}, values),)


def _link(tenant: TenantPk, queued: Sequence[tuple[MessageId, NewMessage]]) -> Work[None]:
    """Their content stays for as long as they do."""
    values = [{"message_id": id_, "sha256": sha256} for id_, item in queued for sha256 in item.contents]
    if values:
        (linked,) = yield (Step("content_link", {"tenant": tenant}, values),)
        if len(linked) < len(values):
            raise StorageUnavailable("Content of a message is gone: send it again", retry_after=1.0)


def _certify(tenant: TenantPk, items: Sequence[NewMessage], answers: Mapping[str, Enqueued]) -> Work[None]:
    """Enter what receipts will be matched with."""
    messages: list[dict[str, object]] = []
    recipients: list[dict[str, object]] = []
    for item in items:
        answer = answers[item.client_id]
        if item.certified is None or answer.refused is not None:
            continue
        look_after = item.certified.look_after
        messages.append({"message_id": answer.message_id, "tenant_pk": tenant, "look_after": look_after})
        recipients += [
            {"message_id": answer.message_id, "rcpt": number, "address": address}
            for number, address in enumerate(item.certified.recipients)
        ]
    if messages:
        yield (Step("pec_messages", {}, messages), Step("pec_recipients", {}, recipients))


def _why_not_replaced(item: NewMessage, status: Status, phase: int | None) -> str | None:
    if item.rejected is not None:
        return "exists"
    if status is Status.SENT:
        return "already_sent"
    if status is Status.UNKNOWN:
        return "outcome_unknown"
    if phase:
        return "being_sent"
    return None if status in REPLACEABLE else "exists"

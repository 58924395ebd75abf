"""Reads one mail that came back, from the most exact statement to the vaguest."""

from mailproxy.bounces import answers, delivery_status, notice
from mailproxy.bounces.originals import Original, original_of
from mailproxy.bounces.report import MAX_RECIPIENTS, Action, Kind, Recipient, Report
from mailproxy.received import Limit, Mail, read

_Reading = tuple[Kind, tuple[Recipient, ...]]


def parse(raw: bytes) -> Report:
    """What a mail says of a message of ours. Any octets give a report, within the limits of `received`."""
    mail = _unwrapped(read(raw))
    original = original_of(mail)
    kind, recipients = _reading(mail, original)
    exceeded = mail.exceeded | ({Limit.RECIPIENTS} if len(recipients) >= MAX_RECIPIENTS else set())
    return Report(kind, recipients, original.tracking_id, original.message_id, original.proofs, exceeded)


def _reading(mail: Mail, original: Original) -> _Reading:
    complainers = answers.complaint_of(mail)
    if complainers is not None:
        return Kind.COMPLAINT, complainers
    written = notice.notice_of(mail)
    stated = delivery_status.recipients_of(mail, written.explain)
    if stated:
        return _kind_of(stated), stated
    if answers.is_receipt(mail):
        refused = answers.refusal_of(mail, written.text)
        return (Kind.AUTO_REPLY, ()) if refused is None else (Kind.BOUNCE, refused)
    is_automatic = answers.is_marked_automatic(mail)
    if not answers.has_answering_subject(mail) and notice.is_by_mail_system(
        mail, is_marked_automatic=is_automatic
    ):
        kind, recipients = notice.read_notice(mail, written, original)
        if kind is not Kind.NONE:
            return kind, recipients
    return (Kind.AUTO_REPLY if is_automatic or answers.has_null_return_path(mail) else Kind.NONE), ()


def _kind_of(recipients: tuple[Recipient, ...]) -> Kind:
    """The gravest of what happened; only delivered, relayed or expanded is no trouble at all."""
    actions = {each.action for each in recipients}
    if Action.FAILED in actions:
        return Kind.BOUNCE
    return Kind.DELAY if Action.DELAYED in actions else Kind.NONE


def _unwrapped(mail: Mail) -> Mail:
    """The report that was itself put into a mail: by gateways, and by PEC providers (RFC 6109 §2.2.2)."""
    inner = next((part for part in mail.leaves if part.media_type == "message/rfc822"), None)
    if inner is None or inner is mail.top:
        return mail
    if (mail.top.get("x-trasporto") or "").strip().lower() == "errore":
        return read(inner.content())
    if inner is mail.leaves[0] and mail.top.parameters.get("report-type", "").lower() == "delivery-status":
        return read(inner.content())
    return mail

"""Mails that answer a message without being a failure, complaints, and refusals that look like receipts."""

import re

from mailproxy.bounces import phrases, status
from mailproxy.bounces.delivery_status import address
from mailproxy.bounces.naming import addresses_in
from mailproxy.bounces.originals import is_returned
from mailproxy.bounces.report import Action, Recipient
from mailproxy.received import Fields, Mail, every, fields_of, first, unencoded

_COMPLAINTS = frozenset(["abuse", "fraud", "virus", "other", "opt-out", "opt-out-list"])
_ANSWERED = re.compile(r"auto-?replied|auto_?reply|auto-?response|vacation", re.IGNORECASE)
_REFUSED = re.compile(r"automatic-action\s*/.*;\s*(?:deleted|denied|failed)", re.IGNORECASE)
_REFUSING = re.compile(r"reject|refus|declin|denied|not accepted|quota|not (?:be )?delivered", re.IGNORECASE)
_AUTOMATIC_HEADERS = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponse",
    "x-mail-autoreply",
    "x-autoreply-from",
)


def complaint_of(mail: Mail) -> tuple[Recipient, ...] | None:
    """The recipients who complained (RFC 5965), none when they were left out; None for any other mail.

    `not-spam` takes a complaint back, and `auth-failure` reports (RFC 6591) are about signatures.
    """
    for part in mail.leaves:
        if part.media_type == "message/feedback-report":
            fields = fields_of(part.content())
            if (first(fields, "feedback-type") or "abuse").strip().lower() not in _COMPLAINTS:
                return None
            return _complainers(fields)
        if is_returned(part):
            fields = fields_of(part.content())
            if named := first(fields, "x-hmxmroriginalrecipient"):
                return tuple(Recipient(each) for each in addresses_in(named))
    return None


def _complainers(fields: Fields) -> tuple[Recipient, ...]:
    named = [address(value) for value in every(fields, "original-rcpt-to")]
    named = named or [address(value) for value in every(fields, "removal-recipient")]
    return tuple(Recipient(each) for each in dict.fromkeys(named) if each)


def is_receipt(mail: Mail) -> bool:
    """Whether it is a disposition notification (RFC 8098): somebody, or something, dealt with the message."""
    return any(part.media_type.endswith("disposition-notification") for part in mail.leaves)


def refusal_of(mail: Mail, text: str) -> tuple[Recipient, ...] | None:
    """The recipients whose mailbox refused the message by itself (RFC 5429 §2.1.1); None for other receipts.

    `text` is what goes with it for people: it tells a refusal from mail that was deleted unread.
    """
    said = f"{mail.top.get('auto-submitted') or ''}\n{unencoded(mail.top.get('subject') or '')}\n{text}"
    if not _REFUSING.search(said):
        return None
    for part in mail.leaves:
        fields = fields_of(part.content()) if part.media_type.endswith("disposition-notification") else ()
        if not _REFUSED.search((first(fields, "disposition") or "")[:500]):
            continue
        original = address(first(fields, "original-recipient") or "")
        named = original or address(first(fields, "final-recipient") or "")
        return (_refused(named, text),) if named else ()
    return None


def _refused(named: str, text: str) -> Recipient:
    verdict = status.read_prose(text)
    return Recipient(
        named,
        Action.FAILED,
        verdict.status,
        verdict.type,
        verdict.bounce_class,
        verdict.smtp_code,
        status.one_line(text),
    )


def is_marked_automatic(mail: Mail) -> bool:
    """Whether it calls itself an automatic answer (RFC 3834 §5, and what was used before)."""
    top = mail.top
    if _ANSWERED.match((top.get("auto-submitted") or "").strip()):
        return True
    if _ANSWERED.match((top.get("precedence") or "").strip()):
        return True
    return any(top.get(name) is not None for name in _AUTOMATIC_HEADERS) or has_answering_subject(mail)


def has_answering_subject(mail: Mail) -> bool:
    subject = unencoded(mail.top.get("subject") or "")
    return phrases.says_first(subject, phrases.AUTO_REPLY_SUBJECT, phrases.FAILURE_SUBJECT)


def has_null_return_path(mail: Mail) -> bool:
    """Whether nobody shall answer it: only reports and automatic answers are sent so (RFC 3834 §3.3)."""
    return (mail.top.get("return-path") or "").strip() == "<>"

"""Delivery status notifications: one group of fields per recipient (RFC 3464, RFC 6533)."""

import re
from collections.abc import Callable, Iterator

from mailproxy.bounces import status
from mailproxy.bounces.report import MAX_EXPLAINED, MAX_RECIPIENTS, Action, Recipient
from mailproxy.received import Fields, Mail, Part, fields_of, first

MAX_ADDRESS = 320

MEDIA_TYPES = frozenset(["message/delivery-status", "message/global-delivery-status", "text/delivery-status"])
_RECIPIENT_FIELDS = frozenset(["final-recipient", "original-recipient", "action", "status"])
_BLANK_LINES = re.compile(rb"\n[ \t]*(?:\n[ \t]*)+")
_LOOKS_LIKE_ONE = re.compile(r"\s{0,200}Reporting-MTA\s?:", re.IGNORECASE)
_ACTION = re.compile(r"\s*([a-z]+)", re.IGNORECASE)
_ACTIONS = {
    "failed": Action.FAILED,
    "failure": Action.FAILED,
    "fail": Action.FAILED,
    "error": Action.FAILED,
    "bounced": Action.FAILED,
    "undeliverable": Action.FAILED,
    "delayed": Action.DELAYED,
    "delay": Action.DELAYED,
    "deferred": Action.DELAYED,
    "delivered": Action.DELIVERED,
    "relayed": Action.RELAYED,
    "relay": Action.RELAYED,
    "expanded": Action.EXPANDED,
}
_TYPED = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*;")
_CODE = re.compile(r"\s*\d[\d.]{0,12}")
_BRACKETED = re.compile(r"<\s*([^<>\s]+)\s*>")
_UNICODE_POINT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_DELAY_WORDS = re.compile(r"delay|not yet been|still being|will be retried|warning", re.IGNORECASE)


def parts_of(mail: Mail) -> tuple[Part, ...]:
    """The delivery-status parts; one that is declared as plain text in a report counts."""
    return tuple(
        part
        for part in mail.leaves
        if part.media_type in MEDIA_TYPES
        or (
            part.media_type in ("text/plain", "application/octet-stream")
            and len(mail.leaves) > 1
            and _LOOKS_LIKE_ONE.match(part.text())
        )
    )


def recipients_of(mail: Mail, explain: Callable[[str], str]) -> tuple[Recipient, ...]:
    """Every recipient with what became of it; later groups of the same recipient and action add nothing.

    `explain` gives what the notice for people says of an address, for groups that give no diagnostic.
    """
    found: dict[tuple[str, Action | None], Recipient] = {}
    delays = _DELAY_WORDS.search(mail.top.get("subject") or "") is not None
    for group in _groups(mail):
        recipient = _recipient(group, explain if len(found) < MAX_EXPLAINED else _unexplained, delays=delays)
        if recipient is not None:
            found.setdefault((recipient.address.lower(), recipient.action), recipient)
        if len(found) >= MAX_RECIPIENTS:
            break
    return tuple(found.values())


def _unexplained(_address: str) -> str:
    return ""


def _groups(mail: Mail) -> Iterator[Fields]:
    """Groups of fields; what a server wrote into two groups, or several recipients into one, is put right."""
    for part in parts_of(mail):
        waiting: Fields = ()
        for block in _BLANK_LINES.split(b"\n" + part.content(), 4 * MAX_RECIPIENTS):
            for group in _one_recipient_each(fields_of(block.strip(b"\n"))):
                names = {name for name, _ in group}
                if waiting and names & {name for name, _ in waiting} & _RECIPIENT_FIELDS:
                    yield waiting
                    waiting = ()
                waiting = waiting + group if names & _RECIPIENT_FIELDS else waiting
        if waiting:
            yield waiting


def _one_recipient_each(fields: Fields) -> Iterator[Fields]:
    group: list[tuple[str, str]] = []
    for name, value in fields:
        if name == "final-recipient" and any(each == name for each, _ in group):
            yield tuple(group)
            group = []
        group.append((name, value))
    yield tuple(group)


def _recipient(group: Fields, explain: Callable[[str], str], *, delays: bool) -> Recipient | None:
    final = address(first(group, "final-recipient") or "")
    named = address(first(group, "original-recipient") or "") or final
    if named is None:
        return None
    status_value = first(group, "status") or ""
    code, reply = status.status_field(status_value)
    action = _action(first(group, "action") or "", code, delays=delays)
    if action not in (Action.FAILED, Action.DELAYED):
        return Recipient(named, action, code)
    remark = _TYPED.sub("", first(group, "diagnostic-code") or "", count=1)
    remark = (
        remark or _CODE.sub("", status_value, count=1).strip(" ()") or explain(named) or explain(final or "")
    )
    told_code, told_reply = status.codes_in(remark)
    if code is None or code[0] == "2" or (code.endswith(".0.0") and (told_code or "")[:1] == code[0]):
        code = told_code or code
    verdict = status.judged(code, reply or told_reply, remark)
    if action is Action.DELAYED:
        verdict = status.without_final(verdict)
    return Recipient(
        named,
        action,
        verdict.status,
        verdict.type,
        verdict.bounce_class,
        verdict.smtp_code,
        status.one_line(remark),
        final if final != named else None,
    )


def _action(value: str, code: str | None, *, delays: bool) -> Action:
    word = _ACTION.match(value)
    known = _ACTIONS.get(word[1].lower()) if word else None
    if known is not None:
        return known
    if code is not None and code[0] == "2":
        return Action.DELIVERED
    return Action.DELAYED if delays and (code is None or code[0] == "4") else Action.FAILED


def address(value: str) -> str | None:
    """The mailbox of a `type; address` field as it is written there; None where it holds none.

    `utf-8` addresses are read in all three spellings of RFC 6533 §3.
    """
    typed = _TYPED.match(value)
    if typed and typed[1].lower() in ("x400", "x500", "ldap", "unknown"):
        return None
    text = value[typed.end() :] if typed else value
    text = text.strip().removeprefix("SMTP:").strip()
    text = bracketed[1] if (bracketed := _BRACKETED.search(text)) else text.partition(" (")[0].strip()
    if typed and typed[1].lower() == "utf-8":
        text = _UNICODE_POINT.sub(lambda point: _character(int(point[1], 16)), text)
    if "@" not in text.strip("@") or len(text) > MAX_ADDRESS:
        return None
    is_plain = text.startswith('"') or not re.search(r"[\s<>;,]", text)
    return text if is_plain and text.isprintable() else None


def _character(number: int) -> str:
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "�"

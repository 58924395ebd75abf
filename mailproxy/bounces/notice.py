"""Notices that are not standard: what servers write to people when they cannot deliver."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailproxy.bounces import phrases, status
from mailproxy.bounces.naming import BLANK, MAX_LINE, Found, lines_with, recipients_named
from mailproxy.bounces.originals import Original, is_returned
from mailproxy.bounces.report import MAX_EXPLAINED, Action, Kind, Recipient
from mailproxy.received import Mail, Part, unencoded

MAX_LINES = 400
MAX_NOTICES = 5

_TAG = re.compile(r"<(?:/?(\w{1,10})[^<>@]{0,2000}|!\w{1,10}[^<>@]{0,2000}|a\s[^<>]{0,2000})/?>")
_LINE_TAGS = frozenset(["br", "p", "div", "tr", "li", "h1", "h2", "h3", "table", "td", "ul", "pre", "hr"])


@dataclass(frozen=True, slots=True)
class Notice:
    """What a server wrote to people; `telling` are the paragraphs that give a cause, `coded` those with a code."""

    text: str
    telling: tuple[str, ...]
    coded: tuple[str, ...]

    def explain(self, address: str) -> str:
        """What it says of an address, "" where it does not name it."""
        if not address or address not in self.text:
            return ""
        about = lines_with(address, self.text).partition(address)[2].strip(" \t\n>:;\"'])")
        return self.explanation(Found(address, about))

    def explanation(self, found: Found, *, alone: bool = False) -> str:
        """Why it failed: the lines that speak of the recipient, else a line with a cause, else what happened.

        What is said of the only recipient need not name it.
        """
        if status.tells(found.about) and not (alone and self.coded and not _has_code(found.about)):
            return found.about
        of_address = tuple(each for each in self.telling if found.address in each)
        ordered = self.coded + of_address if alone else of_address + self.coded
        telling = next(iter(ordered + self.telling), "")
        lines = [line for line in telling.split("\n") if not BLANK.fullmatch(line)]
        tells = _has_code if _has_code(telling) else status.tells
        at = next((number for number, line in enumerate(lines) if tells(line)), 0)
        return "\n".join(lines[at : at + 4]).strip() or found.about or _saying(self.text) or ""


def notice_of(mail: Mail) -> Notice:
    """The text before the original begins; HTML only where there is no plain text."""
    text = "\n".join(_texts(mail))
    telling = tuple(each for each in text.split("\n\n") if status.tells(each))
    return Notice(text, telling, tuple(each for each in telling if _has_code(each)))


def is_by_mail_system(mail: Mail, *, is_marked_automatic: bool) -> bool:
    """Whether a mail system wrote this: its name, the structure of a report, or its subject."""
    top = mail.top
    if top.media_type == "multipart/report" and not top.parameters.get("report-type", "").startswith("disp"):
        return True
    is_marked = any(top.get(name) is not None for name in ("x-failed-recipients", "x-ms-embedded-report"))
    if is_marked or (top.get("auto-submitted") or "").lower().startswith("auto-generated (fail"):
        return True
    if any(part.media_type == "message/delivery-status" for part in mail.leaves):
        return True
    sender = unencoded(top.get("from") or "")
    subject = unencoded(top.get("subject") or "")
    if phrases.MAIL_SYSTEM.search(sender):
        return True
    is_quoted = is_marked_automatic or phrases.FORWARDING_SUBJECT.match(subject)
    return not is_quoted and phrases.FAILURE_SUBJECT.search(subject) is not None


def read_notice(mail: Mail, notice: Notice, original: Original) -> tuple[Kind, tuple[Recipient, ...]]:
    """Whether the notice tells of a failure or a delay, and of whose."""
    subject = unencoded(mail.top.get("subject") or "")
    kind = _kind(subject, notice.text)
    if kind is Kind.NONE:
        return kind, ()
    named = recipients_named(notice.text, mail, original)
    whole = status.read_prose(f"{notice.text}\n{subject}")
    recipients = []
    for number, each in enumerate(named):
        reason = notice.explanation(each, alone=len(named) == 1) if number < MAX_EXPLAINED else ""
        verdict = status.read_prose(reason) if status.tells(reason) else whole
        recipients.append(_recipient(each.address, kind, verdict, reason or subject))
    return kind, tuple(recipients)


def _recipient(address: str, kind: Kind, verdict: status.Verdict, reason: str) -> Recipient:
    is_delay = kind is Kind.DELAY
    judged = status.without_final(verdict) if is_delay else verdict
    return Recipient(
        address,
        Action.DELAYED if is_delay else Action.FAILED,
        judged.status,
        judged.type,
        judged.bounce_class,
        judged.smtp_code,
        status.one_line(reason),
    )


def _has_code(prose: str) -> bool:
    return any(status.codes_in(prose))


def _texts(mail: Mail) -> Iterator[str]:
    parts = []
    for part in mail.leaves:
        if is_returned(part) and part is not mail.top:
            break
        if part.media_type in ("text/plain", "text/html"):
            parts.append(part)
    plain = [text for part in parts if part.media_type == "text/plain" and (text := part.text().strip())]
    texts = plain or [_without_tags(part) for part in parts]
    for text in texts[:MAX_NOTICES]:
        begins = next((m for m in phrases.ORIGINAL_BEGINS.finditer(text) if m.start() > 0), None)
        lines = text[: begins.start() if begins else len(text)].split("\n")
        yield "\n".join(line[:MAX_LINE].rstrip() for line in lines[:MAX_LINES])


def _saying(text: str) -> str | None:
    said = phrases.FAILURE_TEXT.search(text)
    return text[text.rfind("\n", 0, said.start()) + 1 :].partition("\n\n")[0] if said else None


def _without_tags(part: Part) -> str:
    before, *comments = part.text().split("<!--")
    text = before + "".join(each.partition("-->")[2] for each in comments)
    text = _TAG.sub(lambda tag: "\n" if (tag[1] or "").lower() in _LINE_TAGS else "", text)
    return "\n".join(line.strip() for line in html.unescape(text).split("\n"))


def _kind(subject: str, text: str) -> Kind:
    if phrases.DELAY_TEXT.search(text) or phrases.says_first(
        subject, phrases.DELAY_SUBJECT, phrases.FAILURE_SUBJECT
    ):
        return Kind.DELAY
    said = phrases.FAILURE_TEXT.search(text) or phrases.FAILURE_SUBJECT.search(subject)
    return Kind.BOUNCE if said or _has_code(text) else Kind.NONE

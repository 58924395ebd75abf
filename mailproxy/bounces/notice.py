"""Notices that are not standard: what servers write to people when they cannot deliver."""

import html
import re
from collections.abc import Callable, Iterator

from mailproxy.bounces import phrases, status
from mailproxy.bounces.naming import BLANK, MAX_LINE, Found, lines_with, recipients_named
from mailproxy.bounces.originals import Original, is_returned
from mailproxy.bounces.report import Action, Kind, Recipient
from mailproxy.received import Mail, Part, unencoded

MAX_LINES = 400
MAX_NOTICES = 5

_TAG = re.compile(r"<(?:/?(\w{1,10})[^<>@]{0,2000}|!\w{1,10}[^<>@]{0,2000}|a\s[^<>]{0,2000})/?>")
_LINE_TAGS = frozenset(["br", "p", "div", "tr", "li", "h1", "h2", "h3", "table", "td", "ul", "pre", "hr"])


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


def read_notice(mail: Mail, text: str, original: Original) -> tuple[Kind, tuple[Recipient, ...]]:
    """Whether the notice, of which `text` is what the server wrote, tells of a failure or a delay, and of whose."""
    subject = unencoded(mail.top.get("subject") or "")
    kind = _kind(subject, text)
    if kind is Kind.NONE:
        return kind, ()
    named = recipients_named(text, mail, original)
    alone = len(named) == 1
    recipients = [_recipient(each, kind, text, subject, alone=alone) for each in named]
    return kind, tuple(recipients)


def _recipient(found: Found, kind: Kind, text: str, subject: str, *, alone: bool) -> Recipient:
    about = explanation(found, text, alone=alone)
    verdict = status.read_prose(about)
    if not status.tells(about):
        verdict = status.read_prose(f"{about}\n{text}\n{subject}")
    if kind is Kind.DELAY:
        verdict = status.without_final(verdict)
    return Recipient(
        found.address,
        Action.DELAYED if kind is Kind.DELAY else Action.FAILED,
        verdict.status,
        verdict.type,
        verdict.bounce_class,
        verdict.smtp_code,
        status.one_line(about) or status.one_line(subject),
    )


def explainer(text: str) -> Callable[[str], str]:
    """What a notice says of an address, "" where it does not name it."""

    def explain(address: str) -> str:
        at = text.find(address) if address else -1
        if at < 0:
            return ""
        about = lines_with(address, text).partition(address)[2].strip(" \t\n>:;\"'])")
        return explanation(Found(address, about), text)

    return explain


def explanation(found: Found, text: str, *, alone: bool = False) -> str:
    """Why it failed: the lines that speak of the recipient, else a line with a cause, else what happened.

    What is said of the only recipient need not name it.
    """
    paragraphs = [each for each in text.split("\n\n") if status.tells(each)]
    with_code = [each for each in paragraphs if _has_code(each)]
    if status.tells(found.about) and not (alone and with_code and not _has_code(found.about)):
        return found.about
    of_address = [each for each in paragraphs if found.address in each]
    ordered = with_code + of_address if alone else of_address + with_code
    telling = next(iter(ordered + paragraphs), "")
    lines = [line for line in telling.split("\n") if not BLANK.fullmatch(line)]
    tells = _has_code if _has_code(telling) else status.tells
    at = next((number for number, line in enumerate(lines) if tells(line)), 0)
    return "\n".join(lines[at : at + 4]).strip() or found.about or _saying(text) or ""


def _has_code(prose: str) -> bool:
    return any(status.codes_in(prose))


def text_of(mail: Mail) -> str:
    """What the server wrote: the text before the original begins; HTML only where there is no plain text."""
    return "\n".join(_notices(mail))


def _notices(mail: Mail) -> Iterator[str]:
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

"""Notices that are not standard: what servers write to people when they cannot deliver."""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailproxy.bounces import phrases, status
from mailproxy.bounces.originals import Original, is_returned
from mailproxy.bounces.report import Action, Kind, Recipient
from mailproxy.received import Mail, Part, every, unencoded

MAX_LINES = 400
MAX_LINE = 400
MAX_RECIPIENTS = 100
INTRODUCED_LINES = 6

_TAG = re.compile(r"<(?:/?(\w{1,10})[^<>@]{0,2000}|!\w{1,10}[^<>@]{0,2000}|a\s[^<>]{0,2000})/?>")
_LINE_TAGS = frozenset(["br", "p", "div", "tr", "li", "h1", "h2", "h3", "table", "td", "ul", "pre", "hr"])
_LOCAL = re.compile(r"[^\s<>()\[\],;:\"'@\\|]{1,64}")
_DOMAIN = re.compile(r"[^\W_](?:[\w-]{0,62})(?:\.[^\W_][\w-]{0,62}){0,10}")
_SCHEME = re.compile(r"(?:mailto|smtp|rfc822|to|for)[:=]", re.IGNORECASE)

_LABEL = re.compile(
    r"[ \t>*-]{0,20}(?:"
    r"(?:failed |final |intended |undeliverable |original )?(?:recipient|address)(?: address)?"
    r"|unknown user|invalid final delivery userid|error-for|delivery failed \d{1,4} attempts|undeliverable"
    r"|user's mailbox is full|recipient's? e-?mail address|rcpt to"
    r")[ \t]{0,3}[:=][ \t]{0,20}(?P<rest>.*)",
    re.IGNORECASE,
)
_INTRODUCER = re.compile(
    r"following|recipients?\b|address(?:es|\(es\)| to which)?\b|users?\b|addressed to|deliver(?:ed|y)?\b"
    r"|did not reach|not receive|could not be|wasn't able|unable to|undeliverable"
    r"|delivre|entreg|zugestellt|recapitat|consegnat|enviad",
    re.IGNORECASE,
)
_BRACKETED_LINE = re.compile(r"<[^<>\s]{1,320}>:(?:\s|$)")
_X400 = re.compile(r"[^@\n]{0,200};dda:SMTP=", re.IGNORECASE)
_RULE = re.compile(r"[^\w\n]*", re.UNICODE)
_EXPANDED_FROM = re.compile(
    r"\((?:expanded|generated|ultimately generated|reason|originally addressed|was addressed)\s+(?:from|to):?"
    r"\s{0,3}<?([^\s<>()]{1,320})",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"\b(?:(?:undeliverable|deliver(?:ed|y|ing)?|addressed|transfer|message|mail)(?:[ \t]+\w+){0,3}\s+(?-i:to)"
    r"|(?:violation|mailbox|gateway|quota|user|account|recipient)(?:\s+is\s+full)?(?:\s+for)?"
    r"|addressed,|following recipient|local mailbox)(?![\w@.-]):?",
    re.IGNORECASE,
)
_BARE_NAME = re.compile(r"[ \t]{1,12}([A-Za-z0-9][\w.+-]{0,63})(?:[ \t]{2,}\S.*|[ \t]*\"\(.*|[ \t]*)")
_PROPOSED_DOMAIN = re.compile(r"emailing\s+(?:to\s+)?NAME@((?:[\w-]{1,63}\.){1,5}[\w-]{1,63})")


@dataclass(frozen=True, slots=True)
class Found:
    """A recipient as a notice names it: its address and the lines that speak of it."""

    address: str
    about: str


def evidence(mail: Mail, *, is_marked_automatic: bool) -> bool:
    """Whether a mail system wrote this: its name, the structure of a report, or its subject."""
    top = mail.top
    if top.media_type == "multipart/report" and not top.parameters.get("report-type", "").startswith("disp"):
        return True
    if any(top.get(name) is not None for name in ("x-failed-recipients", "x-ms-embedded-report")):
        return True
    if (top.get("auto-submitted") or "").lower().startswith("auto-generated (fail"):
        return True
    if any(part.media_type == "message/delivery-status" for part in mail.leaves):
        return True
    sender = unencoded(top.get("from") or "")
    subject = unencoded(top.get("subject") or "")
    if phrases.MAIL_SYSTEM.search(sender):
        return True
    return not is_marked_automatic and phrases.FAILURE_SUBJECT.search(subject) is not None


def read_notice(mail: Mail, text: str, original: Original) -> tuple[Kind, tuple[Recipient, ...]]:
    """Whether the notice, of which `text` is what the server wrote, tells of a failure or a delay, and of whose."""
    subject = unencoded(mail.top.get("subject") or "")
    kind = _kind(subject, text)
    if kind is Kind.NONE:
        return kind, ()
    named = list(_failed_header(mail, text)) or _named_in(text, mail, original)
    alone = len(named) == 1
    recipients = [_recipient(each, kind, text, subject, alone=alone) for each in named[:MAX_RECIPIENTS]]
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
        about = _about(address, text).partition(address)[2].strip(" \t\n>:;\"'])")
        return explanation(Found(address, about), text)

    return explain


def explanation(found: Found, text: str, *, alone: bool = False) -> str:
    """Why it failed: the lines that speak of the recipient, else a line with a cause, else what happened.

    What is said of the only recipient need not name it.
    """
    paragraphs = [each for each in text.split("\n\n") if status.tells(each)]
    with_code = [each for each in paragraphs if any(status.codes_in(each))]
    if status.tells(found.about) and not (alone and with_code and not any(status.codes_in(found.about))):
        return found.about
    of_address = [each for each in paragraphs if found.address in each]
    ordered = with_code + of_address if alone else of_address + with_code
    telling = next(iter(ordered + paragraphs), "")
    lines = [line for line in telling.split("\n") if not _RULE.fullmatch(line)]
    wanted = any(status.codes_in(telling))
    at = next(
        (
            n
            for n, line in enumerate(lines)
            if status.tells(line) and (any(status.codes_in(line)) or not wanted)
        ),
        0,
    )
    return "\n".join(lines[at : at + 4]).strip() or found.about or _saying(text) or ""


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
    for text in texts[:5]:
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
    if phrases.DELAY_TEXT.search(text) or phrases.DELAY_SUBJECT.search(subject):
        return Kind.DELAY
    said = phrases.FAILURE_TEXT.search(text) or phrases.FAILURE_SUBJECT.search(subject)
    return Kind.BOUNCE if said or any(status.codes_in(text)) else Kind.NONE


def _failed_header(mail: Mail, text: str) -> Iterator[Found]:
    for value in every(mail.top.fields, "x-failed-recipients"):
        for address in addresses_in(value):
            yield Found(address, _about(address, text))


def _about(address: str, text: str) -> str:
    """The lines from the first that names the address up to an empty one."""
    at = text.find(address)
    return text[at : at + 2000].partition("\n\n")[0] if at >= 0 else ""


def _named_in(text: str, mail: Mail, original: Original) -> list[Found]:
    """The recipients by the surest way that finds any."""
    lines = text.split("\n")
    found = _labelled(lines) or _listed(lines) or _in_sentences(text)
    found = found or _completed(lines, mail, original) or _mentioned(text, mail)
    unique: dict[str, Found] = {}
    for each in found:
        unique.setdefault(each.address.lower(), each)
    return list(unique.values())


def _mentioned(text: str, mail: Mail) -> list[Found]:
    """The first address of the notice, or of its subject, that is nobody's who wrote or received it."""
    own: set[str] = set()
    for value in every(mail.top.fields, "from", "to", "reply-to", "sender"):
        own.update(address.lower() for address in addresses_in(value))
    for place in (text, unencoded(mail.top.get("subject") or "")):
        for address in addresses_in(place):
            if address.lower() not in own and not _is_contact(address):
                return [Found(address, _about(address, text))]
    return []


def _is_contact(address: str) -> bool:
    return address.lower().startswith(("postmaster@", "mailer-daemon@", "abuse@", "support@", "helpdesk@"))


def _labelled(lines: list[str]) -> list[Found]:
    """`Failed Recipient: <address>`, and the original address where the line after it names one."""
    found: list[Found] = []
    for number, line in enumerate(lines):
        label = _LABEL.match(line)
        address = next(addresses_in(label["rest"]), None) if label else None
        if label is None or address is None:
            continue
        about = _lines_about(lines, number, "")
        if label[0].lower().lstrip(" \t>*-").startswith("original") and found:
            found[-1] = Found(address, about)
        else:
            found.append(Found(address, about))
    return found


def _listed(lines: list[str]) -> list[Found]:
    """Addresses at the beginning of lines, soon after a sentence that introduces them.

    Only lines written like the first of them name further recipients; the others explain the one above.
    """
    found: list[Found] = []
    style: tuple[int, bool] | None = None
    near = 0
    for number, line in enumerate(lines):
        address = _leading(line)
        if address is None or not (near or found or _BRACKETED_LINE.match(line)):
            found += _expanded(line, found, is_introduced=near > 0)
            near = INTRODUCED_LINES if _INTRODUCER.search(line) else max(0, near - bool(line.strip()))
            continue
        written = (len(line) - len(line.lstrip()), line.lstrip().startswith("<"))
        style = style or written
        if written == style:
            found.append(Found(address, _lines_about(lines, number, address)))
        if len(found) >= MAX_RECIPIENTS:
            break
    return found


def _expanded(line: str, found: list[Found], *, is_introduced: bool) -> list[Found]:
    """The address that was sent to, where the listed one is what an alias made of it."""
    origin = _EXPANDED_FROM.search(line)
    if origin is None or not (found or is_introduced):
        return []
    return [Found(each, found[-1].about if found else line) for each in addresses_in(origin[1])]


def _leading(line: str) -> str | None:
    stripped = _X400.sub("", line, count=1).lstrip(" \t>*-•\"'<[(")
    stripped = _SCHEME.sub("", stripped, count=1)
    at = stripped.find("@", 0, 66)
    if at < 1:
        return None
    address = next(addresses_in(stripped[:MAX_LINE]), None)
    if address is None or not stripped.startswith(address):
        return None
    behind = stripped[len(address) : MAX_LINE]
    return None if behind.startswith(",") and "@" not in behind else address


def _lines_about(lines: list[str], number: int, address: str) -> str:
    """The rest of the line and those below it, up to the next recipient or an empty line."""
    words = [lines[number].partition(address)[2].strip(" \t>:;\"'])") if address else lines[number]]
    for line in lines[number + 1 : number + 12]:
        is_next = _leading(line) and len(line) - len(line.lstrip()) <= 2
        if is_next or _RULE.fullmatch(line):
            break
        words.append(line.strip())
    return "\n".join(words)[:2000].strip()


def _in_sentences(text: str) -> list[Found]:
    found = []
    for opening in _SENTENCE.finditer(text):
        behind = text[opening.end() : opening.end() + 330].lstrip(" \t\n<'\"([:>")
        address = next(addresses_in(behind[:330]), None)
        if address and behind.startswith(address):
            line = text.rfind("\n", 0, opening.start()) + 1
            found.append(Found(address, text[line : line + 1000].partition("\n\n")[0]))
        if len(found) >= MAX_RECIPIENTS:
            break
    return found


def _completed(lines: list[str], mail: Mail, original: Original) -> list[Found]:
    """A name without a domain becomes the original recipient of that name, else one at each likely domain.

    Too many do no harm: a report is applied only to recipients that the message had.
    """
    introduced = False
    proposed = _PROPOSED_DOMAIN.findall("\n".join(lines))
    sender = next(addresses_in(mail.top.get("from") or ""), None)
    domains = proposed or ([sender.rpartition("@")[2].lower()] if sender else [])
    for line in lines:
        name = _BARE_NAME.fullmatch(line)
        if name and introduced:
            local = name[1].lower()
            known = [each for each in addresses_in(original.to) if each.lower().startswith(f"{local}@")]
            return [Found(each, line) for each in known or [f"{name[1]}@{domain}" for domain in domains]]
        if line.strip():
            introduced = line.rstrip().endswith(":")
    return []


def addresses_in(text: str) -> Iterator[str]:
    """The addresses of a text in order, found from each `@` outwards."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = _LOCAL.match(text[max(0, at - 64) : at][::-1])
        if domain and local:
            name = local[0][::-1]
            scheme = _SCHEME.match(name)
            name = name[scheme.end() :] if scheme else name
            name = name.rpartition("=")[2] if name.lower().startswith("dda") else name
            if name.strip(".") and name.isprintable():
                yield f"{name.lstrip('.')}@{domain[0].rstrip('.-')}"
        at = text.find("@", domain.end() if domain else at + 1)

"""Finds the recipients that a notice for people names: labelled, listed, in a sentence, or just mentioned."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailproxy.bounces.originals import Original
from mailproxy.bounces.report import MAX_RECIPIENTS
from mailproxy.received import Mail, every, unencoded

MAX_LINE = 400
INTRODUCED_LINES = 6

_LOCAL = re.compile(r"[^\s<>()\[\],;:\"'@\\|]{1,64}")
_DOMAIN = re.compile(r"[^\W_](?:[\w-]{0,62})(?:\.[^\W_][\w-]{0,62}){0,10}")
_SCHEME = re.compile(r"(?:mailto|smtp|rfc822|to|for)[:=]", re.IGNORECASE)

_LABEL = re.compile(
    r"[ \t>*-]{0,20}(?:"
    r"(?:failed |final |intended |undeliverable |original )?(?:recipients?|address(?:es)?)(?: address)?"
    r"|unknown user|invalid final delivery userid|error-for|delivery failed \d{1,4} attempts|undeliverable"
    r"|user's mailbox is full|recipient's? e-?mail address|rcpt to"
    r")[ \t]{0,3}[:=][ \t]{0,20}(?P<rest>.*)",
    re.IGNORECASE,
)
_INTRODUCER = re.compile(
    r"following|recipients?\b|address(?:es|\(es\)| to which)?\b|users?\b|addressed to|deliver(?:ed|y)?\b"
    r"|message (?:for|to)\b|did not reach|not receive|could not be|wasn't able|unable to|undeliverable"
    r"|delivre|entreg|zugestellt|recapitat|consegnat|enviad",
    re.IGNORECASE,
)
_BRACKETED_LINE = re.compile(r"<[^<>\s]{1,320}>:(?:\s|$)")
_X400 = re.compile(r"[^@\n]{0,200};dda:SMTP=", re.IGNORECASE)
BLANK = re.compile(r"[^\w\n]*", re.UNICODE)
_SEPARATOR = re.compile(r"[\s,;<>&]*(?:\band\b)?[\s,;<>&]*")
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


def recipients_named(text: str, mail: Mail, original: Original) -> list[Found]:
    """At most MAX_RECIPIENTS, each once, found in the surest way that finds any."""
    lines = text.split("\n")
    found = list(_failed_header(mail, text)) or _labelled(lines) or _listed(lines) or _in_sentences(text)
    found = found or _completed(lines, mail, original) or _returned_to(original) or _mentioned(text, mail)
    unique: dict[str, Found] = {}
    for each in found:
        unique.setdefault(each.address.lower(), each)
    return list(unique.values())[:MAX_RECIPIENTS]


def _failed_header(mail: Mail, text: str) -> Iterator[Found]:
    for value in every(mail.top.fields, "x-failed-recipients"):
        for address in addresses_in(value):
            yield Found(address, lines_with(address, text))


def lines_with(address: str, text: str) -> str:
    """The lines from the first that names the address up to an empty one."""
    at = text.find(address)
    return text[at : at + 2000].partition("\n\n")[0] if at >= 0 else ""


def _returned_to(original: Original) -> list[Found]:
    """The only recipient in the header of a message of ours that came back."""
    named = list(addresses_in(original.to)) if original.tracking_id else []
    return [Found(each, "") for each in named] if len(named) == 1 else []


def _mentioned(text: str, mail: Mail) -> list[Found]:
    """The first address of the notice, or of its subject, that is nobody's who wrote or received it."""
    own: set[str] = set()
    for value in every(mail.top.fields, "from", "to", "reply-to", "sender"):
        own.update(address.lower() for address in addresses_in(value))
    for place in (text, unencoded(mail.top.get("subject") or "")):
        for address in addresses_in(place):
            if address.lower() not in own and not _is_contact(address):
                return [Found(address, lines_with(address, text))]
    return []


def _is_contact(address: str) -> bool:
    return address.lower().startswith(("postmaster@", "mailer-daemon@", "abuse@", "support@", "helpdesk@"))


def _labelled(lines: list[str]) -> list[Found]:
    """`Failed Recipient: <address>`, and the original address where the line after it names one."""
    found: list[Found] = []
    for number, line in enumerate(lines):
        label = _LABEL.match(line)
        if label is None:
            continue
        about = _lines_about(lines, number, "")
        named = [Found(each, about) for each in _series(label["rest"])]
        if named and found and label[0].lower().lstrip(" \t>*-").startswith("original"):
            found.pop()
        found += named
    return found


def _series(text: str) -> Iterator[str]:
    """The first address of a text and those that follow it with nothing but separators between them."""
    behind: int | None = None
    for start, end in _addresses(text):
        if behind is not None and (start < behind or not _SEPARATOR.fullmatch(text, behind, start)):
            return
        behind = end
        yield text[start:end]


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
            found += [Found(each, _lines_about(lines, number, each)) for each in _series(line)]
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
        if is_next or BLANK.fullmatch(line):
            break
        words.append(line.strip())
    return "\n".join(words)[:2000].strip()


def _in_sentences(text: str) -> list[Found]:
    found: list[Found] = []
    for opening in _SENTENCE.finditer(text):
        behind = text[opening.end() : opening.end() + 330].lstrip(" \t\n<'\"([:>")
        named = list(_series(behind))
        if named and behind.startswith(named[0]):
            line = text.rfind("\n", 0, opening.start()) + 1
            about = text[line : line + 1000].partition("\n\n")[0]
            found += [Found(each, about) for each in named]
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
    return (text[start:end] for start, end in _addresses(text))


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """Where each begins and ends; those of `a@b@c` overlap."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = _LOCAL.match(text[max(0, at - 64) : at][::-1])
        if domain and local:
            name = local[0][::-1]
            scheme = _SCHEME.match(name)
            name = name[scheme.end() :] if scheme else name
            name = name.rpartition("=")[2] if name.lower().startswith("dda") else name
            name = name.lstrip(".")
            if name and name.isprintable():
                yield at - len(name), at + 1 + len(domain[0].rstrip(".-"))
        at = text.find("@", domain.end() if domain else at + 1)

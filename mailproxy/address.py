"""Mailboxes as RFC 5322 writes them and RFC 5321/6531 can carry them, parsed in linear time."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import idna

from mailproxy.encoded_words import decoded_word, hides_line_break
from mailproxy.errors import InvalidInput

MAX_LOCAL = 64
MAX_ADDRESS = 254
MAX_DOMAIN = 253
MAX_MAILBOX = 1000

_ATEXT = r"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"([{_ATEXT}]+(?:\.[{_ATEXT}]+)*)@((?:{_LABEL}\.)*{_LABEL})")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DOT_ATOM = re.compile(rf"[{_ATEXT}\x80-\U0010ffff]+(?:\.[{_ATEXT}\x80-\U0010ffff]+)*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_RUN = re.compile(r'[^ "<>(),:;@\[\]\\]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SEPARATOR = re.compile(r'[",]')
_ESCAPED = re.compile(r"\\(.)")
_LITERAL = re.compile(r"\[[^\[\]\\ ]*\]")
_IPV6 = re.compile(r"(?i:IPv6):([0-9A-Fa-f:.]+)")

_REMEDY = {
    "(": "comments are not accepted; remove the text in parentheses",
    ")": "comments are not accepted; remove the text in parentheses",
    ",": "a comma separates addresses; give each address by itself and put a display name that holds a comma"
    " in double quotes",
    ";": "addresses are separated by commas, and groups are not accepted",
    ":": "groups and routes are not accepted; put a display name that holds a colon in double quotes",
    '"': 'a quoted text is not closed; end it with a double quote and write \\" for one inside',
    "@": "an unexpected @; write name@example.com, or display name <name@example.com>",
    ">": "a > without its <; write the address as <name@example.com>",
    "<": "an unexpected <; one address is written between < and >",
}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox. `display_name` is decoded text, `local` is in its shortest valid spelling (quoted only if
    it must be), `domain` is as written (U-labels, A-labels or an address literal)."""

    display_name: str | None
    local: str
    domain: str

    @property
    def addr_spec(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def ascii_addr_spec(self) -> str:
        """The address with its domain in A-labels (RFC 5891); a non-ASCII local part stays."""
        return f"{self.local}@{self.domain if self.domain.isascii() else ascii_domain(self.domain)}"

    @property
    def needs_smtputf8(self) -> bool:
        return not self.local.isascii()


@lru_cache(maxsize=1024)
def parse(text: str) -> Mailbox:
    """One mailbox: `local@domain`, `<local@domain>` or `display name <local@domain>` (RFC 5322 §3.4).

    Raises InvalidInput `invalid_address`; its detail says what is wrong and how to write it instead.
    """
    plain = _PLAIN.fullmatch(text) if len(text) <= MAX_ADDRESS else None
    if plain is not None and len(plain[1]) <= MAX_LOCAL and not plain[2][-1].isdigit():
        return Mailbox(None, plain[1], plain[2])
    if len(text) > MAX_MAILBOX:
        _refuse(text, f"longer than {MAX_MAILBOX} characters")
    if _CONTROL.search(text):
        _refuse(text, "contains a line break or another control character; remove it")
    stripped = text.strip(" ")
    if not stripped:
        _refuse(text, "empty; write name@example.com")
    return _mailbox(stripped)


def split_list(text: str) -> tuple[str, ...]:
    """The items of comma-separated text, stripped and unparsed; commas in quoted text do not separate."""
    items: list[str] = []
    start, pos = 0, 0
    while mark := _SEPARATOR.search(text, pos):
        if mark[0] == '"':
            quoted = _QUOTED.match(text, mark.start())
            pos = quoted.end() if quoted else len(text)
        else:
            items.append(text[start : mark.start()])
            start = pos = mark.end()
    items.append(text[start:])
    return tuple(item.strip(" ") for item in items if item.strip(" "))


def parse_list(value: str | Sequence[str]) -> tuple[Mailbox, ...]:
    """A list of mailboxes, or text with commas between them; an item of a list is exactly one mailbox."""
    found: list[Mailbox] = []
    for number, item in enumerate(split_list(value) if isinstance(value, str) else value, 1):
        try:
            found.append(parse(item))
        except InvalidInput as refusal:
            raise InvalidInput(f"address {number}: {refusal.detail}", code=refusal.error_code) from None
    return tuple(found)


def envelope_recipients(
    to: Iterable[str], cc: Iterable[str] = (), bcc: Iterable[str] = ()
) -> tuple[str, ...]:
    """The RCPT addresses in order, each once: domains compare without case, local parts with it."""
    seen: dict[tuple[str, str], str] = {}
    for text in (*to, *cc, *bcc):
        address = parse(text).ascii_addr_spec
        local, _, domain = address.rpartition("@")
        seen.setdefault((local, domain.lower()), address)
    return tuple(seen.values())


def envelope_sender(sender: str, return_path: str | None) -> str:
    """The MAIL FROM address: the return path if there is one, else the author; "" for a null sender `<>`."""
    if return_path == "<>":
        return ""
    return parse(return_path or sender).ascii_addr_spec


@lru_cache(maxsize=4096)
def ascii_domain(domain: str) -> str:
    """A domain in A-labels by IDNA 2008, letters folded as UTS 46 says; raises InvalidInput."""
    try:
        encoded = idna.encode(domain, uts46=True).decode("ascii")
    except (UnicodeError, ValueError) as problem:
        reason = str(problem)[:120]
        raise InvalidInput(
            f"the domain {_shown(domain)} is not valid by IDNA 2008 ({reason})", code="invalid_address"
        ) from None
    return encoded


@lru_cache(maxsize=1024)
def _mailbox(text: str) -> Mailbox:
    words: list[str] = []
    encoded_before = False
    pos = 0
    while pos < len(text) and text[pos] != "<":
        if text[pos] == " ":
            pos += 1
            continue
        word = (_QUOTED if text[pos] == '"' else _RUN).match(text, pos)
        if word is None:
            _unexpected(text, pos)
        if not words and text[word.end() : word.end() + 1] == "@":
            local, domain, end = _address(text, 0)
            if end != len(text):
                _unexpected(text, len(text) - len(text[end:].lstrip(" ")))
            return Mailbox(None, local, domain)
        decoded = None if word[0][0] == '"' else decoded_word(word[0])
        if words and not (encoded_before and decoded is not None):
            words.append(" ")
        words.append(_plain_word(word[0]) if decoded is None else decoded)
        encoded_before, pos = decoded is not None, word.end()
    if pos == len(text):
        _refuse(text, "has no address; write name@example.com, or display name <name@example.com>")
    local, domain, end = _address(text, pos + 1)
    if text[end : end + 1] != ">":
        _unexpected(text, end)
    if end + 1 != len(text):
        _refuse(text, "has text after the >; give one address and nothing behind it")
    return Mailbox(_display_name(text, "".join(words)), local, domain)


def _plain_word(word: str) -> str:
    return _ESCAPED.sub(r"\1", word[1:-1]) if word[0] == '"' else word


def _display_name(text: str, name: str) -> str | None:
    if _CONTROL.search(name) or hides_line_break(name):
        _refuse(text, "hides a control character in an encoded word; remove it")
    return name.strip(" ") or None


def _address(text: str, start: int) -> tuple[str, str, int]:
    """The local part and domain that begin at `start`, and where they end."""
    local = (_QUOTED if text[start : start + 1] == '"' else _RUN).match(text, start)
    if local is None:
        if text[start : start + 1] == "@":
            _refuse(text, "has nothing before the @; write name@example.com")
        _unexpected(text, start)
    at = local.end()
    if text[at : at + 1] != "@":
        if at == len(text) or text[at] == ">":
            _refuse(text, "has no @; write name@example.com")
        _unexpected(text, at)
    domain = (_LITERAL if text[at + 1 : at + 2] == "[" else _RUN).match(text, at + 1)
    if domain is None:
        _refuse(text, "has no valid domain after the @; write name@example.com")
    spelled = _checked_local(text, local[0])
    ascii_form = _checked_domain(text, domain[0])
    if len(spelled.encode()) + 1 + len(ascii_form) > MAX_ADDRESS:
        _refuse(text, f"longer than {MAX_ADDRESS} octets (RFC 5321 §4.5.3.1)")
    return spelled, domain[0], domain.end()


def _checked_local(text: str, local: str) -> str:
    if local[0] == '"':
        content = _plain_word(local)
        if _DOT_ATOM.fullmatch(content):
            local = content
        else:
            local = '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'
    elif not _DOT_ATOM.fullmatch(local):
        _refuse(text, "has a misplaced dot before the @; a dot stands between two other characters")
    if not local.isprintable():
        _refuse(text, "has an invisible character before the @; remove it")
    if len(local.encode()) > MAX_LOCAL:
        _refuse(text, f"has more than {MAX_LOCAL} octets before the @ (RFC 5321 §4.5.3.1.1)")
    return local


def _checked_domain(text: str, domain: str) -> str:
    if domain[0] == "[":
        return _checked_literal(text, domain)
    encoded = domain if domain.isascii() else ascii_domain(domain)
    if len(encoded) > MAX_DOMAIN or not _DOMAIN.fullmatch(encoded):
        _refuse(
            text,
            "has an invalid domain; its labels are up to 63 letters, digits and inner hyphens",
        )
    if encoded.rpartition(".")[2].isdigit():
        _refuse(
            text,
            "has a domain that ends in a number; write an IP address in brackets, as in name@[192.0.2.1]",
        )
    return encoded


def _checked_literal(text: str, literal: str) -> str:
    six = _IPV6.fullmatch(literal[1:-1])
    try:
        if six:
            ipaddress.IPv6Address(six[1])
        else:
            ipaddress.IPv4Address(literal[1:-1])
    except ValueError:
        _refuse(text, "has an invalid address literal; write [192.0.2.1] or [IPv6:2001:db8::1]")
    return literal


def _unexpected(text: str, pos: int) -> NoReturn:
    if pos >= len(text):
        _refuse(text, "ends too early; close the address with >")
    char = text[pos]
    _refuse(text, _REMEDY.get(char, f"has an unexpected {char!r}; put the display name in double quotes"))


def _refuse(text: str, what: str) -> NoReturn:
    raise InvalidInput(f"{_shown(text)}: {what}", code="invalid_address")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")

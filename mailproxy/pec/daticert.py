"""`daticert.xml`, the certification data of a receipt (RFC 6109 §4.4), read as a stream and without entities."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn
from xml.parsers import expat

from mailproxy.model import Instant

MAX_OCTETS = 1 << 20
MAX_DEPTH = 16
MAX_VALUES = 2_000
MAX_VALUE = 2_000

_DAY = re.compile(r"\s*\d{1,2}/\d{1,2}/\d{4}\s*", re.ASCII)
_CLOCK = re.compile(r"\s*\d{1,2}:\d{2}:\d{2}\s*", re.ASCII)
_ZONE = re.compile(r"\s*([+-])(\d{2}):?(\d{2})\s*", re.ASCII)


class Unreadable(Exception):
    """Not certification data, or something that hides in its form."""


@dataclass(frozen=True, slots=True)
class Certification:
    """What the provider certifies. `kind` and `error` are its words; `recipients` are those of the message,
    `delivered_to` is the one that a receipt of delivery or of its failure is about."""

    kind: str
    error: str
    sender: str | None
    recipients: tuple[str, ...]
    delivered_to: str | None
    message_id: str | None
    identifier: str | None
    provider: str | None
    receipt_type: str | None
    extended_error: str | None
    at: Instant | None


@dataclass(slots=True)
class _Reader:
    """Collects texts by the path of their element below `postacert`."""

    path: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)
    values: int = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name.rpartition(":")[2].lower())
        self.values += 1
        if len(self.path) > MAX_DEPTH or self.values > MAX_VALUES or self.path[0] != "postacert":
            raise Unreadable
        self.attributes.setdefault("/".join(self.path[1:]), attributes)
        self.pieces.clear()

    def data(self, text: str) -> None:
        self.pieces.append(text)

    def end(self, _name: str) -> None:
        text = "".join(self.pieces).strip()[:MAX_VALUE]
        if text:
            self.texts.setdefault("/".join(self.path[1:]), []).append(text)
        self.pieces.clear()
        self.path.pop()

    def first(self, path: str) -> str | None:
        return next(iter(self.texts.get(path, ())), None)


def read_certification(octets: bytes) -> Certification:
    """Raises Unreadable for anything but well-formed certification data.

    The document type may be named, but is not fetched; one that defines anything and all entities are refused.
    """
    if len(octets) > MAX_OCTETS:
        raise Unreadable
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_definitions
    parser.EntityDeclHandler = _refuse
    parser.SkippedEntityHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.data
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(octets.lstrip(b"\xef\xbb\xbf \t\n"), True)
    except (expat.ExpatError, ValueError, LookupError) as problem:
        raise Unreadable from problem
    return _certification(reader)


def _refuse_definitions(_name: str, _system: str | None, _public: str | None, has_definitions: bool) -> None:
    if has_definitions:
        raise Unreadable


def _refuse(*_declaration: object) -> NoReturn:
    raise Unreadable


def _certification(reader: _Reader) -> Certification:
    root = reader.attributes.get("", {})
    receipt = reader.attributes.get("dati/ricevuta", {})
    return Certification(
        kind=root.get("tipo", "").strip().lower(),
        error=root.get("errore", "").strip().lower(),
        sender=reader.first("intestazione/mittente"),
        recipients=tuple(reader.texts.get("intestazione/destinatari", ())),
        delivered_to=reader.first("dati/consegna"),
        message_id=reader.first("dati/msgid"),
        identifier=reader.first("dati/identificativo"),
        provider=reader.first("dati/gestore-emittente"),
        receipt_type=receipt.get("tipo"),
        extended_error=reader.first("dati/errore-esteso"),
        at=_instant(reader),
    )


def _instant(reader: _Reader) -> Instant | None:
    day = _DAY.fullmatch(reader.first("dati/data/giorno") or "")
    clock = _CLOCK.fullmatch(reader.first("dati/data/ora") or "")
    zone = _ZONE.fullmatch(reader.attributes.get("dati/data", {}).get("zona", ""))
    if not (day and clock and zone):
        return None
    try:
        local = datetime.strptime(f"{day[0].strip()} {clock[0].strip()}", "%d/%m/%Y %H:%M:%S").replace(
            tzinfo=UTC
        )
    except ValueError:
        return None
    offset = int(zone[2]) * 3600 + int(zone[3]) * 60
    return local.timestamp() - (offset if zone[1] == "+" else -offset)

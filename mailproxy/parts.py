"""MIME entities: text bodies and attachments in the shortest transfer encoding that is safe on the wire."""

import binascii
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from mailproxy import media_types
from mailproxy.encoded_words import looks_encoded
from mailproxy.headers import MAX_LINE, Field, RenderError, block, quoted
from mailproxy.model import Attachment
from mailproxy.pieces import Base64, InMemory, Piece, base64_lines

_LAZY_FROM = 64 * 1024
_LONGEST_PLAIN_NAME = 40
_PIECE = 48
_ATTRIBUTE_CHARS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{}~")


class Entity(NamedTuple):
    """Content header fields and a body in pieces that end in CRLF."""

    fields: list[Field]
    body: list[Piece]


def text_entity(text: str, subtype: str) -> Entity:
    """A text part in UTF-8: 7bit where legal, else quoted-printable or base64, whichever is shorter."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    if not lines.endswith("\n"):
        lines += "\n"
    try:
        body = lines.replace("\n", "\r\n").encode("utf-8")
    except UnicodeEncodeError:
        raise RenderError("the body holds half of a surrogate pair", code="invalid_text") from None
    encoding = "7bit"
    if not (lines.isascii() and "\0" not in lines and _short_lines(lines)):
        body, encoding = _encoded(body)
    return Entity(
        [
            ("Content-Type", f"Content-Type: text/{subtype}; charset=utf-8"),
            ("Content-Transfer-Encoding", f"Content-Transfer-Encoding: {encoding}"),
        ],
        [body],
    )


def _short_lines(lines: str) -> bool:
    return len(lines) <= MAX_LINE or max(map(len, lines.split("\n"))) <= MAX_LINE


def _encoded(body: bytes) -> tuple[bytes, str]:
    quoted_printable = binascii.b2a_qp(body, istext=True)
    if len(quoted_printable) <= len(body) * 4 // 3 * 78 // 76:
        return quoted_printable, "quoted-printable"
    return base64_lines(body), "base64"


def attachment_entity(attachment: Attachment) -> Entity:
    """An attachment in base64, with the file name as RFC 2183 and RFC 2231 write it."""
    media_type = media_types.effective(attachment.mime_type, attachment.filename)
    if not media_types.acceptable(media_type):
        raise RenderError(f"{media_type!a} is no type for an attachment", code="invalid_mime_type")
    disposition = "inline" if attachment.inline else "attachment"
    parameters = ";\r\n ".join([disposition, *filename_parameters(attachment.filename.strip())])
    fields = [
        ("Content-Type", f"Content-Type: {media_type}"),
        ("Content-Transfer-Encoding", "Content-Transfer-Encoding: base64"),
        ("Content-Disposition", f"Content-Disposition: {parameters}"),
    ]
    if attachment.content_id:
        bare = attachment.content_id.removeprefix("<").removesuffix(">")
        fields.append(("Content-ID", f"Content-ID: <{bare}>"))
    return Entity(fields, [_content(attachment)])


def _content(attachment: Attachment) -> Piece:
    """Short content at once, long content when it is sent: then it is in memory once at most."""
    content = attachment.content
    if attachment.source is not None:
        raise RenderError("an attachment has not been fetched", code="attachment_not_fetched")
    if not isinstance(content, bytes):
        return Base64(content)
    return base64_lines(content) if len(content) < _LAZY_FROM else Base64(InMemory(content))


def filename_parameters(filename: str) -> list[str]:
    """`filename` for a plain ASCII name, else `filename*` (in sections if it is long) and an ASCII fallback.

    The extended form comes first: readers that know both forms and keep only one keep the first.
    """
    plain = filename.isascii() and filename.isprintable() and not looks_encoded(filename)
    if plain and len(filename) <= _LONGEST_PLAIN_NAME:
        return [f"filename={quoted(filename)}"]
    pieces = _percent_encoded(filename)
    if len(pieces) == 1:
        extended = [f"filename*=UTF-8''{pieces[0]}"]
    else:
        pieces[0] = f"UTF-8''{pieces[0]}"
        extended = [f"filename*{number}*={piece}" for number, piece in enumerate(pieces)]
    return [*extended, f"filename={quoted(_ascii_fallback(filename))}"]


def _percent_encoded(filename: str) -> list[str]:
    pieces = [""]
    for char in filename:
        try:
            octets = char.encode("utf-8")
        except UnicodeEncodeError:
            raise RenderError("a file name holds half of a surrogate pair", code="invalid_filename") from None
        encoded = "".join([chr(octet) if octet in _ATTRIBUTE_CHARS else f"%{octet:02X}" for octet in octets])
        if len(pieces[-1]) + len(encoded) > _PIECE:
            pieces.append("")
        pieces[-1] += encoded
    return pieces


def _ascii_fallback(filename: str) -> str:
    unaccented = [char for char in unicodedata.normalize("NFKD", filename) if not unicodedata.combining(char)]
    name = "".join([char if " " <= char <= "~" and char not in '"\\/' else "_" for char in unaccented])
    name = name.replace("=?", "__").strip() or "attachment"
    stem, dot, extension = name.rpartition(".")
    if len(name) <= _LONGEST_PLAIN_NAME:
        return name
    keep = f".{extension}" if dot and len(extension) <= 10 else ""
    return (stem if keep else name)[: _LONGEST_PLAIN_NAME - len(keep)] + keep


def multipart(
    subtype: str, boundary: str, entities: Iterable[Entity], root_type: str | None = None
) -> Entity:
    """A multipart entity; the boundary begins with `=_`, which no transfer encoding can produce."""
    pieces: list[Piece] = []
    for entity in entities:
        pieces += [b"--%b\r\n%b\r\n" % (boundary.encode(), block(entity.fields)), *entity.body]
    pieces.append(b"--%b--\r\n" % boundary.encode())
    root = f' type="{root_type}";' if root_type else ""
    text = f'Content-Type: multipart/{subtype};{root}\r\n boundary="{boundary}"'
    return Entity([("Content-Type", text)], pieces)

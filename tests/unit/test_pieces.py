"""A message in pieces is the message at once, whatever lies in it and wherever it is cut."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from mailproxy import mime
from mailproxy.model import Attachment, Content
from mailproxy.pieces import CHUNK, Base64, InMemory, Written, base64_lines, octets
from workers.sender.session import wire_chunks, wire_form

AT = 1_700_000_000.0


def composed(*attachments: Attachment, body: str = "hello") -> bytes | Written:
    content = Content("m", "a@example.org", ("b@example.com",), "s", body_text=body, attachments=attachments)
    return mime.compose(content, accepted_at=AT, message_id="<m@example.org>", tracking_id="m")


@given(st.sampled_from([0, 1, 56, 57, 58, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5]))
def test_base64_made_in_pieces_is_that_made_at_once(size: int) -> None:
    content = bytes(n * 7 % 256 for n in range(251)) * (size // 251 + 1)
    whole = base64_lines(content[:size])
    lazy = Base64(InMemory(content[:size]))
    assert b"".join(lazy) == whole
    assert b"".join(lazy) == whole, "it can be read again"
    assert lazy.size == len(whole)


@given(
    st.lists(st.sampled_from([0, 10, 70_000, 300_000]), max_size=3),
    st.sampled_from(["hello", ".\r\n..x\n.", "grüße\n" * 9]),
)
def test_what_goes_over_the_wire_does_not_depend_on_the_pieces(sizes: list[int], body: str) -> None:
    parts = [Attachment(f"{n}.bin", b"." * size) for n, size in enumerate(sizes)]
    data = composed(*parts, body=body)
    at_once = octets(data)
    assert isinstance(data, Written) == any(size >= 70_000 for size in sizes)
    assert b"".join(wire_chunks(data)) == wire_form(at_once)
    assert isinstance(data, bytes) or data.size == len(at_once)
    for part in parts:
        encoded = base64.b64encode(part.content)
        assert encoded[:60] in at_once


def test_a_long_attachment_is_not_encoded_before_it_is_sent() -> None:
    content = b"x" * 70_000
    data = composed(Attachment("a", content))
    assert isinstance(data, Written)
    (lazy,) = (piece for piece in data.pieces if isinstance(piece, Base64))
    assert isinstance(lazy.of, InMemory)
    assert lazy.of.octets is content

"""Base64 that came with a message: as strict for a long text as for a short one."""

import base64
import hashlib
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.attachments import inline


@given(st.binary(max_size=200), st.sampled_from(["", "base64:"]), st.sampled_from([76, 7]), st.booleans())
def test_what_was_encoded_is_read_back(content: bytes, prefix: str, width: int, is_bare: bool) -> None:
    text = base64.b64encode(content).decode()
    text = "\r\n".join(textwrap.wrap(text.rstrip("=") if is_bare else text, width)) + "\n"
    found = inline.read(prefix + text)
    assert b"".join(found.pieces) == content
    assert base64.b64decode(inline.clean(prefix + text), validate=True) == content
    assert (found.sha256, found.md5, found.size) == (
        hashlib.sha256(content).hexdigest(),
        hashlib.md5(content, usedforsecurity=False).hexdigest(),
        len(content),
    )


@pytest.mark.parametrize("space", ["", "\r\n"])
def test_a_long_text_is_read_in_pieces(space: str) -> None:
    content = bytes(range(251)) * 16_000
    text = base64.b64encode(content).decode()
    found = inline.read(space.join(text[at : at + 76] for at in range(0, len(text), 76)))
    assert len(found.pieces) > 1
    assert b"".join(found.pieces) == content


@pytest.mark.parametrize(
    "text",
    ["QUJD!", "QQ==QQ==", "Q", "QUJDR", "-_-_", "Ä" * 8, "Q=UJD", "A" * (1 << 20) + "QQ==" + "QUJD" * 4],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"padding|base64|Only|ASCII|Invalid"):
        inline.read(text)

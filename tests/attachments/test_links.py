"""Tokens of download links, and the names that files are saved under."""

import re
from urllib.parse import unquote

import pytest

from mailproxy.attachments import links
from mailproxy.attachments.links import Pass
from mailproxy.model import TenantPk

KEY = bytes(range(32))
GRANTED = Pass(TenantPk(7), "ab" * 16, 2_000_000_000.0)
NAME = "Größe 1.pdf"


def test_a_token_opens_what_it_was_made_for() -> None:
    assert links.opened(KEY, links.token(KEY, GRANTED, NAME), NAME) == GRANTED


def test_a_tokens_mac_has_all_its_256_bits() -> None:
    assert len(links.token(KEY, GRANTED, NAME).rpartition(".")[2]) == 43


def test_another_name_or_another_key_opens_nothing() -> None:
    token = links.token(KEY, GRANTED, NAME)
    assert links.opened(KEY, token, "other.pdf") is None
    assert links.opened(bytes(32), token, NAME) is None


def test_no_character_of_a_token_may_be_another_one() -> None:
    token = links.token(KEY, GRANTED, NAME)
    for place, char in enumerate(token):
        for other in "0a1.-":
            if other != char:
                altered = token[:place] + other + token[place + 1 :]
                assert links.opened(KEY, altered, NAME) is None, altered


@pytest.mark.parametrize(
    "text", ["", ".", "1", "1.7", "1..........", "2" + "x" * 300, "1.7.ab.2.c.d", "\x00", "١.7.a.2.c.d"]
)
def test_what_is_no_token_opens_nothing(text: str) -> None:
    assert links.opened(KEY, text, NAME) is None


def test_a_token_with_something_after_it_opens_nothing() -> None:
    token = links.token(KEY, GRANTED, NAME)
    for after in ("\n", "=", ".", "A"):
        assert links.opened(KEY, token + after, NAME) is None


def test_a_link_is_a_url_in_ascii_whatever_the_file_is_called() -> None:
    url = links.url("https://mail.example.com/", KEY, GRANTED, 'a b/"ü?#%.pdf')
    assert re.fullmatch(r"https://mail\.example\.com/download/[A-Za-z0-9._-]+/[A-Za-z0-9._%-]+", url)


@pytest.mark.parametrize("name", ["a.pdf", "Größe 1.pdf", 'x"y;z.txt', "100%.txt", "日本.txt", "back\\slash"])
def test_files_are_saved_under_their_names(name: str) -> None:
    field = links.disposition(name)
    assert field.isascii()
    assert not re.search(r"[\x00-\x1f]", field)
    found = re.fullmatch(r"attachment; filename=\"([ -~]*)\"(?:; filename\*=UTF-8''(\S+))?", field)
    assert found is not None
    assert (found[1] if found[2] is None else unquote(found[2])) == name
    assert not set(found[1]).intersection('"\\%')


def test_line_breaks_in_a_name_do_not_reach_the_header() -> None:
    assert not re.search(r"[\r\n]", links.disposition("a\r\nX-Evil: 1"))

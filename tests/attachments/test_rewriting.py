"""What bodies say of attachments that became links."""

import pytest

from mailproxy.attachments.rewriting import Link, placed, with_links
from mailproxy.model import Attachment, Content

MB = 1024 * 1024
LINK = Link("report.pdf", 2 * MB, "https://files.example.com/download/1.7.ab/report.pdf?a=1&b=2")
SMALL, LARGE = Attachment("a.txt", b"a"), Attachment("report.pdf", b"x")


def _content(**fields: object) -> Content:
    base = {"id": "m", "sender": "a@example.com", "to": ("b@example.com",), "subject": "s"}
    return Content(**{**base, "attachments": (SMALL, LARGE), **fields})  # type: ignore[arg-type]


def test_the_attachment_is_left_out_and_the_others_stay() -> None:
    assert with_links(_content(body_text="Hello\n"), {1: LINK}).attachments == (SMALL,)


def test_a_text_body_gets_the_list_after_a_blank_line() -> None:
    assert with_links(_content(body_text="Hello\n"), {1: LINK}).body_text == (
        "Hello\n\n---\nLarge attachments available for download:\n"
        f"  - report.pdf (2.0 MB): {LINK.url}\n"
        "(Links will expire after the configured retention period.)\n"
    )


def test_both_bodies_say_it_when_there_are_two() -> None:
    found = with_links(_content(body_text="Hello", body_html="<p>Hello</p>"), {1: LINK})
    assert found.body_text is not None
    assert found.body_html is not None
    assert LINK.url in found.body_text
    assert 'href="https://files.example.com/download/1.7.ab/report.pdf?a=1&amp;b=2"' in found.body_html
    assert found.body_html.startswith("<p>Hello</p><hr ")


def test_a_page_alone_gets_no_text_beside_it() -> None:
    found = with_links(_content(body_html="<p>Hello</p>"), {1: LINK})
    assert found.body_text is None


def test_a_message_without_a_body_gets_one() -> None:
    found = with_links(_content(), {1: LINK})
    assert found.body_text is not None
    assert found.body_text.startswith("---\n")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<html><body><p>x</p></body></html>", "<html><body><p>x</p>#</body></html>"),
        ("<BODY>x</BODY >\n</HTML>", "<BODY>x#</BODY >\n</HTML>"),
        ("<html>x</html>", "<html>x#</html>"),
        ("<p>x</p>", "<p>x</p>#"),
        ("<body>x</body><!-- </body> -->", "<body>x#</body><!-- </body> -->"),
        ("<body>x<!-- </body> --></body>", "<body>x<!-- </body> -->#</body>"),
        ("<body>x<!-- </body>", "<body>x<!-- </body>#"),
        ("<body>a</body><body>b</body>", "<body>a</body><body>b#</body>"),
    ],
)
def test_the_list_stands_before_the_end_of_the_body(page: str, expected: str) -> None:
    assert placed(page, "#") == expected


def test_names_are_escaped_in_a_page_and_break_no_line_of_a_text() -> None:
    evil = Link('<img src=x onerror="alert(1)">\r\nBcc: x\u202eexe', 2 * MB, 'https://x/"><script>')
    found = with_links(_content(body_text="t", body_html="<p>h</p>"), {1: evil})
    assert found.body_html is not None
    assert found.body_text is not None
    assert "<img" not in found.body_html
    assert "<script" not in found.body_html
    assert "\r" not in found.body_text
    assert "\u202e" not in found.body_text
    assert "\nBcc" not in found.body_text


def test_the_same_links_make_the_same_message() -> None:
    content = _content(body_text="t", body_html="<p>h</p>")
    assert with_links(content, {1: LINK, 0: LINK}) == with_links(content, {0: LINK, 1: LINK})


def test_without_links_nothing_changes() -> None:
    content = _content(body_text="t")
    assert with_links(content, {}) is content

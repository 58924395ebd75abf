"""A message whose large attachments are links: what its bodies say then. The same message says the same again."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mailproxy.attachments.large import shown_size
from mailproxy.model import Content

TITLE = "Large attachments available for download:"
NOTE = "Links will expire after the configured retention period."
_COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
_ENDS = (re.compile(r"</body\s*>", re.IGNORECASE), re.compile(r"</html\s*>", re.IGNORECASE))
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Link:
    """What stands in place of an attachment; `size` is its octets."""

    filename: str
    size: int
    url: str


def with_links(content: Content, links: Mapping[int, Link]) -> Content:
    """`content` without the attachments at these places, which its bodies name and link to instead."""
    if not links:
        return content
    shown = [links[index] for index in sorted(links)]
    text, page = content.body_text, content.body_html
    if text is not None or page is None:
        text = _before(text or "", as_text(shown))
    return replace(
        content,
        body_text=text,
        body_html=None if page is None else placed(page, as_html(shown)),
        attachments=tuple(part for index, part in enumerate(content.attachments) if index not in links),
    )


def as_text(links: list[Link]) -> str:
    lines = [f"  - {_name(link)} ({shown_size(link.size)}): {link.url}" for link in links]
    return "\n".join(["---", TITLE, *lines, f"({NOTE})", ""])


def as_html(links: list[Link]) -> str:
    items = "".join(
        f'<li><a href="{html.escape(link.url)}">{html.escape(_name(link))}</a> ({shown_size(link.size)})</li>'
        for link in links
    )
    return (
        f'<hr style="margin-top: 20px;"><p><strong>{TITLE}</strong></p><ul>{items}</ul><p><em>{NOTE}</em></p>'
    )


def placed(page: str, block: str) -> str:
    """Before the end of the body, where readers show it; comments are not looked at."""
    bare = _COMMENT.sub(lambda found: " " * len(found[0]), page)
    for end in _ENDS:
        if found := list(end.finditer(bare)):
            at = found[-1].start()
            return page[:at] + block + page[at:]
    return page + block


def _before(text: str, block: str) -> str:
    return f"{text.rstrip(chr(10))}\n\n{block}" if text else block


def _name(link: Link) -> str:
    """Without what would turn the line's direction or break it."""
    return _UNSHOWABLE.sub("_", link.filename)

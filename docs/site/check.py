"""Checks a built site: `python docs/site/check.py FOLDER`. Every link leads somewhere, and nothing is fetched from
elsewhere."""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
NOT_FETCHED = {"canonical", "index", "search", "next", "prev", "author"}


class Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[tuple[str, bool]] = []
        self.anchors = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        for name in ("href", "src"):
            if name in given:
                fetched = (tag, name) in FETCHED and given.get("rel") not in NOT_FETCHED
                self.links.append((given[name], fetched))


def faults(folder: Path) -> Iterator[str]:
    pages = {path.resolve(): Page(path) for path in folder.rglob("*.html")}
    if not pages:
        yield f"{folder} has no pages"
    for path, page in pages.items():
        for link, fetched in page.links:
            if wrong := _fault(path, link, fetched, pages):
                yield f"{path.relative_to(folder.resolve())}: {link}: {wrong}"


def _fault(path: Path, link: str, fetched: bool, pages: dict[Path, Page]) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return "is fetched from elsewhere" if fetched and parts.scheme != "data" else None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists():
        return "there is no such file"
    if target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "the page has no such place"
    return None


if __name__ == "__main__":
    found = list(faults(Path(sys.argv[1])))
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    sys.exit(bool(found))

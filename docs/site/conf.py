"""How the site is made: `make docs`."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

project = "mailproxy"
author = "the mailproxy project"
version = release = re.findall(r'__version__ = "(.+)"', (ROOT / "mailproxy" / "__init__.py").read_text())[0]
language = "en"

# The source folder is the project's, so that links between pages and files are the same here and in the repository.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/it/*.md",
    "deploy/README.md",
    "loadtests/README.md",
    "sql/README.md",
    "CHANGELOG.md",
]
extensions = ["myst_parser"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "mailproxy"
html_copy_source = False
html_extra_path = ["root"]
html_theme_options = {"navigation_with_keys": True}


def setup(app: Any) -> None:
    app.connect("source-read", leave_out_empty_patterns)


def leave_out_empty_patterns(app: Any, page: str, source: list[str]) -> None:
    """The table of contents names pages by patterns, such as `pec*`, that may match none."""
    if page == root_doc:
        known = [found.removeprefix("docs/") for found in app.env.found_docs]
        lines = source[0].splitlines(keepends=True)
        source[0] = "".join(
            line
            for line in lines
            if not re.fullmatch(r"[\w/-]+\*\n", line) or any(fnmatch(one, line.strip()) for one in known)
        )

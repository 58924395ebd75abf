"""How the site is made: `make docs`."""

import re
from pathlib import Path

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

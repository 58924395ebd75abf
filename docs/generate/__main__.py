"""`python -m docs.generate` writes all pages that come from the code."""

from docs.generate import FOLDER, PAGES

for name, text in PAGES.items():
    (FOLDER / name).write_text(text())

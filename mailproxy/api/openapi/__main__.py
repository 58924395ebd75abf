"""Prints the document: `python -m mailproxy.api.openapi > docs/openapi.json`."""

import sys

from mailproxy.api.app import ROUTES
from mailproxy.api.openapi import document

sys.stdout.write(document.text(ROUTES))

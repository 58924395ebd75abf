"""The mail proxy between applications and SMTP servers."""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # Any: mypy cannot follow a name that is imported when it is asked for
    """`MailProxy`, imported when somebody asks for it: with it come the API and all programs."""
    if name == "MailProxy":
        return importlib.import_module("mailproxy.embedded").MailProxy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

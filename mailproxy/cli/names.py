"""Names of instances and tenants, and the words the command line keeps for itself."""

import re
from typing import Protocol, runtime_checkable

import click
from click.shell_completion import CompletionItem

GLOBAL_WORDS = frozenset(
    [
        "list",
        "start",
        "stop",
        "restart",
        "status",
        "delete",
        "use",
        "current",
        "serve",
        "api",
        "workers",
        "demo",
    ]
).union(["doctor", "db", "keys", "import", "bounces", "help"])
INSTANCE_WORDS = frozenset(
    [
        "info",
        "stats",
        "token",
        "connect",
        "config",
        "tenants",
        "run-now",
        "suspend",
        "activate",
        "explain",
        "help",
    ]
)
TENANT_WORDS = frozenset(["accounts", "messages", "dead-letters", "send"])
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@runtime_checkable
class Knowing(Protocol):
    """A command that knows which names there are of a kind; the outermost one may be."""

    def known(self, what: str, ctx: click.Context) -> list[str]: ...


class Name(click.ParamType[str]):
    """A word that can be typed as part of a command: never one of `reserved`."""

    name = "name"

    def __init__(
        self, what: str, *, pattern: re.Pattern[str] = _NAME, reserved: frozenset[str] = frozenset()
    ) -> None:
        self.what = what
        self._pattern = pattern
        self._reserved = reserved

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not self._pattern.fullmatch(text) or text.startswith("-"):
            allowed = "letters, digits, '_', '-'" + (" and '.'" if self._pattern is _ID else "")
            self.fail(f"{text!r} is no name for {self.what}: use 1 to 64 {allowed}.", param, ctx)
        if text in self._reserved:
            self.fail(f"{text!r} is a command, so {self.what} cannot have this name.", param, ctx)
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        root = ctx.find_root().command
        names = root.known(self.what, ctx) if isinstance(root, Knowing) else []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


INSTANCE = Name("an instance")
NEW_INSTANCE = Name("an instance", reserved=GLOBAL_WORDS)
TENANT = Name("a tenant", pattern=_ID)
NEW_TENANT = Name("a new tenant", pattern=_ID, reserved=INSTANCE_WORDS)
ACCOUNT = Name("an account", pattern=_ID)


def is_instance_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and not text.startswith("-")


def tenant_named(word: str) -> str | None:
    """The tenant that a word of the command line means: `@` before an id tells it from a command."""
    name = word.removeprefix("@")
    is_free = name != word or name not in INSTANCE_WORDS
    return name if is_free and _ID.fullmatch(name) and not name.startswith("-") else None

"""--url, --token: commands for a server somewhere else, in place of an instance's name."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from mailproxy.cli import show
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.names import INSTANCE_WORDS, TENANT_WORDS
from mailproxy.cli.server import Remote

F = TypeVar("F", bound=Callable[..., Any])


class _Address(click.ParamType[str]):
    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        parts = urlsplit(str(value))
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            self.fail(f"{value!r} is not an http:// or https:// address without credentials.", param, ctx)
        return str(value).rstrip("/")


def options(command: F) -> F:
    token = click.option(
        "--token",
        envvar="GMP_API_TOKEN",
        help="Its admin token or a tenant's key; others can see it here, so better use GMP_API_TOKEN or "
        "GMP_API_TOKEN_FILE.",
    )
    url = click.option(
        "--url", type=_Address(), envvar="GMP_URL", help="Address of a server to work on, in place of NAME."
    )
    return url(token(command))


def given(ctx: click.Context) -> Remote | None:
    """The server that the options of the whole command line, or the environment, name."""
    params = ctx.find_root().params
    return Remote(params["url"], params["token"] or _token_of_file()) if params.get("url") else None


def meant(ctx: click.Context, word: str, *, is_local: bool) -> Remote | None:
    """The server that a command line beginning with `word` is for; None where it is for this machine.

    Commands for this machine are refused with --url; GMP_URL does not concern them.
    """
    server = given(ctx)
    if server is None:
        return None
    is_typed = ctx.get_parameter_source("url") is ParameterSource.COMMANDLINE
    if not is_local:
        if not is_typed:
            show.note(f"({server.url})")
        return server
    if is_typed:
        raise Failure(f"{word!r} works on this machine only: leave out --url.", Exit.REFUSED)
    return None


def completed(args: Sequence[str]) -> list[str]:
    """The words after NAME: a tenant's command may stand alone where GMP_TENANT names the tenant."""
    word = args[0]
    if word not in TENANT_WORDS or word in INSTANCE_WORDS:
        return list(args)
    tenant = os.environ.get("GMP_TENANT")
    if not tenant:
        raise Failure(
            f"Which tenant is meant for {word!r}?",
            Exit.USAGE,
            remedy=f"Name it: mail-proxy --url URL TENANT {word} …   (or set GMP_TENANT)",
        )
    return [f"@{tenant}", *args]


def _token_of_file() -> str | None:
    path = os.environ.get("GMP_API_TOKEN_FILE")
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else None
    except (OSError, ValueError) as error:
        raise Failure(f"{path} cannot be read: {error}", Exit.USAGE) from error

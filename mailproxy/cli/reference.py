"""The page of every command and option, written from the tree itself."""

import inspect
from collections.abc import Iterator

import click

from mailproxy.cli.exits import Exit
from mailproxy.cli.main import cli, instance_group, tenant_group

_HEAD = """\
# The command line

Written by `python -m docs.generate`; a test finds what has changed since.

`NAME` is an instance and `TENANT` a tenant of it; `mail-proxy use NAME/TENANT` lets both be left out. `--json` prints
one JSON document instead of text for people. `mail-proxy COMMAND --help` says the same as this page.

With `--url URL` in place of `NAME` (or `GMP_URL`) commands work on a server somewhere else. The admin token or a
tenant's key is taken from `--token`, `GMP_API_TOKEN` or the file that `GMP_API_TOKEN_FILE` names. What needs an
instance's files or database ends with 4 there.

| exit code | meaning |
|---|---|
"""
_MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "wrong usage",
    Exit.NOT_FOUND: "not found",
    Exit.REFUSED: "refused",
    Exit.CONFLICT: "conflict",
    Exit.UNREACHABLE: "database or server unreachable",
    Exit.MISCONFIGURED: "misconfigured",
    Exit.INTERRUPTED: "interrupted",
    Exit.BROKEN_PIPE: "nobody read the output",
}


def text() -> str:
    """The page."""
    codes = "".join(f"| {int(code)} | {meaning} |\n" for code, meaning in _MEANINGS.items())
    parts = [_HEAD + codes]
    for title, words, group in (
        ("Global commands", ["mail-proxy"], cli),
        ("Commands of an instance", ["mail-proxy", "NAME"], instance_group),
        ("Commands of a tenant", ["mail-proxy", "NAME", "TENANT"], tenant_group),
    ):
        parts.append(f"\n## {title}\n")
        parts += [_command(found, command) for found, command in commands(words, group)]
    return "".join(parts)


def commands(words: list[str], command: click.Command) -> Iterator[tuple[list[str], click.Command]]:
    """All that can be typed below, in alphabetical order, with the words that lead to it."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name in sorted(command.commands):
        yield from commands([*words, name], command.commands[name])


def _command(words: list[str], command: click.Command) -> str:
    with click.Context(command, info_name=words[-1], terminal_width=80) as ctx:
        usage = " ".join([*words, *command.collect_usage_pieces(ctx)])
        help_text = inspect.cleandoc(command.help or "").replace("\b\n", "")
        options = [_option(one, ctx) for one in command.params if isinstance(one, click.Option)]
    table = "".join(["\n| option | meaning |\n|---|---|\n", *options]) if options else ""
    return f"\n### {' '.join(words[1:])}\n\n```\n{usage}\n```\n\n{help_text}\n{table}"


def _option(option: click.Option, ctx: click.Context) -> str:
    names = ", ".join(option.opts) + ("/" + ", ".join(option.secondary_opts) if option.secondary_opts else "")
    takes = "" if option.is_flag or option.count else f" {option.make_metavar(ctx)}"
    default = f"  [{option.default}]" if option.show_default and option.default is not None else ""
    cells = (f"`{names}{takes}`", f"{option.help}{default}")
    return "| {} | {} |\n".format(*(cell.replace("|", "\\|") for cell in cells))

"""Options that are asked for at the terminal when missing, and only where somebody can answer."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from pydantic import TypeAdapter, ValidationError

from mailproxy.cli.exits import Exit, Failure

F = TypeVar("F", bound=Callable[..., Any])


def interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


class Asked(click.Option):
    """An option that is asked for when missing, provided `when` says so of the answers so far.

    Only commands that have `defaults_option` ask.
    """

    def __init__(
        self, *args: Any, when: Callable[[Mapping[str, Any]], bool] = lambda _: True, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self._fallback = attributes.get("default")
        self._when = when

    def prompt_for_value(self, ctx: click.Context) -> Any:
        if not interactive() or ctx.params.get("defaults", True) or not self._when(_answered(ctx)):
            return self.get_default(ctx)
        assert self.prompt is not None
        may_be_empty = self._fallback is None and not self.required
        answer = click.prompt(
            self.prompt,
            default="" if may_be_empty else self._fallback,
            type=_Maybe(self.type) if may_be_empty else self.type,
            show_default=not may_be_empty,
            show_choices=False,
            hide_input=self.hide_input,
            err=True,
        )
        return None if answer == "" else answer


class Checked(click.ParamType[Any]):
    """A value of the type the API takes for the same field."""

    def __init__(self, kind: Any, name: str) -> None:
        self._kind: TypeAdapter[Any] = TypeAdapter(kind)
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._kind.validate_python(value)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            self.fail(f"{fault['msg'].removeprefix('Value error, ')}.", param, ctx)


class _Maybe(click.ParamType[Any]):
    """The type, or an empty answer."""

    def __init__(self, of: click.ParamType[Any]) -> None:
        self._of = of
        self.name = of.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "" else self._of.convert(value, param, ctx)


def _answered(ctx: click.Context) -> dict[str, Any]:
    """The parameters that somebody has given, on the command line or at a prompt."""
    return {
        name: value
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.PROMPT)
    }


class AskedArgument(click.Argument):
    """An argument that is asked for when missing."""

    def consume_value(self, ctx: click.Context, opts: Any) -> tuple[Any, ParameterSource]:
        value, source = super().consume_value(ctx, opts)
        if source is ParameterSource.DEFAULT and interactive() and not ctx.resilient_parsing:
            value = click.prompt(self.human_readable_name, type=self.type, err=True)
        return value, source


def asked(*names: str, prompt: str, note: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*names, cls=Asked, prompt=prompt, help=note, **attributes)


defaults_option = click.option(
    "-y",
    "--defaults",
    is_flag=True,
    is_eager=True,
    help="Ask nothing: take the default of what is not given.",
)


def sure(question: str, *, force: bool) -> None:
    """Go on only when told to: by --force or by the answer."""
    if force:
        return
    if not interactive():
        raise click.UsageError("There is no terminal to ask for confirmation: add -f/--force.")
    click.confirm(question, abort=True, err=True)


def secret(option: str, value: str | None, file: str | None) -> str | None:
    """A secret from its file (`-` is stdin), option or prompt; one typed as an option is warned about."""
    if file is None:
        if value is not None and _is_typed(option):
            click.echo(
                f"Warning: --{option} can be seen by others in the process list and stays in the shell's history;"
                f" use the prompt or --{option}-file FILE (- for stdin).",
                err=True,
            )
        return value
    if value is not None:
        raise click.UsageError(f"--{option} and --{option}-file are both given: keep one of them.")
    return _first_line(file)


def _is_typed(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option.replace("-", "_"))
    return source is ParameterSource.COMMANDLINE


def _first_line(file: str) -> str:
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Failure(f"{file} cannot be read: {error}", Exit.USAGE) from error
    lines = text.splitlines()
    if not lines or not lines[0]:
        raise Failure(f"{'stdin' if file == '-' else file} holds no secret.", Exit.USAGE)
    return lines[0]

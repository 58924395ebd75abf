"""`mail-proxy`: global commands, or an instance's name followed by what to do there."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

import click
from click.shell_completion import CompletionItem

from mailproxy import __version__
from mailproxy.cli import (
    about,
    accounts,
    bounces,
    completion,
    configuration,
    connect,
    context,
    database,
    dead_letters,
    demo,
    doctor,
    importing,
    instances,
    keys,
    messages,
    remote,
    send,
    serve,
    signing,
    suppressions,
    suspension,
    tenants,
)
from mailproxy.cli.exits import Exit, Failure, exit_for
from mailproxy.cli.home import instance_named
from mailproxy.cli.names import (
    GLOBAL_WORDS,
    INSTANCE,
    INSTANCE_WORDS,
    TENANT,
    TENANT_WORDS,
    is_instance_name,
    tenant_named,
)
from mailproxy.cli.place import Place, required, server_of
from mailproxy.cli.server import Local
from mailproxy.errors import MailproxyError

_WITHOUT_PLACE = (INSTANCE_WORDS | TENANT_WORDS) - {"help"}


class Root(click.Group):
    """The first word is a command or the name of an instance."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None and cmd_name not in GLOBAL_WORDS and is_instance_name(cmd_name):
            return instance_group
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A command of an instance or a tenant may stand alone: then those of the context are meant."""
        word = args[0]
        if elsewhere := remote.meant(ctx, word, is_local=word in self.commands):
            return elsewhere.words.removeprefix("mail-proxy "), instance_group, remote.completed(args)
        if word in _WITHOUT_PLACE and word not in self.commands and not instance_named(word).exists:
            implied = completion.implied if ctx.resilient_parsing else context.implied
            args = [*implied(word, for_tenant=word in TENANT_WORDS), *args]
        return super().resolve_command(ctx, args)

    def known(self, what: str, ctx: click.Context) -> list[str]:
        return completion.known(what, ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        instances = completion.items(self.known(INSTANCE.what, ctx), incomplete, "instance")
        return [*super().shell_complete(ctx, incomplete), *instances]

    def invoke(self, ctx: click.Context) -> NoReturn:
        try:
            code = super().invoke(ctx)
        except BrokenPipeError:
            _silence(sys.stdout)
            code = Exit.BROKEN_PIPE
        except MailproxyError as error:
            raise Failure(error.detail, exit_for(error)) from error
        except UnicodeEncodeError as error:
            raise Failure("An argument is not valid UTF-8 text.", Exit.USAGE) from error
        ctx.exit(code if isinstance(code, int) else Exit.OK)


class InstanceGroup(click.Group):
    """The second word is a command or the id of a tenant."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        return tenant_group if command is None and tenant_named(cmd_name) else command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        tenants = completion.items(completion.known(TENANT.what, ctx), incomplete, "tenant")
        return [*super().shell_complete(ctx, incomplete), *tenants]


@click.group(cls=Root, invoke_without_command=True)
@remote.options
@click.version_option(__version__, prog_name="mail-proxy")
@click.pass_context
def cli(ctx: click.Context, url: str | None, token: str | None) -> None:
    """Send mail through SMTP servers on behalf of applications.

    \b
    mail-proxy start NAME -b              make and run an instance
    mail-proxy NAME --help                what can be done with it
    mail-proxy NAME TENANT --help         what can be done for one tenant
    mail-proxy use NAME/TENANT            leave them out from now on
    mail-proxy --url URL TENANT …         work on a server somewhere else

    Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 conflict, 6 unreachable,
    78 misconfigured, 130 interrupted.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.group("NAME", cls=InstanceGroup, invoke_without_command=True)
@click.pass_context
def instance_group(ctx: click.Context) -> None:
    """Look at an instance and manage its tenants; or name a tenant to work for it.

    \b
    mail-proxy NAME TENANT --help         what can be done for one tenant
    mail-proxy NAME @info --help          for a tenant named like a command
    """
    ctx.obj = remote.given(ctx) or Local(instance_named(str(ctx.info_name)))
    if ctx.invoked_subcommand is None:
        required(ctx.obj)
        click.echo(ctx.get_help())


@click.group("TENANT", invoke_without_command=True)
@click.pass_context
def tenant_group(ctx: click.Context) -> None:
    """Manage a tenant's SMTP accounts, messages, reports and suppressions, send a message, report now."""
    server = server_of(ctx)
    assert server is not None
    ctx.obj = Place(server, tenant_named(str(ctx.info_name)) or "")
    if ctx.invoked_subcommand is None:
        required(server)
        click.echo(ctx.get_help())


for _command in (
    *instances.COMMANDS,
    *serve.COMMANDS,
    *context.COMMANDS,
    bounces.bounces,
    database.db,
    keys.keys,
    doctor.doctor,
    importing.import_,
    demo.demo,
):
    cli.add_command(_command)
tenants.tenants.add_command(signing.webhook_secret)
for _command in (
    *about.COMMANDS,
    *suspension.OF_INSTANCE,
    connect.connect,
    configuration.config,
    tenants.tenants,
):
    instance_group.add_command(_command)
for _command in (
    tenants.info,
    accounts.accounts,
    messages.messages,
    dead_letters.dead_letters,
    suppressions.suppressions,
    send.send,
    about.run_now_for_tenant,
    *suspension.OF_TENANT,
):
    tenant_group.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The process's entry point; ends it with the command's exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=arguments, prog_name="mail-proxy", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as end:
        click.echo("Aborted.", err=True)
        return Exit.INTERRUPTED if _was_interrupted(end) else Exit.FAILED
    return code if isinstance(code, int) else Exit.OK


def _was_interrupted(end: BaseException | None) -> bool:
    while end is not None and not isinstance(end, KeyboardInterrupt):
        end = end.__cause__ or end.__context__
    return end is not None


def _silence(stream: TextIO) -> None:
    """Nobody reads the stream any more: what is still buffered must not fail at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

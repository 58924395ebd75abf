"""NAME tenants webhook-secret: what signs the calls to a tenant."""

import click

from mailproxy import webhooks
from mailproxy.cli import ask, show
from mailproxy.cli.names import TENANT
from mailproxy.cli.place import pass_server, shown_tenant
from mailproxy.cli.server import Server
from mailproxy.client import AsyncMailProxyClient, WebhookSecret
from mailproxy.errors import InvalidInput


@click.command("webhook-secret")
@click.argument("tenant_id", metavar="ID", type=TENANT)
@click.option(
    "--keep-previous",
    type=click.IntRange(min=0, max=30 * 86400),
    default=86400,
    metavar="SECONDS",
    help="How long the former secret signs as well.  [86400]",
)
@click.option("--secret-file", metavar="FILE", help="File that holds a secret of your own; - for stdin.")
@click.option("--remove", is_flag=True, help="Sign no longer.")
@show.json_option
@pass_server
def webhook_secret(
    server: Server,
    tenant_id: str,
    keep_previous: int,
    secret_file: str | None,
    remove: bool,
    as_json: bool,
) -> None:
    """Make and print a new secret that signs a tenant's calls.

    The scheme is that of Standard Webhooks.
    """
    if remove and secret_file:
        raise click.UsageError("--remove and --secret-file are both given: keep one of them.")
    given = _given(secret_file)

    async def work(client: AsyncMailProxyClient) -> WebhookSecret:
        await shown_tenant(client, server, tenant_id)
        if not remove:
            return await client.tenants.new_webhook_secret(tenant_id, given, keep_previous=keep_previous)
        await client.tenants.end_webhook_secrets(tenant_id)
        return WebhookSecret(raw={"ok": True})

    made = server.do(work)
    if as_json:
        return show.document(made.raw)
    if made.webhook_secret is not None:
        return click.echo(made.webhook_secret)
    return click.echo(f"Calls to {tenant_id} are {'signed with it' if given else 'not signed any more'}.")


def _given(file: str | None) -> str | None:
    secret = ask.secret("secret", None, file)
    if secret is not None:
        try:
            webhooks.key_of(secret)
        except InvalidInput as error:
            raise click.UsageError(f"{error.detail}.") from None
    return secret

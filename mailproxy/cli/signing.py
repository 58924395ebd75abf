"""NAME tenants webhook-secret: what signs the calls to a tenant."""

import time
from dataclasses import replace

import click

from mailproxy import shapes, signing, webhooks, written
from mailproxy.cli import ask, show
from mailproxy.cli.home import Instance
from mailproxy.cli.names import TENANT
from mailproxy.cli.place import existing_tenant, on_store, pass_instance
from mailproxy.errors import InvalidInput
from mailproxy.store import Store


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
@pass_instance
def webhook_secret(
    instance: Instance,
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
    new = None if remove else given or webhooks.new_secret()

    async def work(store: Store) -> signing.Secrets:
        tenant = await existing_tenant(store, instance, tenant_id)
        secrets: signing.Secrets = ()
        if new is not None:
            secrets = signing.rotated(tenant.webhook_secrets, new, keep=keep_previous, now=time.time())
        changed = replace(written.tenant(tenant), webhook_secrets=secrets)
        await store.directory.put_tenant(changed, None, None)
        return secrets

    secrets = on_store(instance.settings(), work)
    made = None if given else new
    if as_json:
        until = shapes.seconds(secrets[-1].until) if secrets else None
        return show.document(shapes.present({"ok": True, "webhook_secret": made, "previous_until": until}))
    if made is not None:
        return click.echo(made)
    return click.echo(f"Calls to {tenant_id} are {'signed with it' if given else 'not signed any more'}.")


def _given(file: str | None) -> str | None:
    secret = ask.secret("secret", None, file)
    if secret is not None:
        try:
            webhooks.key_of(secret)
        except InvalidInput as error:
            raise click.UsageError(f"{error.detail}.") from None
    return secret

"""NAME connect: a Python prompt with a client of the running server."""

import code
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import click

from mailproxy.cli import ask
from mailproxy.cli.place import pass_server
from mailproxy.cli.server import Server
from mailproxy.client import Account, ClientError, MailProxyClient, Message, Tenant

_BANNER = """\
{name} at {url}
  proxy           its client: proxy.messages.list(), proxy.tenants.get("acme"), help(proxy.messages.add)
  new_tenant(), new_account(), new_message()   add one; what is missing is asked for
End with Ctrl-D."""


@click.command()
@click.option(
    "-t",
    "--token",
    envvar="GMP_API_TOKEN",
    help="Token to speak with; others can see it, so better use GMP_API_TOKEN.  [the instance's admin token]",
)
@pass_server
def connect(server: Server, token: str | None) -> None:
    """Open a Python prompt with the running server's client, `proxy`."""
    with server.client(token) as proxy:
        try:
            proxy.health()
        except ClientError as error:
            raise server.failure(error) from error
        banner = _BANNER.format(name=server.name, url=proxy.url)
        code.interact(banner, local={"proxy": proxy, **_makers(proxy)}, exitmsg="")


def _makers(proxy: MailProxyClient) -> dict[str, Callable[..., Any]]:
    def new_tenant(id: str | None = None, **fields: Any) -> Tenant:
        """Add a tenant and print its API key, only this once."""
        id = id or _asked("ID")
        stored = proxy.tenants.add(id, **fields)
        click.echo(
            f"API key, shown only this once: {stored.api_key}" if stored.api_key else f"{id} is changed."
        )
        return proxy.tenants.get(id)

    def new_account(
        id: str | None = None,
        host: str | None = None,
        port: int | None = None,
        tenant_id: str | None = None,
        **fields: Any,
    ) -> Account:
        """Add an SMTP account."""
        tenant_id = tenant_id or _tenant(proxy)
        id, host = id or _asked("ID"), host or _asked("SMTP server")
        proxy.accounts.add(id, host, port or int(_asked("Port", "587")), tenant_id=tenant_id, **fields)
        return proxy.accounts.get(id, tenant_id)

    def new_message(fields: Mapping[str, Any] | None = None, **more: Any) -> Message:
        """Queue a message; the sender may be given as `from_addr`."""
        given = {**(fields or {}), **more}
        given.setdefault("id", secrets.token_hex(8))
        given["tenant_id"] = given.get("tenant_id") or _tenant(proxy)
        given["account_id"] = given.get("account_id") or _account(proxy, given["tenant_id"])
        if not given.get("from"):
            given["from"] = given.pop("from_addr", None) or _asked("From")
        for name in ("to", "subject", "body"):
            if name not in given:
                given[name] = _asked(name.capitalize())
        proxy.messages.add(given)
        return proxy.messages.get(given["id"], given["tenant_id"])

    return {"new_tenant": new_tenant, "new_account": new_account, "new_message": new_message}


def _tenant(proxy: MailProxyClient) -> str:
    return _chosen("Tenant", [tenant.id for tenant in proxy.tenants.list()])


def _account(proxy: MailProxyClient, tenant_id: str) -> str:
    return _chosen("Account", [account.id for account in proxy.accounts.list(tenant_id)])


def _chosen(what: str, ids: list[str]) -> str:
    """The only one there is, or the one that is typed."""
    return ids[0] if len(ids) == 1 else _asked(f"{what} ({', '.join(ids[:10]) or 'there is none yet'})")


def _asked(what: str, default: str | None = None) -> str:
    if not ask.interactive():
        raise TypeError(f"{what} is missing, and there is no terminal to ask for it")
    return str(click.prompt(what, default=default, err=True))

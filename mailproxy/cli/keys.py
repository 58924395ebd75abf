"""keys list, keys rotate: the ring of encryption keys that stored secrets are sealed with."""

import asyncio
import secrets

import click

from mailproxy import keyfile
from mailproxy.cli import rotation, show
from mailproxy.cli.database import instance_option
from mailproxy.cli.exits import Exit, Failure
from mailproxy.cli.home import environment_settings, existing_instance
from mailproxy.cli.rotation import Ring
from mailproxy.cli.server import on_store
from mailproxy.store import Store
from mailproxy.vault import key_id


@click.group()
def keys() -> None:
    """List the encryption keys, or replace the one that seals."""


@keys.command("list")
@instance_option
@show.json_option
def list_keys(instance: str | None, as_json: bool) -> int:
    """List the keys and how much each seals.

    The exit code is 1 when a key is missing that something is sealed with.
    """
    ring = _ring(instance)

    async def work(store: Store) -> dict[str, int]:
        return await store.upkeep.seals()

    sealed = on_store(ring.settings, work)
    known = [key_id(key) for key in ring.keys]
    found = [
        {"key": one, "role": "seals" if one == known[0] else "opens", "secrets": sealed.get(one, 0)}
        for one in known
    ]
    missing = [{"key": one, "role": "missing", "secrets": sealed[one]} for one in sealed.keys() - {*known}]
    if as_json:
        show.document(found + missing)
    else:
        columns = [show.Column(title) for title in ("Key", "Role", "Secrets")]
        show.table(columns, ([*one.values()] for one in found + missing))
    return Exit.FAILED if missing else Exit.OK


@keys.command()
@instance_option
@show.json_option
def rotate(instance: str | None, as_json: bool) -> None:
    """Make a new key, seal everything with it and drop the old one.

    A running instance is told and goes on working. Interrupted, it loses nothing: type it again and it goes on.
    A ring that the environment gives is not changed: put the new key in front of the old one there
    (NEW,OLD), restart every server, and this seals everything with the new one.
    """
    ring = _ring(instance)
    if ring.file is None and len(ring.keys) == 1:
        raise Failure(
            "The key comes from the environment, where it has to be replaced.",
            Exit.REFUSED,
            remedy="Set MAIL_PROXY_ENCRYPTION_KEY to NEW,OLD, restart every server, and type this again.\n"
            "A new key: openssl rand -base64 32",
        )
    done = asyncio.run(rotation.rotate(ring, secrets.token_bytes(32)))
    if as_json:
        return show.document(
            {"ok": True, "key": done.key, "resealed": done.resealed, "dropped": done.dropped}
        )
    click.echo(f"Key {done.key} seals everything now; {done.resealed} secrets were sealed anew.")
    for one in done.dropped:
        click.echo(f"Dropped key {one}.")
    if ring.file is None:
        click.echo("Now take the old key out of MAIL_PROXY_ENCRYPTION_KEY.")
    return None


def _ring(name: str | None) -> Ring:
    if name is None:
        settings = environment_settings()
        file = None if settings.encryption_keys else keyfile.key_path(settings)
        return Ring(None, settings, keyfile.key_ring(settings), file)
    instance = existing_instance(name)
    settings = instance.settings()
    keys = keyfile.key_ring(settings)
    return Ring(instance, settings, keys, rotation.file_of(instance, settings, keys))

"""Servers by name: registered in this process, or kept in `~/.mail-proxy/connections.json`.

The file is an object of `{"url", "token"?, "tenant_id"?}` by name, readable by its owner only.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mailproxy.client.errors import ClientError
from mailproxy.client.faces import MailProxyClient


class UnknownConnection(ClientError, KeyError):
    """Nothing is registered under this name, or what is kept there cannot be read."""

    __str__ = Exception.__str__


@dataclass(frozen=True, slots=True)
class Where:
    url: str
    token: str | None = field(default=None, repr=False)
    tenant_id: str | None = None


_registered: dict[str, Where] = {}


def register_connection(
    name: str, url: str, token: str | None = None, tenant_id: str | None = None, *, save: bool = False
) -> None:
    """Know a server by a name, in this process and, with `save`, for later ones."""
    where = _registered[name] = Where(url, token, tenant_id)
    if save:
        _write(_kept() | {name: {key: value for key, value in asdict(where).items() if value is not None}})


def connect(name: str, **options: Any) -> MailProxyClient:
    """A client of a server known by this name, or of the one at this URL; `options` are further arguments."""
    if "://" in name:
        return MailProxyClient(name, **options)
    where = _registered.get(name) or _found(name)
    given = {"token": where.token, "tenant_id": where.tenant_id, "name": name}
    return MailProxyClient(where.url, **{**given, **options})


def _found(name: str) -> Where:
    try:
        return Where(**_kept()[name])
    except KeyError:
        raise UnknownConnection(f"No connection is named {name!r}: register_connection makes one") from None
    except TypeError as error:
        raise UnknownConnection(f"{_file()}: {name!r} is not {{url, token, tenant_id}}") from error


def _kept() -> dict[str, Any]:
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnknownConnection(f"{_file()} cannot be read: {error}") from error
    if not isinstance(kept, dict):
        raise UnknownConnection(f"{_file()} holds no connections by name")
    return kept


def _write(kept: dict[str, Any]) -> None:
    """Replace the file in one step; nobody else may ever read it."""
    file = _file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump(kept, out, indent=1)
    draft.replace(file)


def _file() -> Path:
    home = os.environ.get("GMP_HOME")
    return (Path(home) if home else Path.home() / ".mail-proxy") / "connections.json"

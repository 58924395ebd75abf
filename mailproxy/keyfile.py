"""Small files a node makes once and keeps: the key of an SQLite database, the node's name."""

import base64
import errno
import os
import re
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mailproxy.config import Settings, decode_keys
from mailproxy.errors import ConfigurationError

_REMEDY = "make its folder, and let this user in"


def key_ring(settings: Settings) -> tuple[bytes, ...]:
    """The configured keys, else those in the file beside the SQLite database, which is made when missing."""
    if settings.encryption_keys:
        return settings.encryption_keys
    path = key_path(settings)
    if path is None:
        raise ConfigurationError("MAIL_PROXY_ENCRYPTION_KEY is not set: PostgreSQL needs it")
    return ensure_key_file(path)


def key_path(settings: Settings) -> Path | None:
    """The key file beside an SQLite database."""
    path = settings.database.path
    return None if path is None else path.with_name(path.name + ".key")


def ensure_key_file(path: Path) -> tuple[bytes, ...]:
    """The key ring in `path`; a new file (mode 0600) with one random key if there is none.

    Raises ConfigurationError when anybody but the owner can reach it, or it is not ours, or holds no key.
    """
    _make_once(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            status = os.fstat(file.fileno())
            text = file.read().strip()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}: {_REMEDY}") from error
    if status.st_mode & 0o077:
        raise ConfigurationError(f"{path}: the key can be read by others: chmod 600 it")
    if os.geteuid() not in (0, status.st_uid) and status.st_uid != 0:
        raise ConfigurationError(f"{path}: the key belongs to another user: chown it")
    try:
        return decode_keys(text)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def node_id(settings: Settings) -> str:
    """This node's name over restarts: as set, else the one kept in the state directory, made at first use."""
    if settings.node_id is not None:
        return settings.node_id
    make_state_folder(settings)
    path = settings.state_dir / "node_id"
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname().split(".")[0])[:40] or "node"
    _make_once(path, f"{host}-{secrets.token_hex(4)}\n")
    name = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise ConfigurationError(f"{path}: holds no node name: remove it, or set GMP_NODE_ID")
    return name


def make_state_folder(settings: Settings) -> None:
    """Raises ConfigurationError when there is none that this user may write to."""
    folder = settings.state_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        text = f"{folder} cannot be written: {error.strerror}: set GMP_STATE_DIR to a folder of this user"
        raise ConfigurationError(text) from error


def _make_once(path: Path, text: str) -> None:
    """Create `path` with mode 0600 unless it exists; nobody ever sees it half written."""
    try:
        if not path.exists():
            _make(path, text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}: {_REMEDY}") from error


def write_key_file(path: Path, keys: Sequence[bytes]) -> None:
    """Replace the key ring in `path`, durably: rows may be sealed with its keys from now on."""
    try:
        draft = _draft(path, ",".join(base64.b64encode(key).decode() for key in keys) + "\n")
        draft.replace(path)
        _sync_folder(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}: {_REMEDY}") from error


def _make(path: Path, text: str) -> None:
    draft = _draft(path, text)
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_folder(path)


def _draft(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Logins that messages give for their attachments: hidden in the payload, and sealed beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mailproxy import payload
from mailproxy.model import MessageId
from mailproxy.records import NewMessage
from mailproxy.vault import Vault
from sql.engine import Work
from sql.queries import Step


def binding(message: MessageId) -> str:
    return f"message|{message}|logins"


def parted(items: Iterable[NewMessage]) -> tuple[dict[str, NewMessage], dict[str, str]]:
    """By their ids the items with logins hidden, and the logins of those that have some; of equal ids the last."""
    hidden: dict[str, NewMessage] = {}
    logins: dict[str, str] = {}
    for item in items:
        text, theirs = payload.parted(item.payload)
        logins.pop(item.client_id, None)
        hidden[item.client_id] = item if theirs is None else replace(item, payload=text)
        if theirs is not None:
            logins[item.client_id] = theirs
    return hidden, logins


def keep(vault: Vault, logins: Mapping[str, str], queued: Iterable[tuple[MessageId, str]]) -> Work[None]:
    steps = tuple(
        Step("keep_logins", {"id": id_, "logins": vault.seal(logins[client_id], binding(id_))})
        for id_, client_id in queued
        if client_id in logins
    )
    if steps:
        yield steps


def opened(vault: Vault, message: MessageId, text: str, sealed: bytes | None) -> str:
    """The payload with its logins; raises VaultError."""
    return text if sealed is None else payload.joined(text, vault.open(bytes(sealed), binding(message)))

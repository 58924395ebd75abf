"""How a command ends: the exit codes of CONTRACT §8, and which error leads to which."""

from enum import IntEnum

import click

from mailproxy.errors import (
    ConfigurationError,
    Conflict,
    InvalidInput,
    MailproxyError,
    NotFound,
    QuotaExceeded,
    StorageUnavailable,
)


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    CONFLICT = 5
    UNREACHABLE = 6
    MISCONFIGURED = 78
    INTERRUPTED = 130
    BROKEN_PIPE = 141


_BY_ERROR: tuple[tuple[type[MailproxyError], Exit], ...] = (
    (NotFound, Exit.NOT_FOUND),
    (Conflict, Exit.CONFLICT),
    (StorageUnavailable, Exit.UNREACHABLE),
    (ConfigurationError, Exit.MISCONFIGURED),
    (QuotaExceeded, Exit.REFUSED),
    (InvalidInput, Exit.REFUSED),
)


def exit_for(error: MailproxyError) -> Exit:
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)


class Failure(click.ClickException):
    """The command did not do what was asked: `message` says why and `remedy` what to do about it."""

    def __init__(self, message: str, code: Exit = Exit.FAILED, *, remedy: str | None = None) -> None:
        super().__init__(message if remedy is None else f"{message}\n{remedy}")
        self.exit_code = code  # type: ignore[misc]  # click declares it for its classes and reads it of instances

"""Errors that have a name outside: each carries the stable `code` a client or operator sees."""

from typing import ClassVar


class MailproxyError(Exception):
    """An error of ours. `code` is stable, the text is for people, `status` the HTTP class it maps to,
    `retry_after` the seconds after which the same may work."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    retry_after: float | None = None

    def __init__(self, detail: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.error_code = code or self.code
        if retry_after is not None:
            self.retry_after = retry_after


class InvalidInput(MailproxyError):
    code = "invalid_input"


class NotFound(MailproxyError):
    code = "not_found"
    status = 404


class Conflict(MailproxyError):
    code = "conflict"
    status = 409


class QuotaExceeded(MailproxyError):
    code = "quota_exceeded"
    status = 429
    retry_after = 5.0


class ConfigurationError(MailproxyError):
    """The service cannot run as configured; a process ends with exit code 78 (EX_CONFIG)."""

    code = "configuration"
    status = 503


class StorageUnavailable(MailproxyError):
    """The database is down, frozen, read-only or full: nothing is promised, come back after `retry_after`."""

    code = "storage_unavailable"
    status = 503
    retry_after = 5.0


class CommitUnknown(StorageUnavailable):
    """The connection broke during COMMIT: the change may be there; repeat the call with the same ids."""

    code = "commit_unknown"

"""How a call can fail: no answer, an answer that is none of the API's, or a refusal by its status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mailproxy.model import Seconds


class ClientError(Exception):
    """Any failure of a call."""


class Unreachable(ClientError):
    """There was no connection: the server has not got the call."""


class AnswerLost(Unreachable):
    """The connection broke before the answer came: what was asked for may or may not have been done."""


class UnexpectedAnswer(ClientError):
    """Something answered that is not this API."""


class StillWaiting(ClientError, TimeoutError):
    """The time is over; `waiting` are the ids that have not ended yet."""

    def __init__(self, waiting: Sequence[str]) -> None:
        shown = ", ".join(waiting[:5]) + (", …" if len(waiting) > 5 else "")
        super().__init__(f"{len(waiting)} not ended in time: {shown}")
        self.waiting = tuple(waiting)


class ApiError(ClientError):
    """The API refused the call. `code` is the stable word for why, `detail` the text (of a 422 a list, of a
    refused add-messages an object), `request_id` what the server's log calls the call."""

    def __init__(
        self, status: int, code: str, detail: Any, request_id: str | None, retry_after: Seconds | None = None
    ) -> None:
        of = f", request {request_id}" if request_id else ""
        super().__init__(f"{_text(detail)} ({status} {code}{of})")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def text(self) -> str:
        """The detail in words."""
        return _text(self.detail)


class BadRequest(ApiError):
    """400: the call makes no sense as it is."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that was not queued; `code` is stable, `reason` is for people."""

    reason: str
    code: str
    id: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


class NothingAdded(BadRequest):
    """400: no message of the call was queued; `rejected` says why, message by message."""

    @property
    def rejected(self) -> list[Rejection]:
        found = _objects(self.detail.get("rejected"), "id", "reason", "code")
        return [Rejection(one["reason"], one["code"], one["id"], one) for one in found]


class Unauthorized(ApiError):
    """401: no token, a wrong one, or a tenant's for another tenant."""


class Forbidden(ApiError):
    """403: the token is valid, but only the admin may do this."""


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409: the state of things does not allow it any more."""


class TooLarge(ApiError):
    """413: send less in one call."""


class Invalid(ApiError):
    """422: fields are missing or wrong; `detail` lists them."""


class TooMany(ApiError):
    """429: a quota is used up; come back after `retry_after` seconds."""


class ServerError(ApiError):
    """5xx."""


class Unavailable(ServerError):
    """503: the service cannot do it now; come back after `retry_after` seconds."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Invalid,
    429: TooMany,
    503: Unavailable,
}


def refusal(status: int, said: Any, headers: Mapping[str, str], text: str) -> ApiError:
    """The exception for an answer; one that is not in the API's shape is some gateway's."""
    body = said if isinstance(said, dict) else {}
    detail, code = body.get("detail", text), str(body.get("code", f"http_{status}"))
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if status == 400 and isinstance(detail, dict):
        kind = NothingAdded
    request_id = body.get("request_id") or headers.get("x-request-id")
    return kind(status, code, detail, request_id, _retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> Seconds | None:
    """RFC 9110 §10.2.3: seconds, or a date that is compared with the answer's own."""
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit():
        return float(given)
    until, now = _date(given), _date(headers.get("date", ""))
    return None if until is None or now is None else max(0.0, (until - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo else None


def _text(detail: Any) -> str:
    if isinstance(detail, dict) and "error" in detail:
        reasons = [
            f"{one['id']}: {one['reason']}" for one in _objects(detail.get("rejected"), "id", "reason")
        ]
        return "; ".join([str(detail["error"]), *reasons[:5]])
    if faults := _objects(detail, "loc", "msg"):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in faults)
    return str(detail)


def _objects(given: Any, *names: str) -> list[dict[str, Any]]:
    """The objects in a list that have all these fields."""
    found = given if isinstance(given, list) else []
    return [one for one in found if isinstance(one, dict) and all(name in one for name in names)]

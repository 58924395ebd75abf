"""Requests that are refused: one exception for the HTTP side, and the answers' common error shape."""

from collections.abc import Mapping

from pydantic import ValidationError

NOT_AUTHORIZED = "Token not authorized for this tenant"


class Refusal(Exception):
    """Ends a request with this status; `detail` is text or the structure the contract names."""

    def __init__(
        self, status: int, detail: object, code: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.detail = detail
        self.code = code
        self.headers = dict(headers or {})


def unauthorized(detail: str = "Invalid or missing API token", code: str = "invalid_token") -> Refusal:
    return Refusal(401, detail, code, {"WWW-Authenticate": "Bearer"})


def foreign_tenant() -> Refusal:
    return unauthorized(NOT_AUTHORIZED, "tenant_not_authorized")


def missing(kind: str, identity: str) -> Refusal:
    return Refusal(404, f"{kind} '{identity}' not found", f"{kind.lower()}_not_found")


def schema_fault(place: str, name: str, problem: str = "Field required", kind: str = "missing") -> Refusal:
    """A 422 for one field, in the shape of `invalid`."""
    return Refusal(422, [{"type": kind, "loc": [place, name], "msg": problem}], "validation_error")


def invalid(error: ValidationError, *place: str) -> Refusal:
    """The 422 list `[{type, loc, msg}]`; inputs are not echoed, they may hold secrets."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    detail = [
        {"type": fault["type"], "loc": [*place, *fault["loc"]], "msg": fault["msg"]} for fault in faults
    ]
    return Refusal(422, detail, "validation_error")

"""What goes back: JSON without nulls, and one shape for every error."""

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from mailproxy.api.refusals import Refusal
from mailproxy.errors import MailproxyError, StorageUnavailable

Answer = dict[str, Any] | Response


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not null."""
    return {name: value for name, value in fields.items() if value is not None}


def seconds(moment: float | None) -> int | None:
    """A time as clients see it: whole Unix seconds."""
    return None if moment is None else int(moment)


def retry_after(delay: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(delay)))}


def error(problem: Exception, request_id: str) -> Json:
    """The answer to a request that ended in `problem`."""
    refusal = _as_refusal(problem)
    body = {"detail": refusal.detail, "code": refusal.code, "request_id": request_id}
    return Json(body, refusal.status, refusal.headers)


def _as_refusal(problem: Exception) -> Refusal:
    match problem:
        case Refusal():
            return problem
        case StorageUnavailable():
            return Refusal(503, problem.detail, problem.error_code, retry_after(problem.retry_after))
        case MailproxyError():
            return Refusal(problem.status, problem.detail, problem.error_code)
        case HTTPException():
            code = {404: "not_found", 405: "method_not_allowed"}.get(problem.status_code, "http_error")
            return Refusal(problem.status_code, problem.detail, code, problem.headers)
        case _:
            return Refusal(500, "Internal Server Error", "internal_error")

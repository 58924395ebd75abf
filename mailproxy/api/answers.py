"""What goes back: JSON without nulls, and one shape for every error."""

import json
import math
import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from mailproxy.api.refusals import Refusal
from mailproxy.errors import MailproxyError

_HALF_SURROGATE = re.compile("[\ud800-\udfff]")

Answer = dict[str, Any] | Response


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return _HALF_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text).encode()


def retry_after(delay: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(delay)))}


def error(problem: Exception, request_id: str) -> Json:
    """The answer to a request that ended in `problem`."""
    refusal = _as_refusal(problem)
    body = {"detail": refusal.detail, "code": refusal.code, "request_id": request_id}
    return Json(body, refusal.status, refusal.headers)


def status_of(problem: Exception) -> int:
    return _as_refusal(problem).status


def _as_refusal(problem: Exception) -> Refusal:
    match problem:
        case Refusal():
            return problem
        case MailproxyError():
            headers = None if problem.retry_after is None else retry_after(problem.retry_after)
            return Refusal(problem.status, problem.detail, problem.error_code, headers)
        case HTTPException():
            code = {404: "not_found", 405: "method_not_allowed"}.get(problem.status_code, "http_error")
            return Refusal(problem.status_code, problem.detail, code, problem.headers)
        case _:
            return Refusal(500, "Internal Server Error", "internal_error")

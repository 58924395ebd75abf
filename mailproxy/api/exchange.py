"""One request and its answer: its id, its errors, its time."""

import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailproxy import log, metrics
from mailproxy.api import answers
from mailproxy.api.refusals import Refusal

ROUTE = "mailproxy.route"
REQUEST_ID = "mailproxy.request_id"
LONGEST_TARGET = 8192

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

logger = log.get(__name__)


class Exchange:
    """ASGI middleware: `X-Request-ID` in and out, errors in the contract's shape, duration by route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope[REQUEST_ID] = _request_id(scope)
        status = 0
        began = time.perf_counter()

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        with log.bound(request_id=request_id):
            try:
                _check_target(scope)
                await self._app(scope, receive, tagged)
            except Exception as problem:  # the last resort: a bug must end in an answer
                answer = answers.error(problem, request_id)
                if answer.status_code == 500:
                    logger.exception("request failed", method=scope["method"], route=_route(scope))
                if status:
                    raise
                await answer(scope, receive, tagged)
            took = time.perf_counter() - began
            metrics.http_request(scope["method"], _route(scope), status).observe(took)
            say = logger.debug if status < 400 else logger.info
            say(
                "request",
                method=scope["method"],
                route=_route(scope),
                status=status,
                seconds=round(took, 6),
            )


def _route(scope: Scope) -> str:
    return str(scope.get(ROUTE, "none"))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid.uuid4().hex


def _check_target(scope: Scope) -> None:
    if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > LONGEST_TARGET:
        raise Refusal(414, f"The URL is longer than {LONGEST_TARGET} octets", "url_too_long")

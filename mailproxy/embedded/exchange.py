"""A request of the API without a connection: the application is called where it is."""

import json
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from mailproxy.embedded.commands import Request


async def ask(app: ASGIApp, token: str, request: Request) -> tuple[int, bytes]:
    """The status and the body of the answer."""
    status, chunks = 0, list[bytes]()
    left = [request.body]

    async def receive() -> Message:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(), "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            chunks.append(message.get("body", b""))

    await app(_scope(token, request), receive, send)
    return status, b"".join(chunks)


def _scope(token: str, request: Request) -> Scope:
    headers = [
        (b"host", b"embedded"),
        (b"x-api-token", token.encode()),
        (b"content-length", str(len(request.body)).encode()),
    ]
    if request.idempotency_key is not None:
        headers.append((b"idempotency-key", request.idempotency_key.encode()))
    if request.body:
        headers.append((b"content-type", b"application/json"))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(request.path),
        "raw_path": request.path.encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("embedded", 0),
        "server": ("embedded", 0),
    }


def told(status: int, body: bytes) -> dict[str, Any]:
    """An answer as a command gives it: always with `ok`; an error's also with `status` and its text as `error`."""
    said: dict[str, Any] = json.loads(body)
    if status < 400:
        return {"ok": True, **said}
    more: dict[str, Any] = {}
    match said["detail"]:
        case {"error": error, "rejected": rejected}:
            more = {"rejected": rejected}
        case str(error):
            pass
        case faults:
            error = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    return {"ok": False, "status": status, "error": error, **more, **said}


def wrong(problem: str) -> dict[str, Any]:
    """The answer to a command that is none."""
    return {"ok": False, "status": 404, "error": problem, "code": "unknown_command", "detail": problem}

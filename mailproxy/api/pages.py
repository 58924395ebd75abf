"""The API's own description: the OpenAPI document, and pages that show it without fetching from elsewhere."""

from functools import cache
from importlib import resources

from starlette.responses import Response

from mailproxy.api.answers import Answer
from mailproxy.api.openapi import document
from mailproxy.api.routing import Call

_ONLY_OURS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}


async def openapi(call: Call) -> Answer:
    return Response(document.text(call.services.routes), media_type="application/json")


async def docs(call: Call) -> Answer:
    """Requests can be tried from the page, with a token that stays in it."""
    return Response(_static("docs.html"), media_type="text/html", headers=_ONLY_OURS)


async def redoc(call: Call) -> Answer:
    return Response(_static("redoc.html"), media_type="text/html", headers=_ONLY_OURS)


async def script(call: Call) -> Answer:
    headers = {"Cache-Control": "public, max-age=3600"}
    return Response(_static("rapidoc-min.js"), media_type="text/javascript", headers=headers)


@cache
def _static(name: str) -> bytes:
    return (resources.files(__package__) / "static" / name).read_bytes()

"""Files behind links of our own. A link is all the right that is asked for, and it says nothing about others."""

from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from mailproxy import log, metrics
from mailproxy.api import linked_files
from mailproxy.api.answers import Answer
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.attachments import links, ranges
from mailproxy.attachments.large_file import LargeFile
from mailproxy.attachments.ranges import Span
from mailproxy.attachments.storage import Failed, Object
from mailproxy.errors import StorageUnavailable

CHUNK = 1 << 20
_SAVED_NOT_SHOWN = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Accept-Ranges": "bytes",
}

logger = log.get(__name__)


async def download(call: Call) -> Answer:
    """The file, or one range of it. No token is asked for: the link, which came by mail, is the right to it."""
    linked = call.services.linked_files
    file = await linked.file(call.path["token"], call.path["filename"])
    etag = f'"{file.sha256.hex()}"'
    asked, if_range = call.header("range"), call.header("if-range")
    span = ranges.wanted(asked, if_range, etag, file.size)
    if span is None:
        headers = {"Content-Range": f"bytes */{file.size}"}
        raise Refusal(416, "The file has no such range", "range_not_satisfiable", headers)
    headers = {
        **_SAVED_NOT_SHOWN,
        "ETag": etag,
        "Content-Disposition": links.disposition(file.filename),
        "Content-Length": str(span.end - span.start),
    }
    is_part = span != Span(0, file.size)
    if is_part:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{file.size}"
    status, kind = (206 if is_part else 200), "application/octet-stream"
    if call.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    target = await linked.object(file)
    first = await linked.storage.read(target, span.start, min(span.start + CHUNK, span.end))
    if isinstance(first, Failed):
        raise _not_there(file, first)
    counts = ranges.completes(span, asked, if_range, etag, file.size)
    octets = _octets(call, file, target, first, span, counts=counts)
    return StreamingResponse(octets, status, headers, kind)


async def _octets(
    call: Call, file: LargeFile, target: Object, first: bytes, span: Span, *, counts: bool
) -> AsyncIterator[bytes]:
    """What cannot be read any more breaks the connection: the client sees that it has not got all of it."""
    yield first
    for start in range(span.start + CHUNK, span.end, CHUNK):
        piece = await call.services.linked_files.storage.read(target, start, min(start + CHUNK, span.end))
        if isinstance(piece, Failed):
            raise _not_there(file, piece)
        yield piece
    if counts:
        await _count(call, file)


async def _count(call: Call, file: LargeFile) -> None:
    metrics.large_files("downloaded")
    try:
        await call.store.large_files.downloaded(file.object)
    except StorageUnavailable as problem:
        logger.warning("download_not_noted", object=file.object, error=problem.detail)


def _not_there(file: LargeFile, failed: Failed) -> Refusal:
    logger.warning("large_file_not_read", object=file.object, tenant=file.tenant_id, error=failed.cause)
    if failed.gone:
        return linked_files.ended()
    detail = "The file's storage does not answer"
    return Refusal(503, detail, "file_unavailable", {"Retry-After": "30"})

"""Large bodies wait on disk for their turn in memory: who is slow to send one holds nobody up."""

from pathlib import Path

from starlette.types import Receive

from mailproxy.api.refusals import Refusal
from mailproxy.attachments.held import IN_MEMORY, Unnamed
from mailproxy.errors import StorageUnavailable
from mailproxy.model import Seconds
from mailproxy.shares import Share, Shares

PATIENCE: Seconds = 30.0
_BUSY = "Too many large requests are being stored"


class Bodies:
    """The bodies of a process. At most `total` octets of long ones are worked on at once, or a longer one alone."""

    def __init__(self, folder: Path, total: int, *, patience: Seconds = PATIENCE) -> None:
        """`folder`: where bodies above a megabyte are kept until it is their turn."""
        self._folder = folder
        self._shares = Shares(total, patience=patience)

    def nothing(self) -> Share:
        return self._shares.nothing()

    async def whole(self, receive: Receive, share: Share) -> bytes:
        """The body, of which `share` becomes a share. Raises StorageUnavailable when it cannot be kept or taken on."""
        chunks: list[bytes] = []
        file: Unnamed | None = None
        size, more = 0, True
        try:
            while more:
                octets, more = await _next(receive)
                size += len(octets)
                if file is None:
                    chunks.append(octets)
                    if size <= IN_MEMORY:
                        continue
                    file, octets = Unnamed(self._folder), b"".join(chunks)
                    chunks.clear()
                file.append(octets)
            if file is None:
                return b"".join(chunks)
            if not await share.more(size):
                raise StorageUnavailable(_BUSY, retry_after=PATIENCE)
            return file.read(0, size)
        except OSError as error:
            told = f"A large request cannot be kept while it arrives: {error.strerror or error}"
            raise StorageUnavailable(told, code="storage_full") from error


async def _next(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Refusal(400, "The client went away", "disconnected")
    return message.get("body", b""), bool(message.get("more_body"))

"""An HTTP server with files: each path has its own manners, and what it was asked is counted."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mailproxy.demo.endpoint import Request
from tests.support.tenant import Endpoint, Manners


class Files(Endpoint):
    """`pages` by path; `rude` ones are written as they are, before the connection is closed. `most` were answered
    at once at the most."""

    def __init__(self, pages: Mapping[str, Sequence[Manners]] | None = None) -> None:
        super().__init__(Path("/dev/null"))
        self.pages = {path: list(manners) for path, manners in (pages or {}).items()}
        self.rude: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.at_once = 0
        self.most = 0

    def serve(self, path: str, *manners: Manners) -> str:
        self.pages[path] = list(manners)
        return f"{self.url}{path}"

    def record(self, request: Request) -> None:
        self.asked[request.path] += 1

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.path in self.rude:
            self.requests.append(request)
            writer.write(self.rude[request.path])
            await writer.drain()
            return False
        self.script = self.pages.get(request.path, [Manners(status=404)])
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            return await super().answer(request, writer)
        finally:
            self.at_once -= 1

"""A fetcher as a sender has one, and a server with files."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mailproxy import config
from mailproxy.attachments.fetch import Fetcher, Home, fetcher_of
from mailproxy.attachments.held import Held
from mailproxy.attachments.judgement import Failed
from mailproxy.authorization import ClientAuth
from mailproxy.config import Settings
from mailproxy.model import FetchMode, Source, TenantPk
from mailproxy.reach import Resolver, ask_system
from tests.attachments.server import Files

Making = Callable[..., "Fetching"]


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    async with Files() as server:
        yield server


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


class Fetching:
    """A fetcher with what it is asked to do in few words."""

    def __init__(self, fetcher: Fetcher) -> None:
        self.fetcher = fetcher

    async def file(self, location: str) -> Held | Failed:
        return await self.fetcher.fetch(Source(FetchMode.FILESYSTEM, location), HOME, None)

    async def url(
        self, url: str, auth: ClientAuth | None = None, media_type: str | None = None
    ) -> Held | Failed:
        return await self.fetcher.fetch(Source(FetchMode.HTTP_URL, url, auth), HOME, media_type)

    async def endpoint(self, home: Home, auth: ClientAuth | None = None) -> Held | Failed:
        return await self.fetcher.fetch(Source(FetchMode.ENDPOINT, "doc:1", auth), home, None)


HOME = Home(TenantPk(1), None, ClientAuth("bearer", token="the-tenant's"), guarded=False)


@pytest.fixture
async def fetching(tmp_path: Path, base: Path) -> AsyncIterator[Making]:
    """`fetching(resolver, **settings)`; everything it made is closed at the end."""
    made: list[Fetcher] = []

    def make(resolver: Resolver = ask_system, **changes: object) -> Fetching:
        settings = config.load({"GMP_STATE_DIR": str(tmp_path / "state")}).model_copy(
            update={
                "attachment_base_dir": (base,),
                "attachment_timeout": 5.0,
                "max_attachment_mb": 2,
                "fetch_allow": ("127.0.0.1",),
                **changes,
            }
        )
        assert isinstance(settings, Settings)
        made.append(fetcher_of(settings, resolver=resolver))
        return Fetching(made[-1])

    yield make
    for fetcher in made:
        await fetcher.aclose()

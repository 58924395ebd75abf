"""A post for each test: a database of either kind and an IMAP server on loopback."""

from collections.abc import AsyncIterator

import pytest

from mailproxy.config import Settings
from sql.store import SqlStore
from tests.imap.post import Post, make_post
from tests.support.imap import Imap


@pytest.fixture
async def imap() -> AsyncIterator[Imap]:
    async with Imap() as server:
        yield server


@pytest.fixture
async def post(store: SqlStore, settings: Settings, imap: Imap) -> Post:
    return await make_post(store, settings, imap)

"""B50: what servers do with a request for an attachment, and what becomes of it."""

import asyncio
import gzip
import json
from collections.abc import Mapping

import pytest

from mailproxy.attachments.fetch import MEGABYTE, Home
from mailproxy.attachments.held import Held
from mailproxy.attachments.judgement import NO_DATA, TIMED_OUT, Failed
from mailproxy.authorization import ClientAuth
from mailproxy.model import TenantPk
from tests.attachments.conftest import Making
from tests.attachments.server import Files
from tests.support.resolving import Rebinding
from tests.support.tenant import Manners

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def page(kind: str) -> Manners:
    return Manners(body=b"<html>Sign in</html>", headers={"Content-Type": kind})


@pytest.mark.parametrize(
    ("manners", "cause", "temporary"),
    [
        (Manners(status=404), "attachment_gone: the server answered 404", False),
        (Manners(status=410), "attachment_gone: the server answered 410", False),
        (Manners(status=403), "attachment_gone: the server answered 403", False),
        (Manners(status=401), "the server answered 401", False),
        (Manners(status=400), "the server answered 400", False),
        (Manners(status=304), "the server answered 304", False),
        (Manners(status=302), "the server answered 302", False),
        (Manners(status=408), "the server answered 408", True),
        (Manners(status=429), "the server answered 429", True),
        (Manners(status=500), "the server answered 500", True),
        (Manners(status=503), "the server answered 503", True),
        (Manners(reset=True), "", True),
        (Manners(cut=True, body=b"half"), "", True),
        (Manners(body=b""), NO_DATA.cause, False),
        (Manners(status=204, body=b""), NO_DATA.cause, False),
        (Manners(headers={"Content-Length": "10000000000"}), "attachment_too_large", False),
        (Manners(headers={"Content-Length": "9" * 40}), "", True),
        (Manners(body=b"x" * (2 * MEGABYTE + 1)), "attachment_too_large", False),
        (
            Manners(body=gzip.compress(b"x" * 9999), headers={"Content-Encoding": "gzip"}),
            "the server sent",
            False,
        ),
        (page("text/html; charset=utf-8"), "attachment_mismatch", False),
        (Manners(status=302, headers={"Location": "file:///etc/passwd"}), "url_not_allowed", False),
        (Manners(status=302, headers={"Location": "gopher://127.0.0.1/"}), "url_not_allowed", False),
        (Manners(status=302, headers={"Location": "//169.254.169.254/latest"}), "url_not_allowed", False),
        (Manners(status=302, headers={"Location": "http://10.0.0.1/"}), "url_not_allowed", False),
        (Manners(status=302, headers={"Location": "http://[::1]/"}), "url_not_allowed", False),
        (Manners(status=302, headers={"Location": "http://93.184.215.14:22/"}), "url_not_allowed", False),
        (Manners(status=302, headers={"Location": "http://x:y@127.0.0.1/"}), "url_not_allowed", False),
        (Manners(status=302, headers={"Location": "http://[::1"}), "", True),
        (Manners(status=302, headers={"Location": "/"}), "more than 5 redirects", False),
    ],
)
async def test_each_answer_has_its_meaning(
    fetching: Making, files: Files, manners: Manners, cause: str, temporary: bool
) -> None:
    one = fetching(Rebinding(["127.0.0.1"]), fetch_allow=("files.example.com", "127.0.0.1"))
    files.serve("/", manners)
    found = await one.url(f"http://files.example.com:{files.port}/", media_type="application/pdf")
    assert isinstance(found, Failed), found
    assert found.cause.startswith(cause)
    assert found.temporary == temporary


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (CHUNKED + b"100000\r\n" + (b"x" * 0x100000 + b"\r\n100000\r\n") * 3, "attachment_too_large"),
        (CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", ""),
        (CHUNKED + b"3\r\nabc\r\n", ""),
        (b"SSH-2.0-OpenSSH_9\r\n", ""),
        (b"", ""),
    ],
)
async def test_what_is_no_whole_answer_brings_nothing(
    fetching: Making, files: Files, answer: bytes, cause: str
) -> None:
    files.rude["/"] = answer
    found = await fetching().url(f"{files.url}/")
    assert isinstance(found, Failed)
    assert found.cause.startswith(cause)
    assert found.temporary == (not cause)


@pytest.mark.parametrize("manners", [Manners(hang=True), Manners(body=b"x" * 1000, drip=0.05)])
async def test_a_server_that_hangs_or_drips_is_left_at_the_deadline(
    fetching: Making, files: Files, manners: Manners
) -> None:
    url = files.serve("/", manners)
    assert await fetching(attachment_timeout=0.5).url(url) == TIMED_OUT


async def test_a_deadline_is_for_all_hops_together(fetching: Making, files: Files) -> None:
    url = files.serve("/", Manners(status=302, headers={"Location": "/"}, delay=0.4))
    assert await fetching(attachment_timeout=1.0).url(url) == TIMED_OUT


async def test_nobody_listening_is_for_later(fetching: Making, files: Files) -> None:
    async with Files() as gone:
        url = gone.url
    found = await fetching().url(url)
    assert isinstance(found, Failed)
    assert found.temporary


async def test_a_page_is_no_mismatch_when_a_page_was_asked_for(fetching: Making, files: Files) -> None:
    url = files.serve("/", page("text/html"))
    for media_type in (None, "text/html"):
        assert isinstance(await fetching().url(url, media_type=media_type), Held)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_a_url_does_not_reach_inside(fetching: Making, files: Files, host: str) -> None:
    found = await fetching(fetch_allow=()).url(f"http://{host}:{files.port}/")
    assert isinstance(found, Failed)
    assert "GMP_FETCH_ALLOW" in found.cause
    assert not found.temporary
    assert files.requests == []


async def test_a_name_that_leads_inside_at_the_second_question_is_refused_then(
    fetching: Making, files: Files
) -> None:
    """Rebinding: the first answer is the one that is judged and connected to; a redirect asks again."""
    url = files.serve("/", Manners(status=302, headers={"Location": "/", "Connection": "close"}))
    resolver = Rebinding(["127.0.0.1"], ["10.1.2.3"])
    found = await fetching(resolver).url(url.replace("127.0.0.1", "rebind.example.com"))
    assert isinstance(found, Failed)
    assert "leads to a private address" in found.cause
    assert not found.temporary
    assert len(files.requests) == 1


async def test_five_redirects_are_followed_and_a_login_stays_where_it_was_given(
    fetching: Making, files: Files
) -> None:
    async with Files() as other:
        hops = [f"{files.url}/1", f"{other.url}/2", f"{other.url}/3", f"{files.url}/4", f"{files.url}/5"]
        url = files.serve("/", Manners(status=301, headers={"Location": hops[0]}))
        for server, here, there in zip((files, other, other, files), hops, hops[1:], strict=False):
            server.serve(here.removeprefix(server.url), Manners(status=307, headers={"Location": there}))
        files.serve("/5", Manners(body=b"here"))
        found = await fetching().url(url, ClientAuth("basic", user="me", password="mine"))
        assert isinstance(found, Held)
        assert found.octets == b"here"
        assert all(asked.headers.get("authorization", "").startswith("Basic ") for asked in files.requests)
        assert len(other.requests) == 2
        assert not any("authorization" in asked.headers for asked in other.requests)


def home(url: str | None, *, guarded: bool = False) -> Home:
    return Home(TenantPk(1), url, ClientAuth("bearer", token="ours"), guarded)


async def test_an_endpoint_is_asked_with_the_tenants_login_or_the_attachments(
    fetching: Making, files: Files
) -> None:
    url = files.serve("/files", Manners(body=b"here"))
    for auth, expected in (
        (None, "Bearer ours"),
        (ClientAuth("bearer", token="other"), "Bearer other"),
        (ClientAuth("none"), None),
    ):
        found = await fetching().endpoint(home(url), auth)
        assert isinstance(found, Held)
        asked = files.requests[-1]
        assert (asked.method, json.loads(asked.body)) == ("POST", {"storage_path": "doc:1"})
        assert asked.headers.get("authorization") == expected


async def test_an_endpoint_may_not_send_the_login_elsewhere(fetching: Making, files: Files) -> None:
    url = files.serve("/files", Manners(status=307, headers={"Location": "/other"}))
    found = await fetching().endpoint(home(url))
    assert found == Failed("the server answered 307")
    assert set(files.asked) == {"/files"}


async def test_an_endpoint_that_a_tenant_set_lies_outside(fetching: Making, files: Files) -> None:
    url = files.serve("/files", Manners(body=b"here"))
    found = await fetching().endpoint(home(url, guarded=True))
    assert isinstance(found, Failed)
    assert "GMP_EGRESS_ALLOW" in found.cause
    assert isinstance(
        await fetching(egress_allow=("127.0.0.1",), fetch_allow=()).endpoint(home(url, guarded=True)), Held
    )


async def test_without_an_address_there_is_nobody_to_ask(fetching: Making) -> None:
    assert await fetching().endpoint(home(None)) == Failed("the tenant has no client_base_url")


async def test_an_attachments_octets_are_those_the_server_sent(fetching: Making, files: Files) -> None:
    content = bytes(range(256)) * 7000
    url = files.serve("/", Manners(body=content))
    found = await asyncio.gather(*(fetching().url(url) for _ in range(3)))
    for one in found:
        assert isinstance(one, Held)
        assert b"".join(one.chunks(1000)) == content


def headers_of(asked: Mapping[str, str]) -> Mapping[str, str]:
    return {name: asked[name] for name in ("accept-encoding", "accept")}


async def test_nothing_encoded_is_asked_for(fetching: Making, files: Files) -> None:
    await fetching().url(files.serve("/", Manners(body=b"x")))
    assert headers_of(files.requests[0].headers) == {"accept-encoding": "identity", "accept": "*/*"}

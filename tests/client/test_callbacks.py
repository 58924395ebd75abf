"""The receiving side of delivery reports, and what importing the client costs."""

import json
import subprocess
import sys
import time

import pytest

from mailproxy import webhooks
from mailproxy.client import SignatureRefused, UnexpectedAnswer, read_reports, reports_in

SECRET = webhooks.new_secret()
ITEM = {
    "id": "m1",
    "tenant_id": "acme",
    "event_id": 7,
    "event_type": "sent",
    "event_ts": 1893456000,
    "sent_ts": 1893456000,
    "error": None,
    "refused_recipients": [{"address": "x@example.com", "code": 550}],
    "of_a_newer_server": 1,
}
BODY = json.dumps({"delivery_report": [ITEM]}).encode()


def test_signed_reports_are_read() -> None:
    headers = webhooks.sign(BODY, id="call-1", at=time.time(), secrets=[SECRET])
    (report,) = reports_in(BODY, headers, [webhooks.new_secret(), SECRET])
    assert (report.id, report.event_type, report.sent_ts, report.error) == ("m1", "sent", 1893456000, None)
    assert report.refused_recipients[0].code == 550
    assert report.raw["of_a_newer_server"] == 1


def test_reports_of_anybody_else_are_not_read() -> None:
    headers = webhooks.sign(BODY, id="call-1", at=time.time(), secrets=[webhooks.new_secret()])
    with pytest.raises(SignatureRefused):
        reports_in(BODY, headers, SECRET)
    with pytest.raises(SignatureRefused):
        reports_in(BODY, {}, SECRET)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"delivery_report":{}}', b'{"delivery_report":[1]}', b"["]
)
def test_a_call_without_reports_is_named(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_reports(body)


def test_the_idle_call_holds_no_reports() -> None:
    assert read_reports(b'{"delivery_report":[]}') == []


def test_the_client_needs_none_of_the_servers_libraries() -> None:
    """Another process, as this one has imported them all."""
    code = "import sys, mailproxy.client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    of_the_server = {"sql", "workers", "supervisor", "psycopg", "psycopg_pool", "pydantic", "starlette"}
    of_the_server |= {"uvicorn", "gunicorn", "procrastinate", "aiosmtplib", "cryptography", "fsspec"}
    assert not of_the_server.intersection(loaded.stdout.split())

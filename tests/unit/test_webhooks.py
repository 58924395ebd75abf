"""Signatures of callbacks, against the reference implementation of Standard Webhooks."""

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from mailproxy import webhooks
from mailproxy.errors import InvalidInput
from mailproxy.webhooks import SIGNATURE, TIMESTAMP, SignatureRefused, new_secret, sign, verify

BODY = b'{"delivery_report":[]}'
NOW = 1_800_000_000.75
SECRET = new_secret()


def signed(body: bytes = BODY, *secrets: str, at: float = NOW) -> dict[str, str]:
    return sign(body, id="call_1", at=at, secrets=secrets or [SECRET])


def refused(headers: Mapping[str, str], *, body: bytes = BODY, secret: str = SECRET) -> str:
    with pytest.raises(SignatureRefused) as told:
        verify(body, headers, secret, now=NOW)
    return told.value.detail


@given(body=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_is_signed_here_is_verified_by_the_reference(body: str) -> None:
    headers = sign(body.encode(), id="call_1", at=time.time(), secrets=[SECRET])
    Webhook(SECRET).verify(body.encode(), headers, json_parse=False)


@given(body=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_the_reference_signs_is_verified_here(body: str) -> None:
    moment = datetime.now(UTC)
    headers = {
        "Webhook-Id": "msg_2",
        "Webhook-Timestamp": str(int(moment.timestamp())),
        "Webhook-Signature": Webhook(SECRET).sign("msg_2", moment, body),
    }
    assert verify(body.encode(), headers, SECRET, now=moment.timestamp()) == "msg_2"


def test_each_of_two_active_secrets_verifies_during_a_rotation() -> None:
    old, new = new_secret(), new_secret()
    headers = sign(BODY, id="call_1", at=time.time(), secrets=[old, new])
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
        assert verify(BODY, headers, secret, now=time.time()) == "call_1"
    only_old = signed(BODY, old)
    assert verify(BODY, only_old, [new, old], now=NOW) == "call_1"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_nothing_but_the_signed_body_id_and_time_is_accepted() -> None:
    headers = signed()
    assert verify(BODY, headers, SECRET, now=NOW) == "call_1"
    assert "active secret" in refused(headers, body=BODY + b" ")
    assert "active secret" in refused(headers | {"webhook-id": "call_2"})
    assert "active secret" in refused(headers | {TIMESTAMP: str(int(NOW) + 1)})
    assert "active secret" in refused(headers, secret=new_secret())
    assert "malformed" in refused(headers | {"webhook-id": "call.1"})


def test_no_active_secret_accepts_nothing() -> None:
    with pytest.raises(SignatureRefused):
        verify(BODY, signed(), [], now=NOW)
    with pytest.raises(ValueError, match="without a secret"):
        sign(BODY, id="call_1", at=NOW, secrets=[])


@pytest.mark.parametrize("late", [-301, 301])
def test_a_callback_too_old_or_too_new_is_refused(late: int) -> None:
    assert "more than 300 s" in refused(signed(at=NOW + late))
    assert verify(BODY, signed(at=NOW + late), SECRET, now=NOW, tolerance=302) == "call_1"


@pytest.mark.parametrize("timestamp", ["-1", "1e9", "nan", "\N{ARABIC-INDIC DIGIT ONE}", "1 ", "9" * 400])
def test_a_timestamp_that_is_no_number_of_seconds_is_refused(timestamp: str) -> None:
    assert "malformed" in refused(signed() | {TIMESTAMP: timestamp})


@pytest.mark.parametrize("missing", [webhooks.ID, TIMESTAMP, SIGNATURE])
def test_a_missing_header_is_refused(missing: str) -> None:
    headers = signed()
    del headers[missing]
    assert "missing" in refused(headers)


@pytest.mark.parametrize("signature", ["v1", "v1,", "v1,%", "v2,AAAA", ",", "\udc80", "v1,\udc80 v1,\xff"])
def test_a_malformed_signature_is_refused(signature: str) -> None:
    assert "active secret" in refused(signed() | {SIGNATURE: signature})
    assert "active secret" in refused(signed() | {"webhook-id": "call_9", SIGNATURE: signature})


def test_other_versions_beside_the_right_one_do_no_harm() -> None:
    headers = signed()
    assert verify(BODY, headers | {SIGNATURE: f"v1a,xx v2,yy {headers[SIGNATURE]}"}, SECRET, now=NOW)


@pytest.mark.parametrize("size", [0, 23, 65])
def test_a_secret_of_the_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match="24 to 64"):
        webhooks.key_of("whsec_" + base64.b64encode(bytes(size)).decode())


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64 at all, is it", "whsec_äöü"])
def test_a_secret_that_is_no_base64_is_refused(secret: str) -> None:
    with pytest.raises(InvalidInput):
        webhooks.key_of(secret)


def test_a_secret_may_come_without_prefix_and_padding() -> None:
    key = webhooks.key_of(SECRET)
    assert len(key) == 32
    assert webhooks.key_of(SECRET.removeprefix("whsec_").rstrip("=")) == key


@pytest.mark.parametrize("id", ["", "a.b", "a b", "a\n", "é"])
def test_an_id_that_is_no_plain_word_is_never_signed(id: str) -> None:
    with pytest.raises(ValueError, match="webhook id"):
        sign(BODY, id=id, at=NOW, secrets=[SECRET])

"""API tokens: form, hashes, comparison."""

import base64
import hashlib
import os
import re

from hypothesis import given
from hypothesis import strategies as st

from mailproxy.tokens import hash_of, key_id_of, matches, new_key, new_secret


def test_a_new_key_names_itself_and_matches_its_hash() -> None:
    key = new_key()
    assert re.fullmatch(r"mp_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key.token)
    assert key_id_of(key.token) == key.key_id
    assert matches(key.token, key.hash)
    assert matches(key.token.encode(), key.hash)
    assert not matches(key.token + "x", key.hash)
    assert key.token not in repr(key)


def test_keys_and_secrets_are_never_the_same() -> None:
    assert len({new_key().token for _ in range(200)} | {new_secret() for _ in range(200)}) == 400


def test_an_imported_key_without_an_id_is_found_by_its_hash() -> None:
    token = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    assert key_id_of(token) is None
    assert hash_of(token) == bytes.fromhex(hashlib.sha256(token.encode()).hexdigest())


@given(token=st.text(alphabet=st.characters(exclude_categories=())) | st.binary())
def test_no_input_upsets_the_comparison(token: str | bytes) -> None:
    assert not matches(token, new_key().hash)
    if isinstance(token, str):
        assert key_id_of(token) is None

"""Sealed credentials: only the right key and the right place open them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.vault import Vault, VaultError, key_id, sealed_by

KEYS = st.binary(min_size=32, max_size=32)
PLACE = "account|17|password"
OLD, NEW = b"o" * 32, b"n" * 32


@given(key=KEYS, secret=st.text(), place=st.text())
def test_what_is_sealed_opens_again(key: bytes, secret: str, place: str) -> None:
    vault = Vault([key])
    sealed = vault.seal(secret, place)
    assert vault.open(sealed, place) == secret
    assert len(sealed) == 37 + len(secret.encode())


def test_the_same_secret_never_looks_the_same_twice() -> None:
    vault = Vault([OLD])
    assert len({vault.seal("secret", PLACE) for _ in range(100)}) == 100


@given(place=st.text())
def test_a_secret_moved_to_another_row_does_not_open(place: str) -> None:
    vault = Vault([OLD])
    sealed = vault.seal("secret", PLACE)
    if place != PLACE:
        with pytest.raises(VaultError) as raised:
            vault.open(sealed, place)
        assert raised.value.error_code == "seal_broken"


@given(position=st.integers(0, 43), bit=st.integers(0, 7))
def test_a_secret_with_one_changed_bit_does_not_open(position: int, bit: int) -> None:
    vault = Vault([OLD])
    sealed = bytearray(vault.seal("secret!", PLACE))
    sealed[position] ^= 1 << bit
    with pytest.raises(VaultError):
        vault.open(bytes(sealed), PLACE)


@given(junk=st.binary(max_size=60))
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(VaultError):
        Vault([OLD]).open(junk, PLACE)


def test_a_missing_key_is_named() -> None:
    sealed = Vault([OLD]).seal("canary-8d1f", PLACE)
    with pytest.raises(VaultError, match=key_id(OLD)) as raised:
        Vault([NEW]).open(sealed, PLACE)
    assert raised.value.error_code == "key_missing"
    assert "canary-8d1f" not in str(raised.value)


def test_a_ring_seals_with_its_first_key_and_opens_with_all() -> None:
    sealed = Vault([OLD]).seal("secret", PLACE)
    ring = Vault([NEW, OLD])
    assert ring.open(sealed, PLACE) == "secret"
    resealed = ring.reseal(sealed, PLACE)
    assert sealed_by(resealed) == ring.active == key_id(NEW)
    assert Vault([NEW]).open(resealed, PLACE) == "secret"
    assert ring.reseal(resealed, PLACE) == resealed


def test_the_canary_tells_when_the_ring_no_longer_fits() -> None:
    canary = Vault([OLD]).make_canary()
    Vault([NEW, OLD]).check_canary(canary)
    with pytest.raises(VaultError, match="not in the key ring"):
        Vault([NEW]).check_canary(canary)


def test_a_vault_shows_key_ids_and_no_keys() -> None:
    assert repr(Vault([OLD])) == f"Vault({key_id(OLD)})"


@pytest.mark.parametrize("keys", [[], [b"short"], [OLD, b""]])
def test_a_vault_needs_whole_keys(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(keys)

import pytest

from mailproxy.bounces import parse
from mailproxy.errors import InvalidInput
from mailproxy.proof import HEADER, is_proven, numbers_in, tag_of, tagged_return_path, token_of
from tests.bounces.test_delivery_status import GROUP, RETURNED, report

KEY, MESSAGE = b"k" * 32, "0198c0de-0000-8000-8000-000000000007"
TAG = tag_of(KEY, MESSAGE)


def test_a_tag_belongs_to_one_key_and_one_message() -> None:
    assert len(TAG) == 16
    assert tag_of(KEY, MESSAGE) == TAG
    assert tag_of(b"j" * 32, MESSAGE) != TAG
    assert tag_of(KEY, "another") != TAG


def test_a_returned_header_proves_the_report() -> None:
    found = parse(report(GROUP, returned=f"{HEADER}: {TAG}\n{RETURNED}"))
    assert is_proven(found.proofs, KEY, MESSAGE)
    assert not is_proven(found.proofs, KEY, "another")
    assert not is_proven(found.proofs, b"j" * 32, MESSAGE)


def test_a_quoted_header_proves_the_report() -> None:
    quoted = f"----- Original message -----\n\n> {HEADER}: {TAG}\n> Subject: x\n"
    assert is_proven(parse(report(GROUP, returned_type="text/plain", returned=quoted)).proofs, KEY, MESSAGE)


@pytest.mark.parametrize("number", [0, 1, 31, 32, 7_000_000_001, (1 << 62) - 1])
def test_a_token_names_the_message_by_number_and_proves_it(number: int) -> None:
    token = token_of(KEY, MESSAGE, number)
    assert token.startswith(TAG)
    assert len(tagged_return_path("bounces@example.com", token).partition("@")[0]) <= 64
    assert list(numbers_in([token.upper(), TAG, "", TAG + "!", TAG + "a" * 14])) == [number]
    found = parse(f"To: {tagged_return_path('b@example.com', token)}\n".encode() + report(GROUP))
    assert is_proven(found.proofs, KEY, MESSAGE)
    assert list(numbers_in(found.proofs)) == [number]


@pytest.mark.parametrize("header", ["To", "Delivered-To", "X-Original-To", "Envelope-To"])
def test_the_address_it_came_back_to_proves_the_report(header: str) -> None:
    address = tagged_return_path("bounces@example.com", TAG)
    assert address == f"bounces+mp-{TAG}@example.com"
    found = parse(f"{header}: <{address.upper()}>\n".encode() + report(GROUP))
    assert is_proven(found.proofs, KEY, MESSAGE)


def test_a_report_without_a_tag_or_with_a_wrong_one_proves_nothing() -> None:
    forged = RETURNED.replace("Subject:", f"{HEADER}: {'a' * 16}\nSubject:")
    assert not is_proven(parse(report(GROUP)).proofs, KEY, MESSAGE)
    assert not is_proven(parse(report(GROUP, returned=forged)).proofs, KEY, MESSAGE)
    assert not is_proven(parse(f"{HEADER}: {TAG}\n".encode() + report(GROUP)).proofs, KEY, MESSAGE)


@pytest.mark.parametrize("address", ["@example.com", "x" * 50 + "@example.com", '"a b"@example.com', ""])
def test_a_return_path_without_room_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="no room"):
        tagged_return_path(address, TAG)

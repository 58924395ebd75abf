"""Mail that was made to hurt its reader, and octets that are no mail at all."""

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailproxy import pec
from mailproxy.bounces import Action, Kind, Report, parse
from mailproxy.bounces.report import MAX_RECIPIENTS
from mailproxy.bounces.status import MAX_REASON
from mailproxy.received import MAX_DEPTH, MAX_OCTETS, MAX_PARTS, Limit, read
from tests.bounces import test_notices
from tests.bounces.test_answers import disposition, feedback
from tests.bounces.test_delivery_status import GROUP, report
from tests.pec.test_receipts import daticert, receipt
from tests.support.examples import examples

MIB = 1 << 20
DAEMON = b"From: MAILER-DAEMON@x.example\nSubject: failure notice\n"
MULTIPART = DAEMON + b"Content-Type: multipart/report; boundary=b\n\n"
STATUS = MULTIPART + b"--b\nContent-Type: message/delivery-status\n\n"
HTML = DAEMON + b"Content-Type: text/html\n\n"
LIST = DAEMON + b"\nfollowing addresses:\n"

SEEDS = (
    report(GROUP),
    disposition("automatic-action/MDN-sent-automatically; deleted"),
    feedback("abuse"),
    receipt(xml=daticert("errore-consegna", error="no-dest", data="<consegna>b@c.example</consegna>")),
    *(text.encode() for text, _ in test_notices.EXPECTED.values()),
)


def check(found: Report) -> None:
    """What holds for every report, whatever it was read from."""
    assert found.kind in Kind
    assert len(found.recipients) <= MAX_RECIPIENTS
    for each in found.recipients:
        assert "@" in each.address
        assert not any(char.isspace() for char in each.address if char != " ")
        assert each.address.isprintable()
        assert (each.type is None) == (each.bounce_class is None)
        assert (each.type is None) == (each.action not in (Action.FAILED, Action.DELAYED))
        assert each.smtp_code is None or 400 <= each.smtp_code < 600
        assert each.reason is None or 0 < len(each.reason) <= MAX_REASON
        assert "\n" not in (each.reason or "")
    if found.kind in (Kind.NONE, Kind.AUTO_REPLY):
        assert not any(each.action is Action.FAILED for each in found.recipients)


def nested(levels: int) -> bytes:
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(levels))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nested": lambda: DAEMON + nested(9000),
    "nested-same-boundary": lambda: DAEMON + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 50_000,
    "nested-messages": lambda: DAEMON + b"Content-Type: message/rfc822\n\n" * 150_000,
    "parts": lambda: MULTIPART + b"--b\n\nx\n" * 400_000,
    "almost-delimiters": lambda: MULTIPART + b"--bx\n" * 800_000,
    "header-lines": lambda: DAEMON + b"X: y\n" * 1_000_000 + b"\nx",
    "header-line": lambda: DAEMON + b"X: " + b"y" * (10 * MIB) + b"\n\nx",
    "folds": lambda: DAEMON + b"X: a\n" + b" b\n" * 1_000_000 + b"\nx",
    "no-header-end": lambda: b"a:b\n" * 1_000_000,
    "subject": lambda: b"From: MAILER-DAEMON@x\nSubject: " + b"delivery failed " * MIB + b"\n\nx",
    "encoded-subject": lambda: b"From: MAILER-DAEMON@x\nSubject: " + b"=?utf-8?q?a?= " * MIB + b"\n\nx",
    "parameters": lambda: DAEMON + b"Content-Type: multipart/mixed" + b'; a="' * MIB + b"\n\nx",
    "addresses": lambda: LIST + b"a@b.c\n" * 700_000,
    "ats": lambda: LIST + b"@" * (4 * MIB),
    "locals": lambda: LIST + b"a." * (2 * MIB) + b"@b.c",
    "domains": lambda: LIST + b"a@" + b"b." * (2 * MIB),
    "expansions": lambda: LIST + b"  a@b.c\n    (generated from d@e.f)\n" * 60_000,
    "x400": lambda: LIST + b";dda:SMTP=" * 400_000,
    "many-named": lambda: (
        DAEMON
        + b"X-Failed-Recipients: "
        + b", ".join(b"a%d@b.c" % n for n in range(1500))
        + b"\n\n"
        + b"".join(b"a%d@b.c: 550 unknown user\n\n" % n for n in range(1500))
    ),
    "labels": lambda: LIST + b"Failed recipient: a@b.c\n" * 100_000,
    "empty-lines": lambda: DAEMON + b"\n" * (4 * MIB),
    "carriage-returns": lambda: DAEMON.replace(b"\n", b"\r") + b"\r" * (4 * MIB),
    "rules": lambda: DAEMON + b"\nfailed\n" + (b"-" * 79 + b"\n") * 50_000,
    "originals": lambda: DAEMON + b"\nfailed\n" + (b"=" * 78 + b" original \n") * 40_000,
    "codes": lambda: DAEMON + b"\n" + b"550 " * MIB,
    "words": lambda: DAEMON + b"\n" + b"mailbox user account exceed over deliver " * 100_000,
    "tags": lambda: HTML + b"<a " * MIB,
    "comments": lambda: HTML + b"<!--" * MIB,
    "entities": lambda: HTML + b"&amp" * MIB,
    "groups": lambda: STATUS + b"Final-Recipient: rfc822; a@b.c\nAction: failed\n\n" * 80_000,
    "recipients": lambda: STATUS + b"".join(b"Final-Recipient: rfc822; a%d@b.c\n\n" % i for i in range(80_000)),
    "groups-without-end": lambda: STATUS + b"Final-Recipient: rfc822; a@b.c\n" * 130_000,
    "status-parts": lambda: MULTIPART + (STATUS[len(MULTIPART) :] + b"Final-Recipient: rfc822; a@b.c\n\n") * 900,
    "text-parts": lambda: MULTIPART + (b"--b\n\ndelivery failed " + b"x@y.z " * 700 + b"\n") * 900,
    "diagnostic": lambda: STATUS + b"Final-Recipient: rfc822; a@b.c\nDiagnostic-Code: smtp; " + b"550 " * MIB,
    "returned": lambda: MULTIPART + b"--b\nContent-Type: message/rfc822\n\nX: y\n" * 5_000,
    "codec": lambda: DAEMON + b"Content-Type: text/plain; charset=punycode\n\n" + b"a" * MIB,
    "escapes": lambda: DAEMON + b"Content-Type: text/plain; charset=iso-2022-jp\n\n" + b"\x1b$B" * MIB,
    "base64": lambda: DAEMON + b"Content-Transfer-Encoding: base64\n\n" + b"QUJD\n" * MIB,
    "proofs": lambda: DAEMON + b"To: " + b"a+mp-aaaaaaaaaaaaaaaa@b, " * 100_000 + b"\n\nx",
    "tracking": lambda: DAEMON + b"\n" + b"X-Genro-Mail-ID: x\n" * 100_000,
    "message-ids": lambda: DAEMON + b"\n" + b"Message-ID:\n" * 300_000,
    "nul": lambda: bytes(4 * MIB),
    "high": lambda: b"\xff" * (4 * MIB),
    "great": lambda: MULTIPART + b"--b\n\nfailed\n--b\nContent-Type: message/rfc822\n\n" + b"x" * (30 * MIB),
}  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("made", HOSTILE.values(), ids=HOSTILE)
def test_hostile_mail_is_read_within_limits(made: Callable[[], bytes]) -> None:
    raw = made()
    check(parse(raw))
    pec.parse(raw)


def test_memory_is_bounded() -> None:
    for name in ("nested", "parts", "header-line", "empty-lines", "recipients", "text-parts", "great"):
        raw = HOSTILE[name]()
        tracemalloc.start()
        parse(raw)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 * MIB, name


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("nested", Limit.DEPTH),
        ("parts", Limit.PARTS),
        ("almost-delimiters", Limit.PARTS),
        ("header-lines", Limit.HEADER),
        ("header-line", Limit.HEADER),
        ("great", Limit.OCTETS),
        ("recipients", Limit.RECIPIENTS),
        ("many-named", Limit.RECIPIENTS),
    ],
)
def test_the_limit_that_was_met_is_named(name: str, limit: Limit) -> None:
    assert limit in parse(HOSTILE[name]()).exceeded


def test_a_mail_at_the_limits_is_read_whole() -> None:
    inner = b"--b\n\nx\n" * MAX_PARTS
    assert read(MULTIPART + inner).exceeded == frozenset()
    assert read(MULTIPART + inner + b"--b\n\nx\n").exceeded == {Limit.PARTS}
    levels = nested(MAX_DEPTH)
    assert read(levels + b"\nx").exceeded == frozenset()
    assert read(b"X: y\n\n".ljust(MAX_OCTETS, b"x")).exceeded == frozenset()


def test_a_report_before_a_great_original_is_read() -> None:
    raw = report(GROUP).replace(b"Dear Bob", b"x" * (30 * MIB))
    found = parse(raw)
    assert (found.kind, found.original_id) == (Kind.BOUNCE, "invoice-17")
    assert found.exceeded == {Limit.OCTETS}


@given(st.binary(max_size=2000))
@example(b"\n")
@example(DAEMON + b"\nnot delivered to a@b@c.d@e, f@g@h\n")
@example(b"From \n")
@example(DAEMON + b"Content-Type: text/plain; charset=iso-8859-0\n\nnot delivered\n")
@example(b"Content-Transfer-Encoding: base64\n\nA")
@example(b"Content-Type: multipart/mixed; boundary=\n\n--\n--\n")
def test_any_octets_give_a_report(octets: bytes) -> None:
    check(parse(octets))
    pec.parse(octets)


@pytest.mark.parametrize(
    "charset",
    [
        "iso-8859-12",
        "windows-1259",
        "utf-7",
        "unicode-1-1-utf-7",
        "hex",
        "idna",
        "none",
        "utf-8*en",
        "",
        "koi8-r",
    ],
)
def test_an_unknown_character_set_does_not_hide_what_is_said(charset: str) -> None:
    head = b"From: MAILER-DAEMON@x\nSubject: =?%s?q?failure=20notice?=\n" % charset.encode()
    text = (
        b"Content-Type: text/plain; charset=%s\n\nnot delivered to:\n\nbob@example.org \xe9\n"
        % charset.encode()
    )
    found = parse(head + text)
    assert [each.address for each in found.recipients] == ["bob@example.org"]


CHUNKS = st.sampled_from(sorted({line + b"\n" for seed in SEEDS for line in seed.split(b"\n")}))


@given(st.lists(CHUNKS, max_size=60))
def test_the_lines_of_real_reports_in_any_order_give_one(lines: list[bytes]) -> None:
    octets = DAEMON + b"".join(lines)
    check(parse(octets))
    pec.parse(octets)


@settings(max_examples=examples(100))
@given(st.sampled_from(SEEDS), st.data())
def test_real_reports_with_changes_give_one(seed: bytes, data: st.DataObject) -> None:
    octets = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(octets)))
        end = min(len(octets), start + data.draw(st.integers(0, 40)))
        octets[start:end] = data.draw(
            st.one_of(
                st.binary(max_size=12),
                CHUNKS,
                st.sampled_from([b"@", b"<", b"=?utf-8?q?=00?=", b"\r", b"\0"]),
            )
        )
    check(parse(bytes(octets)))
    pec.parse(bytes(octets))

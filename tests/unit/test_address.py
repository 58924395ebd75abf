import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailproxy.address import (
    Mailbox,
    envelope_recipients,
    envelope_sender,
    parse,
    parse_list,
    split_list,
)
from mailproxy.errors import InvalidInput
from tests.support.examples import examples


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.example", Mailbox(None, "a", "b.example")),
        ("  a@b.example ", Mailbox(None, "a", "b.example")),
        ("<a@b.example>", Mailbox(None, "a", "b.example")),
        ("Mario Rossi <m.rossi@b.example>", Mailbox("Mario Rossi", "m.rossi", "b.example")),
        ("Mario  Q. Rossi<m@b.example>", Mailbox("Mario Q. Rossi", "m", "b.example")),
        ('"Rossi, Mario" <m@b.example>', Mailbox("Rossi, Mario", "m", "b.example")),
        ('"a \\"b\\" \\\\c" <m@b.example>', Mailbox('a "b" \\c', "m", "b.example")),
        ('"Dr." Rossi <m@b.example>', Mailbox("Dr. Rossi", "m", "b.example")),
        ('"" <m@b.example>', Mailbox(None, "m", "b.example")),
        ("Università <m@b.example>", Mailbox("Università", "m", "b.example")),
        ("=?utf-8?Q?Universit=C3=A0?= <m@b.example>", Mailbox("Università", "m", "b.example")),
        ("=?utf-8?b?w6A=?= =?iso-8859-1?q?=E8_x?= y <m@b.example>", Mailbox("àè x y", "m", "b.example")),
        ('"=?utf-8?q?x?=" <m@b.example>', Mailbox("=?utf-8?q?x?=", "m", "b.example")),
        ("=?none?q?x?= <m@b.example>", Mailbox("=?none?q?x?=", "m", "b.example")),
        ('"a b"@c.example', Mailbox(None, '"a b"', "c.example")),
        ('"a>b"@c.example', Mailbox(None, '"a>b"', "c.example")),
        ('X <"a@b"@c.example>', Mailbox("X", '"a@b"', "c.example")),
        ('"plain.name"@c.example', Mailbox(None, "plain.name", "c.example")),
        ("!#$%&'*+-/=?^_`{|}~@c.example", Mailbox(None, "!#$%&'*+-/=?^_`{|}~", "c.example")),
        ("postmaster@localhost", Mailbox(None, "postmaster", "localhost")),
        ("a@[127.0.0.1]", Mailbox(None, "a", "[127.0.0.1]")),
        ("A <a@[IPv6:2001:db8::1]>", Mailbox("A", "a", "[IPv6:2001:db8::1]")),
        ("josé@bücher.example", Mailbox(None, "josé", "bücher.example")),
        ("x" * 64 + "@b.example", Mailbox(None, "x" * 64, "b.example")),
        ("a@" + "x" * 63 + ".example", Mailbox(None, "a", "x" * 63 + ".example")),
        ("a@b2.h3", Mailbox(None, "a", "b2.h3")),
    ],
)
def test_a_mailbox_is_read_as_rfc_5322_writes_it(text: str, expected: Mailbox) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("nobody", "no address"),
        ("<nobody>", "no @"),
        ("a@", "no valid domain"),
        ("@b", "@"),
        ("<@b>", "nothing before"),
        ("<>", "without its <"),
        ("<", "too early"),
        ("<a@b", "too early"),
        ("a@b>", ">"),
        ("a b@c", "unexpected @"),
        ("a@b@c", "unexpected @"),
        ("<a@b>x", "after the >"),
        ("a@b c", "unexpected"),
        ("a@b.", "labels"),
        ("a@.b", "labels"),
        ("a@b..c", "labels"),
        ("a@-b.c", "labels"),
        ("a@b-.c", "labels"),
        ("a@b_c.d", "labels"),
        ("a@" + "x" * 64 + ".example", "labels"),
        ("a@127.0.0.1", "brackets"),
        ("a@[127.0.0.256]", "address literal"),
        ("a@[IPv6:1::2::3]", "address literal"),
        ("a@[IPv6:fe80::1%eth0]", "address literal"),
        ("a@[tag:x]", "address literal"),
        ("a@[127.0.0.1", "domain"),
        (".a@b.c", "dot"),
        ("a.@b.c", "dot"),
        ("a..b@b.c", "dot"),
        ("x" * 65 + "@b.example", "64 octets"),
        ("é" * 33 + "@b.example", "64 octets"),
        ("a@" + ".".join(["x" * 60] * 5), "octets|labels"),
        ("a@b.c, d@e.f", "comma"),
        ("Rossi, Mario <a@b.c>", "comma"),
        ("a@b.c; d@e.f", "commas"),
        ("team: a@b.c;", "groups"),
        ("<@x.y:a@b.c>", "before the @"),
        ("Mario (home) <a@b.c>", "comments"),
        ("a@b.c (Mario)", "comments"),
        ('"Mario <a@b.c>', "not closed"),
        ("a\u200bb@c.d", "invisible"),
        ("a b@c.d", "unexpected|invisible"),
        ("a@exa\u2028mple.c", "control"),
        ("a@b.c\r\nRCPT TO:<x@y.z>", "line break"),
        ("a@b.c> SIZE=1", ">"),
        ("a\0@b.c", "control"),
        ("a@b.c\n", "line break"),
        ("A\tB <a@b.c>", "control"),
        ("A\x85B <a@b.c>", "control"),
        ("A\ud800 <a@b.c>", "control"),
        ('"A\\\nB" <a@b.c>', "line break"),
        ("=?utf-8?q?A=0D=0ABcc=3A_x?= <a@b.c>", "encoded word"),
        ("=?utf-8?q?A=1BB?= <a@b.c>", "encoded word"),
        ("=?utf-8?b?QQpC?= <a@b.c>", "encoded word"),
        ('"=?utf-8?q?A=0AB c?=" <a@b.c>', "encoded word"),
        ("a@☃\u0338..example", "IDNA"),
        ("a@\u2488com.example", "IDNA"),
        ("a@" + "ü" * 80 + ".example", "IDNA|labels"),
    ],
)
def test_what_is_no_mailbox_is_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refusal:
        parse(text)
    assert refusal.value.error_code == "invalid_address"
    assert refusal.value.detail.isprintable()


def test_a_fullwidth_at_sign_or_dot_cannot_smuggle_another_domain() -> None:
    with pytest.raises(InvalidInput):
        parse("a@b\uff20c.example")
    assert parse("a@b\uff0eexample").ascii_addr_spec == "a@b.example"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 20_000,
        '"\\' * 20_000,
        '"' * 20_001,
        "<" * 20_000,
        "=?a?q?" * 20_000 + "@b.c",
        "a." * 20_000 + "@b.c",
        "a@" + "b-" * 20_000,
        ("(" * 900) + "@b.c",
        ('"\\' * 490) + "@b.c",
        ("=?a?q?" * 160) + " <a@b.c>",
    ],
)
@pytest.mark.timeout(20)
def test_hostile_text_is_answered_and_not_pondered(text: str) -> None:
    """Anything but linear time takes minutes or the stack for these."""
    with contextlib.suppress(InvalidInput):
        parse(text)
    parts = split_list(text * 5)
    assert parts


def test_an_international_domain_is_written_in_a_labels() -> None:
    mailbox = parse("Käufer <info@BÜCHER.example>")
    assert mailbox.ascii_addr_spec == "info@xn--bcher-kva.example"
    assert mailbox.addr_spec == "info@BÜCHER.example"
    assert not mailbox.needs_smtputf8


def test_a_non_ascii_local_part_needs_smtputf8() -> None:
    mailbox = parse("josé@bücher.example")
    assert mailbox.needs_smtputf8
    assert mailbox.ascii_addr_spec == "josé@xn--bcher-kva.example"


def test_a_list_may_be_a_list_or_text_with_commas() -> None:
    expected = (Mailbox("Rossi, M", "a", "b.c"), Mailbox(None, "d", "e.f"), Mailbox(None, '"x,y"', "g.h"))
    assert parse_list('"Rossi, M" <a@b.c>, d@e.f,"x,y"@g.h,') == expected
    assert parse_list(['"Rossi, M" <a@b.c>', "d@e.f", '"x,y"@g.h']) == expected
    assert parse_list("") == parse_list([]) == parse_list(" , ") == ()


def test_an_item_of_a_list_holds_one_address_and_a_refusal_says_which() -> None:
    with pytest.raises(InvalidInput, match=r"address 2: .*comma"):
        parse_list(["a@b.c", "d@e.f, g@h.i"])
    with pytest.raises(InvalidInput, match="address 3: "):
        parse_list("a@b.c, d@e.f, nobody")


def test_an_open_quote_makes_the_rest_one_item() -> None:
    assert split_list('a@b.c, "d, e@f.g') == ("a@b.c", '"d, e@f.g')


def test_envelope_recipients_come_once_and_in_order() -> None:
    to = ("B <b@Example.com>", "a@example.com")
    cc = ("b@example.COM", "B@example.com", "c@bücher.example")
    bcc = ("c@xn--bcher-kva.example", '"a"@example.com', "d@example.com")
    assert envelope_recipients(to, cc, bcc) == (
        "b@Example.com",
        "a@example.com",
        "B@example.com",
        "c@xn--bcher-kva.example",
        "d@example.com",
    )


def test_the_envelope_sender_is_the_return_path_if_there_is_one() -> None:
    assert envelope_sender("Shop <shop@a.example>", None) == "shop@a.example"
    assert envelope_sender("Shop <shop@a.example>", "") == "shop@a.example"
    assert envelope_sender("Shop <shop@a.example>", "<bounce@ü.example>") == "bounce@xn--tda.example"
    assert envelope_sender("Shop <shop@a.example>", "<>") == ""


@settings(max_examples=examples(100))
@given(
    st.text(alphabet=st.sampled_from('ab1.@<>"\\,;:()[] =?-_éü\r\n\0\t'), max_size=40) | st.text(max_size=40)
)
def test_any_text_is_a_mailbox_safe_on_the_wire_or_is_refused(text: str) -> None:
    try:
        mailbox = parse(text)
    except InvalidInput:
        return
    wire = mailbox.ascii_addr_spec
    assert wire.isprintable()
    assert len(wire.encode()) <= 254
    assert parse(wire) == parse(f"<{wire}>")
    assert mailbox.display_name is None or not any(char in mailbox.display_name for char in "\r\n\0")

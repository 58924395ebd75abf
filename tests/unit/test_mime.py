import email
import email.header
import email.message
import email.policy
import email.utils
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.address import parse
from mailproxy.errors import MailproxyError
from mailproxy.headers import rescan, unstructured
from mailproxy.mime import RenderError, check, default_message_id, dot_stuff, needs_smtputf8, render
from mailproxy.model import Attachment, Content

PLAIN = Content(
    id="m-1", sender="shop@example.com", to=("mario@example.org",), subject="Hello", body_text="Hi\n"
)
ACCEPTED = 1_700_000_000.25


def wire(content: Content, *, smtputf8: bool = False) -> bytes:
    return render(
        content, accepted_at=ACCEPTED, message_id="<1@example.com>", tracking_id=content.id, smtputf8=smtputf8
    )


def read(message: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(message, policy=email.policy.default)


def codes(content: Content) -> list[tuple[str, str]]:
    return [(fault.field, fault.code) for fault in check(content)]


def header_text(message: bytes, name: str) -> list[str]:
    """A header as a reader that knows RFC 2047, and nothing else, sees it."""
    found = email.message_from_bytes(message).get_all(name, [])
    return [str(email.header.make_header(email.header.decode_header(unfolded(text)))) for text in found]


def unfolded(text: str) -> str:
    return re.sub(r"\r?\n(?=[ \t])", "", text)


def display_names(message: bytes, name: str) -> list[tuple[str, str]]:
    values = [unfolded(text) for text in email.message_from_bytes(message).get_all(name, [])]
    return [
        (str(email.header.make_header(email.header.decode_header(display))), address)
        for display, address in email.utils.getaddresses(values)
    ]


def body_of(part: email.message.Message) -> str:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data.decode("utf-8").removesuffix("\r\n")


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").replace("\n", "\r\n")


def assert_legal_on_the_wire(message: bytes) -> None:
    assert message.endswith(b"\r\n")
    assert message.count(b"\r\n") == message.count(b"\r") == message.count(b"\n")
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert b"\0" not in message


def test_a_plain_message_is_written_in_a_fixed_order() -> None:
    content = replace(
        PLAIN,
        sender="The Shop <shop@example.com>",
        cc=("c@example.org",),
        bcc=("hidden@example.org",),
        reply_to="help@example.com",
        headers=(("X-Campaign", "autumn"), ("List-Id", "<news.example.com>")),
    )
    assert wire(content) == (
        b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
        b"From: The Shop <shop@example.com>\r\n"
        b"To: mario@example.org\r\n"
        b"Cc: c@example.org\r\n"
        b"Reply-To: help@example.com\r\n"
        b"Subject: Hello\r\n"
        b"Message-ID: <1@example.com>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"X-Campaign: autumn\r\n"
        b"List-Id: <news.example.com>\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"X-Genro-Mail-ID: m-1\r\n"
        b"\r\n"
        b"Hi\r\n"
    )
    assert check(content) == []


def test_the_proof_is_the_last_field() -> None:
    written = render(PLAIN, accepted_at=0, message_id="<1@example.com>", tracking_id="m", proof="abc")
    assert b"\r\nX-Genro-Mail-ID: m\r\nX-Genro-Mail-Proof: abc\r\n\r\n" in written


def test_two_renders_are_the_same_bytes() -> None:
    content = replace(PLAIN, body_html="<p>è</p>", attachments=(Attachment("a.pdf", b"%PDF"),))
    assert wire(content) == wire(replace(content))
    assert wire(content) != wire(replace(content, body_html="<p>é</p>"))


def test_custom_subject_and_reply_to_replace_the_fields() -> None:
    content = replace(
        PLAIN,
        reply_to="old@example.com",
        headers=(("subject", "New"), ("REPLY-TO", "Büro <new@example.com>")),
    )
    message = wire(content)
    assert check(content) == []
    assert header_text(message, "Subject") == ["New"]
    assert display_names(message, "Reply-To") == [("Büro", "new@example.com")]
    assert codes(replace(content, headers=(("Reply-To", "nobody"),))) == [("reply_to", "invalid_address")]


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "Plain",
        "two  spaces\tand a tab",
        "Perché no?",
        "日本語の件名" * 20,
        "word " * 60 + "end",
        "x" * 300,
        "=?utf-8?q?literal?=",
        "a =?utf-8?b?QQ==?= b",
        "half =?utf-8?q? of one",
        "\U0001f600" * 100,
        "e\u0301" * 100,
        'quotes " and \\ and (parens)',
        "é",
    ],
)
def test_a_subject_arrives_as_it_was_written(subject: str) -> None:
    content = replace(PLAIN, subject=subject)
    message = wire(content)
    assert check(content) == []
    assert_legal_on_the_wire(message)
    assert header_text(message, "Subject") == [subject]
    assert read(message)["Subject"] == subject
    head = message.partition(b"\r\n\r\n")[0]
    assert all(len(word) <= 75 for word in re.findall(rb"=\?utf-8\?\S*", head))
    assert all(len(line) <= 76 for line in head.split(b"\r\n") if b"=?utf-8" in line)


def test_ascii_text_is_folded_at_white_space() -> None:
    name, text = unstructured("References", " ".join(f"<{number}@mail.example.com>" for number in range(20)))
    assert name == "References"
    assert all(len(line) <= 78 for line in text.split("\r\n"))
    assert "=?" not in text


def test_a_word_that_no_line_holds_is_encoded() -> None:
    content = replace(PLAIN, headers=(("X-Token", "t" * 3000),))
    assert check(content) == []
    assert_legal_on_the_wire(wire(content))
    assert header_text(wire(content), "X-Token") == ["t" * 3000]


def test_a_long_header_name_leaves_no_room_and_the_value_starts_on_the_next_line() -> None:
    name = "X-" + "n" * 74
    message = wire(replace(PLAIN, headers=((name, "è" * 40),)))
    assert header_text(message, name) == ["è" * 40]


@pytest.mark.parametrize(
    "display",
    [
        "Mario Rossi",
        "Rossi, Mario",
        'The "Shop" \\',
        "Université",
        "=?utf-8?q?x?=",
        "long " * 40 + "end",
        "日本" * 60,
        ".",
    ],
)
def test_a_display_name_arrives_as_it_was_written(display: str) -> None:
    escaped = display.replace("\\", "\\\\").replace('"', '\\"')
    content = replace(
        PLAIN, sender=f'"{escaped}" <shop@bücher.example>', to=(f'"{escaped}" <a@b.example>',) * 3
    )
    assert check(content) == []
    message = wire(content)
    assert_legal_on_the_wire(message)
    assert display_names(message, "From") == [(display, "shop@xn--bcher-kva.example")]
    assert display_names(message, "To") == [(display, "a@b.example")] * 3


def test_a_thousand_recipients_are_folded() -> None:
    to = tuple(f"Recipient {number} <r{number}@example.org>" for number in range(1000))
    message = wire(replace(PLAIN, to=to))
    assert [address for _, address in display_names(message, "To")] == [
        f"r{n}@example.org" for n in range(1000)
    ]
    assert max(map(len, message.split(b"\r\n"))) <= 78


def test_smtputf8_is_needed_for_a_local_part_and_not_for_a_domain() -> None:
    assert not needs_smtputf8(PLAIN)
    assert not needs_smtputf8(replace(PLAIN, to=("a@bücher.example", "Ü <b@c.d>"), return_path="<>"))
    for change in (
        {"sender": "josé@example.com"},
        {"bcc": ("josé@example.com",)},
        {"reply_to": "a@b.c, josé@example.com"},
        {"return_path": "josé@example.com"},
    ):
        assert needs_smtputf8(replace(PLAIN, **change))


def test_a_non_ascii_local_part_is_written_raw_with_smtputf8_and_never_without() -> None:
    content = replace(PLAIN, to=("José <josé@bücher.example>",), subject="è")
    head = wire(content, smtputf8=True).partition(b"\r\n\r\n")[0]
    assert "To: =?utf-8?b?Sm9zw6k=?= <josé@bücher.example>\r\n".encode() in head
    assert b"Subject: =?utf-8?" in head
    with pytest.raises(RenderError) as refusal:
        wire(content)
    assert refusal.value.error_code == "smtputf8_required"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": ""}, ("id", "invalid_id")),
        ({"id": "a\nb"}, ("id", "invalid_id")),
        ({"id": "x" * 129}, ("id", "invalid_id")),
        ({"sender": "nobody"}, ("from", "invalid_address")),
        ({"to": ()}, ("to", "no_recipient")),
        ({"to": ("a@b.c", "a@b.c", "a@b.c", "a b@c")}, ("to[3]", "invalid_address")),
        ({"to": ("a@b.c, d@e.f",)}, ("to[0]", "invalid_address")),
        ({"cc": ("(" * 20_000,)}, ("cc[0]", "invalid_address")),
        ({"bcc": ("a@b.c\r\nDATA",)}, ("bcc[0]", "invalid_address")),
        ({"reply_to": "nobody"}, ("reply_to", "invalid_address")),
        ({"return_path": "nobody"}, ("return_path", "invalid_address")),
        ({"to": ("a@b.c",) * 900, "bcc": ("a@b.c",) * 101}, ("to", "too_many_recipients")),
        ({"subject": "a\r\nBcc: x@y.z"}, ("subject", "header_injection")),
        ({"subject": "a\0b"}, ("subject", "header_injection")),
        ({"subject": "=?utf-8?Q?hi=0ABcc:_x?="}, ("subject", "header_injection")),
        ({"subject": "=?utf-8?Q?hi=0ABcc: x?="}, ("subject", "header_injection")),
        ({"subject": "=?utf-8?b?aGkNCkJjYzogeA==?="}, ("subject", "header_injection")),
        ({"subject": "a\x1bb"}, ("subject", "invalid_text")),
        ({"subject": "a\ud800b"}, ("subject", "invalid_text")),
        ({"subject": "x" * 999}, ("subject", "subject_too_long")),
        ({"subject": "è" * 500}, ("subject", "subject_too_long")),
        ({"subject": "è" * 1_000_000}, ("subject", "subject_too_long")),
        ({"message_id": "abc@d.e"}, ("message_id", "invalid_message_id")),
        ({"message_id": "<abc>"}, ("message_id", "invalid_message_id")),
        ({"message_id": "<a b@c>"}, ("message_id", "invalid_message_id")),
        ({"message_id": "<"}, ("message_id", "invalid_message_id")),
        ({"message_id": ""}, ("message_id", "invalid_message_id")),
        ({"message_id": "<a@b>\r\nX: y"}, ("message_id", "invalid_message_id")),
        ({"message_id": f"<{'a' * 250}@b>"}, ("message_id", "invalid_message_id")),
        ({"headers": (("X-A: y\r\nBcc", "z"),)}, ("headers['X-A: y\\r\\nBcc']", "invalid_header_name")),
        ({"headers": (("", "z"),)}, ("headers['']", "invalid_header_name")),
        ({"headers": (("X A", "z"),)}, ("headers['X A']", "invalid_header_name")),
        ({"headers": (("X-é", "z"),)}, ("headers['X-\\xe9']", "invalid_header_name")),
        ({"headers": (("x" * 77, "z"),)}, (f"headers['{'x' * 76}']", "invalid_header_name")),
        ({"headers": (("X-A", "z\r\nBcc: q"),)}, ("headers.X-A", "header_injection")),
        ({"headers": (("X-A", "=?us-ascii?q?=0D?="),)}, ("headers.X-A", "header_injection")),
        ({"headers": (("X-A", "\x07"),)}, ("headers.X-A", "invalid_text")),
        ({"headers": (("X-A", "z"),) * 500}, ("headers", "headers_too_large")),
        ({"headers": (("X-A", "z" * 65536),)}, ("headers", "headers_too_large")),
        ({"body_text": "a\0b"}, ("body_text", "invalid_text")),
        ({"body_text": "a\x0cb"}, ("body_text", "invalid_text")),
        ({"body_html": "a\udfffb"}, ("body_html", "invalid_text")),
    ],
)
def test_each_fault_names_its_field_and_code(change: dict[str, object], expected: tuple[str, str]) -> None:
    assert codes(replace(PLAIN, **change)) == [expected]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "From",
        "to",
        "CC",
        "bcc",
        "Sender",
        "date",
        "Message-Id",
        "MIME-Version",
        "Content-Type",
        "content-foo",
        "Received",
        "Return-Path",
        "DKIM-Signature",
        "x-genro-mail-id",
        "X-Genro-Mail-Proof",
    ],
)
def test_headers_the_service_writes_are_reserved(name: str) -> None:
    assert codes(replace(PLAIN, headers=((name, "x"),))) == [(f"headers.{name}", "reserved_header")]


@pytest.mark.parametrize(
    "filename",
    [
        "",
        " ",
        ".",
        "..",
        "a/b",
        "C:\\x",
        "C:x",
        "a\\b",
        "a\r\nb",
        "a\0",
        "a\u202efdp.exe",
        "x" * 256,
        "CON",
        "nul.txt",
        "a\ud800",
    ],
)
def test_a_filename_that_is_a_path_or_a_trick_is_refused(filename: str) -> None:
    content = replace(PLAIN, attachments=(Attachment("ok", b""), Attachment(filename, b"")))
    assert codes(content) == [("attachments[1].filename", "invalid_filename")]


@pytest.mark.parametrize(
    "mime_type",
    [
        "multipart/mixed",
        "Message/rfc822",
        "a/b/c",
        "text/plain; charset=x",
        "text/",
        "/x",
        "text/pl\r\nain",
        "weird/x",
        "text/é",
    ],
)
def test_a_media_type_no_attachment_may_have_is_refused(mime_type: str) -> None:
    content = replace(PLAIN, attachments=(Attachment("a", b"", mime_type=mime_type),))
    assert codes(content) == [("attachments[0].mime_type", "invalid_mime_type")]
    with pytest.raises(RenderError):
        wire(content)


@pytest.mark.parametrize(
    ("filename", "given", "expected"),
    [
        ("a.pdf", None, "application/pdf"),
        ("a.PDF", "", "application/pdf"),
        ("a.pdf", "image/png", "image/png"),
        ("a.pdf", "text", "application/pdf"),
        ("invoice.xml.p7m", None, "application/pkcs7-mime"),
        ("noextension", None, "application/octet-stream"),
        ("mail.eml", None, "application/octet-stream"),
    ],
)
def test_the_media_type_is_given_or_guessed(filename: str, given: str | None, expected: str) -> None:
    content = replace(PLAIN, attachments=(Attachment(filename, b"x", mime_type=given),))
    (attachment,) = read(wire(content)).iter_attachments()
    assert check(content) == []
    assert attachment.get_content_type() == expected


def test_a_content_id_with_a_line_break_is_refused() -> None:
    content = replace(PLAIN, attachments=(Attachment("a", b"", content_id="a\r\nX: y", inline=True),))
    assert codes(content) == [("attachments[0].content_id", "invalid_content_id")]
    with pytest.raises(RenderError):
        wire(content)


def test_all_faults_are_reported_at_once() -> None:
    content = Content(
        id="x", sender="a", to=("b",), subject="\n", message_id="c", body_text="\0", headers=(("To", "\n"),)
    )
    assert [fault.code for fault in check(content)] == [
        "invalid_address",
        "invalid_address",
        "header_injection",
        "invalid_message_id",
        "reserved_header",
        "header_injection",
        "invalid_text",
    ]
    assert all(fault.detail for fault in check(content))


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "=?utf-8?Q?hi=0ABcc:_x@y.z=0A=0Abody?="},
        {"headers": (("X-A", "=?utf-8?Q?hi=0D=0ABcc:_x@y.z?="),)},
        {"sender": '"=?utf-8?Q?hi=0D=0ABcc:_x@y.z?=" <a@b.c>'},
        {"subject": "a\r\nBcc: x@y.z"},
        {"headers": (("X-A: b\r\nBcc", "x@y.z"),)},
        {"headers": (("X-A", "b\r\nBcc: x@y.z"),)},
        {"headers": (("X-A", "b\r\n \r\n\r\nbody"),)},
        {"id": "a\r\nBcc: x@y.z"},
    ],
)
def test_what_would_inject_a_header_never_does_even_unchecked(change: dict[str, object]) -> None:
    content = replace(PLAIN, **change)  # type: ignore[arg-type]
    try:
        message = wire(content)
    except MailproxyError:
        return
    assert read(message)["Bcc"] is None
    assert body_of(read(message)) == "Hi"


def test_a_message_id_that_would_inject_fails_the_message() -> None:
    for injected in (
        "<a@b>\r\nBcc: x@y.z",
        "<a@b>\r\n\r\nbody",
        "<a@b>\nX: y",
        "<a@b>\0",
        "<a@b>" + "x" * 998,
    ):
        with pytest.raises(RenderError) as refusal:
            render(PLAIN, accepted_at=0, message_id=injected, tracking_id="x")
        assert refusal.value.error_code == "header_injection"


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"A: x",
        b"A: x\r\nB: y\nC: z\r\n",
        b"A: x\r\nB: y\rz\r\n",
        b"A: x\r\nB: y\0\r\n",
        b"A: x\r\n",
        b"B: x\r\nA: y\r\n",
        b"A: x\r\nB: y\r\nC: z\r\n",
        b"A: x\r\n\r\nB: y\r\n",
        b"A: x\r\n  \r\nB: y\r\n",
        b" A: x\r\nB: y\r\n",
        b"A : x\r\nB: y\r\n",
        b"A:x\r\nB: y\r\n",
        b"A: x\r\nB: \xc3\xa9\r\n",
        b"A: x\r\nB: " + b"y" * 996 + b"\r\n",
    ],
)
def test_the_second_look_refuses_a_header_block_that_is_not_what_was_meant(written: bytes) -> None:
    with pytest.raises(RenderError):
        rescan(written, ["A", "B"])
    rescan(b"A: x\r\n y\r\nB: z\r\n", ["A", "B"])
    rescan("A: é\r\nB: z\r\n".encode(), ["A", "B"], smtputf8=True)


@pytest.mark.parametrize(
    "end",
    [
        "\n.\n",
        "\r.\r",
        "\n.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r.\r\n",
        "\r.\n",
        "\n.\r",
        "\r\n.\r\n",
        "\n\n.\n\n",
        "\r\r.\r\r",
    ],
)
@pytest.mark.parametrize("filler", ["", "è", "x" * 1200])
@pytest.mark.bad_input("B24")
def test_an_end_of_data_inside_a_body_ends_nothing(end: str, filler: str) -> None:
    smuggled = f"before{filler}{end}MAIL FROM:<evil@example.com>{end}RCPT TO:<x@y.z>{end}"
    content = replace(PLAIN, body_text=smuggled)
    assert check(content) == []
    message = wire(content)
    assert_legal_on_the_wire(message)
    stuffed = dot_stuff(message)
    assert_legal_on_the_wire(stuffed)
    assert not re.search(rb"\r\n\.(?!\.)", stuffed)
    assert re.sub(rb"(?m)^\.", b"", stuffed) == message
    assert body_of(read(message)) == normal(smuggled)


def test_dots_are_doubled_at_line_starts_only() -> None:
    assert dot_stuff(b".\r\n..a\r\nb.\r\n.c") == b"..\r\n...a\r\nb.\r\n..c\r\n"
    untouched = b"a\r\nb.c\r\n"
    assert dot_stuff(untouched) is untouched


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain", "7bit"),
        ("", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("trailing space \nand è", "quoted-printable"),
        ("日本語" * 30, "base64"),
    ],
)
def test_a_body_takes_the_shortest_safe_encoding(text: str, encoding: str) -> None:
    message = wire(replace(PLAIN, body_text=text))
    assert_legal_on_the_wire(message)
    assert read(message)["Content-Transfer-Encoding"] == encoding
    assert body_of(read(message)) == normal(text)
    if encoding != "7bit":
        assert max(map(len, message.split(b"\r\n"))) <= 78


def test_text_and_html_are_alternatives_with_images_related_to_the_html() -> None:
    content = replace(
        PLAIN,
        body_html='<img src="cid:logo">',
        attachments=(
            Attachment("a.pdf", b"%PDF"),
            Attachment("logo.png", b"\x89PNG", content_id="logo", inline=True),
            Attachment("b.png", b"\x89PNG", content_id="<b@x>"),
        ),
    )
    message = read(wire(content))
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
        "image/png",
    ]
    logo = list(message.walk())[5]
    assert (logo["Content-ID"], logo.get_content_disposition()) == ("<logo>", "inline")
    assert list(message.walk())[7]["Content-ID"] == "<b@x>"
    html = message.get_body(("html",))
    assert html is not None
    assert body_of(html) == '<img src="cid:logo">'
    assert "plain" not in wire(replace(content, body_text=None)).decode()


@pytest.mark.parametrize(
    "filename",
    [
        "report.pdf",
        "with space.pdf",
        'quo"te.pdf',
        "perché.pdf",
        "文件" * 60 + ".pdf",
        "x" * 250 + ".pdf",
        "=?utf-8?q?x?=.pdf",
        "semi;colon=%41'.pdf",
        "\u0301",
        "\U0001f600.png",
    ],
)
def test_a_filename_arrives_as_it_was_written_with_an_ascii_form_beside_it(filename: str) -> None:
    content = replace(PLAIN, attachments=(Attachment(filename, b"data"),))
    assert check(content) == []
    message = wire(content)
    assert_legal_on_the_wire(message)
    (attachment,) = read(message).iter_attachments()
    assert attachment.get_filename() == filename
    assert re.search(rb'\r\n filename="[ -~]+"\r\n', message)
    assert max(map(len, message.split(b"\r\n"))) <= 78


def test_the_default_message_id_is_of_the_senders_domain() -> None:
    assert (
        default_message_id("abc", replace(PLAIN, sender="Ü <a@bücher.example>"))
        == "<abc@xn--bcher-kva.example>"
    )
    assert check(replace(PLAIN, message_id=default_message_id("abc", PLAIN))) == []


header_chars = st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from(' "\\()<>,;:=?_\u00e8')
header_texts = st.text(header_chars, max_size=200)
bodies = st.none() | st.text(
    st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from("\r\n\t. =\u00e8"), max_size=1500
)
locals_ = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True)
domains = st.sampled_from(["example.com", "b\u00fccher.example", "[127.0.0.1]", "a.b.c.example"])


def quoted_mailbox(display: str, local: str, domain: str) -> str:
    escaped = display.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{local}@{domain}>' if display else f"{local}@{domain}"


mailboxes = st.builds(quoted_mailbox, st.text(header_chars, max_size=80), locals_, domains)
attachments = st.builds(
    Attachment,
    filename=st.text(header_chars, max_size=80),
    content=st.binary(max_size=200),
    mime_type=st.sampled_from([None, "image/png", "application/x-foo"]),
    content_id=st.sampled_from([None, "logo", "<a@b>"]),
    inline=st.booleans(),
)
contents = st.builds(
    Content,
    id=st.from_regex(r"[!-~]{1,40}", fullmatch=True),
    sender=mailboxes,
    to=st.lists(mailboxes, min_size=1, max_size=4).map(tuple),
    subject=header_texts,
    cc=st.lists(mailboxes, max_size=3).map(tuple),
    bcc=st.just(("hidden@example.net",)),
    reply_to=st.none() | mailboxes,
    body_text=bodies,
    body_html=bodies,
    headers=st.lists(
        st.tuples(st.from_regex(r"X-[!-9;-~]{1,60}", fullmatch=True), header_texts), max_size=3
    ).map(tuple),
    attachments=st.lists(attachments, max_size=3).map(tuple),
)


@given(contents)
def test_what_the_check_accepts_renders_and_reads_back_the_same(content: Content) -> None:
    if check(content):
        return
    message = wire(content)
    assert message == wire(content)
    assert_legal_on_the_wire(message)
    assert message.isascii()
    assert b"hidden@example.net" not in message
    assert header_text(message, "Subject") == [content.subject.strip(" \t")]
    for name, texts in (("From", (content.sender,)), ("To", content.to), ("Cc", content.cc)):
        expected = [(box.display_name or "", box.ascii_addr_spec) for box in map(parse, texts)]
        assert display_names(message, name) == expected
    assert_bodies_are_the_same(content, read(message))
    sent = sorted((part.filename.strip(), part.content) for part in content.attachments)
    found = [part for part in read(message).walk() if part.get_filename() is not None]
    assert sorted((part.get_filename(), part.get_payload(decode=True)) for part in found) == sent


def assert_bodies_are_the_same(content: Content, message: email.message.EmailMessage) -> None:
    texts = [
        part for part in message.walk() if part.get_content_maintype() == "text" and not part.get_filename()
    ]
    expected = [text for text in (content.body_text, content.body_html) if text is not None] or [""]
    assert [body_of(part) for part in texts] == [normal(text) for text in expected]

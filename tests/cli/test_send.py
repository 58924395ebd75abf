import base64
import contextlib
import json
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailproxy import model
from mailproxy.cli import eml
from mailproxy.errors import InvalidInput
from tests.cli.conftest import HELLO, CommandLine

SEND = ("first", "acme", "send")


def test_a_file_is_queued(acme: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "hello.eml").write_bytes(HELLO)
    queued = acme.json(*SEND, tmp_path / "hello.eml", "-p", "high")
    assert queued["account_id"] == "main"
    shown = acme.json("first", "acme", "messages", "show", queued["id"])
    assert shown["pk"] == queued["pk"]
    assert shown["priority"] == model.Priority.HIGH
    message = shown["message"]
    assert message["from"] == '"Ann" <ann@example.com>'
    assert message["to"] == ["bob@example.org"]
    assert message["message_id"] == "<1@example.com>"
    assert message["body_text"] == "Good morning.\n"


def test_the_default_priority_is_medium(acme: CommandLine) -> None:
    queued = acme.json(*SEND, "-", input=HELLO)
    assert acme.json("first", "acme", "messages", "show", queued["id"])["priority"] == 2


def test_an_id_is_queued_again_until_it_is_sent(acme: CommandLine) -> None:
    first, second = (acme.json(*SEND, "-", "--id", "one", input=HELLO) for _ in range(2))
    assert first["id"] == second["id"] == "one"
    assert len(acme.json("first", "acme", "messages", "list")) == 1


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (b"", 2, "empty"),
        (b"\n \n", 2, "empty"),
        (b"just some words\n", 4, "no header fields"),
        (b"Subject: x\n\nno addresses\n", 4, "from: "),
        (b"From: a@example.com\nTo: not an address\nSubject: x\n\n", 4, "to"),
        (b"From: a@example.com\nTo: b@example.com\n\nno subject\n", 4, "subject: "),
        (b"From: a@example.com\nTo: b@example.com\nSubject: =?utf-8?q?a=0D=0ABcc:_c?=\n\n", 4, "subject"),
        (
            b"From: a@example.com\nTo: b@example.com\nSubject: x\nContent-Type: text/plain; charset=nonsense\n\n\xff",
            4,
            "unknown encoding",
        ),
        (b"From: a@b.c\nTo: b@example.com\nSubject: x\nContent-Type: multipart/signed\n\n", 4, "signed"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_reason(
    content: bytes, code: int, says: str, acme: CommandLine
) -> None:
    result = acme(*SEND, "-", input=content)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert acme.json("first", "acme", "messages", "list") == []


def test_a_missing_file_is_wrong_usage(acme: CommandLine) -> None:
    assert acme(*SEND, "/no/such/file.eml").exit_code == 2


def test_an_unknown_account_ends_with_3(acme: CommandLine) -> None:
    result = acme(*SEND, "-", "-a", "other", input=HELLO)
    assert result.exit_code == 3
    assert "accounts list" in result.stderr


def test_one_of_several_accounts_has_to_be_named(acme: CommandLine) -> None:
    acme.ok("first", "acme", "accounts", "add", "other", "-h", "localhost")
    result = acme(*SEND, "-", input=HELLO)
    assert result.exit_code == 2
    assert "main, other" in result.stderr
    assert acme.json(*SEND, "-", "-a", "other", input=HELLO)["account_id"] == "other"


def test_without_an_account_it_says_how_to_add_one(acme: CommandLine) -> None:
    acme.ok("first", "acme", "accounts", "delete", "main", "-f")
    result = acme(*SEND, "-", input=HELLO)
    assert result.exit_code == 3
    assert "accounts add" in result.stderr


def _letter() -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = "Ann <ann@example.com>"
    letter["To"] = '"Müller, Bob" <bob@example.org>, carol@example.org'
    letter["Cc"] = "dan@example.org"
    letter["Bcc"] = "eve@example.org"
    letter["Reply-To"] = "office@example.com"
    letter["Subject"] = "Grüße"
    letter["In-Reply-To"] = "<0@example.com>"
    letter["X-Project"] = "blue"
    letter["Received"] = "from somewhere"
    letter["DKIM-Signature"] = "v=1"
    letter.set_content("plain\n")
    return letter


def test_both_bodies_and_all_parts_are_taken_over() -> None:
    letter = _letter()
    letter.add_alternative("<p>rich</p>\n", subtype="html")
    html = letter.get_payload()[1]  # type: ignore[index]
    html.add_related(b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png", disposition="inline")  # type: ignore[union-attr]
    letter.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="größe.pdf")
    letter.add_attachment(_letter(), filename="inner.eml")
    fields = eml.fields_of(letter.as_bytes())
    assert fields["body_text"] == "plain\n"
    assert fields["body_html"] == "<p>rich</p>\n"
    logo, paper, inner = fields["attachments"]
    assert (logo["content_id"], logo["inline"], logo["mime_type"]) == ("logo", True, "image/png")
    assert paper["filename"] == "größe.pdf"
    assert base64.b64decode(paper["storage_path"]) == b"%PDF"
    assert inner["filename"] == "inner.eml"
    assert b"Subject: " in base64.b64decode(inner["storage_path"])


def test_addresses_and_own_fields_are_taken_over_and_transport_fields_left_out() -> None:
    fields = eml.fields_of(_letter().as_bytes())
    assert fields["to"] == ['"Müller, Bob" <bob@example.org>', "carol@example.org"]
    assert fields["cc"] == ["dan@example.org"]
    assert fields["bcc"] == ["eve@example.org"]
    assert fields["reply_to"] == "office@example.com"
    assert fields["subject"] == "Grüße"
    assert fields["headers"] == {"In-Reply-To": "<0@example.com>", "X-Project": "blue"}
    assert json.dumps(fields)


@pytest.mark.parametrize(
    "octets",
    [
        b"\xff\xfe\x00\x01" * 50,
        b"From: <\nTo: @\nSubject: =?x?y?z?=\n\n",
        b'From: a@b\nContent-Type: multipart/mixed; boundary="\n\n--\n',
        b"Content-Type: message/rfc822\n\n\n",
        b"From: " + b"(" * 300 + b"\n\n",
    ],
)
def test_malformed_mail_never_ends_in_a_crash(octets: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        assert isinstance(eml.fields_of(octets), dict)

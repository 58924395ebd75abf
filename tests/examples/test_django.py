"""Django's mail through a real proxy, to a real SMTP server."""

import email
import email.policy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage as Mail
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import (
    BadHeaderError,
    EmailMessage,
    EmailMultiAlternatives,
    get_connection,
    mail_admins,
    send_mail,
    send_mass_mail,
)
from django.test.utils import override_settings
from django.utils.functional import lazystr

from mailproxy.client import AnswerLost, MailProxyClient, Unreachable
from mailproxy.contrib.django import Refused
from mailproxy.contrib.django.messages import records
from tests.process.peers import SmtpServer

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture(scope="module", autouse=True)
def _django() -> None:
    backend = "mailproxy.contrib.django.EmailBackend"
    settings.configure(EMAIL_BACKEND=backend, DEFAULT_FROM_EMAIL="Shop <shop@example.com>")


@pytest.fixture
def proxy(admin: MailProxyClient, key: str) -> Iterator[MailProxyClient]:
    """What Django's settings name."""
    with override_settings(MAILPROXY_URL=admin.url, MAILPROXY_TOKEN=key, MAILPROXY_ACCOUNT="main"):
        yield admin


def queued(proxy: MailProxyClient, subject: str) -> list[dict[str, Any]]:
    """The messages of this subject."""
    found = proxy.messages.list(q=subject, include_payload=True)
    return [dict(one.message) for one in found if one.message["subject"] == subject]


def arrived(proxy: MailProxyClient, smtp: SmtpServer, id: str) -> Mail:
    proxy.wait_until_sent(id, timeout=30)
    (content,) = smtp.contents(id)
    return email.message_from_bytes(content, policy=email.policy.default)


def calls_made(proxy: MailProxyClient) -> int:
    log = proxy.call("GET", "/command-log", query={"limit": 500})
    return sum(one["endpoint"].endswith("/commands/add-messages") for one in log["commands"])


def test_a_message_arrives_as_it_was_made(proxy: MailProxyClient, smtp: SmtpServer) -> None:
    message = EmailMultiAlternatives(
        lazystr("Grüße"),
        "plain ☃",
        "Ann <ann@example.com>",
        ["Bob <bob@example.com>", "carl@example.com"],
        cc=["dora@example.com"],
        bcc=["eve@example.com"],
        reply_to=["desk@example.com", "Second Desk <desk2@example.com>"],
        headers={"X-Campaign": "spring", "Message-ID": "<m1@example.com>"},
    )
    message.attach_alternative('<p>rich ☃ <img src="cid:logo"></p>', "text/html")
    message.attach("notes.txt", "Zeilen\n")
    message.attach("data.bin", PNG, "application/x-thing")
    logo = MIMEImage(PNG, "png")
    logo.add_header("Content-ID", "<logo>")
    message.attach(logo)
    message.attach(MIMEApplication(b"%PDF", "pdf", name="bill.pdf"))
    message.mailproxy = {"id": "whole", "priority": "high", "batch_code": "spring"}
    assert message.send() == 1

    mail = arrived(proxy, smtp, "whole")
    assert mail["subject"] == "Grüße"
    assert mail["from"] == "Ann <ann@example.com>"
    assert mail["to"] == "Bob <bob@example.com>, carl@example.com"
    assert (mail["cc"], mail["bcc"]) == ("dora@example.com", None)
    assert mail["reply-to"] == "desk@example.com, Second Desk <desk2@example.com>"
    assert (mail["x-campaign"], mail["message-id"]) == ("spring", "<m1@example.com>")
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().strip() == "plain ☃"
    assert "rich ☃" in html.get_content()
    (image,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert (image["content-id"], image.get_content_disposition()) == ("<logo>", "inline")
    assert image.get_content() == PNG
    files = {part.get_filename(): part for part in mail.iter_attachments()}
    assert files["notes.txt"].get_content().split() == ["Zeilen"]
    assert files["data.bin"].get_content() == PNG
    assert files["bill.pdf"].get_content_type() == "application/pdf"
    (delivery,) = smtp.of("whole")
    assert set(delivery.rcpts) == {f"{who}@example.com" for who in ("bob", "carl", "dora", "eve")}
    stored = proxy.messages.get("whole")
    assert (stored.priority, stored.batch_code) == (1, "spring")


def test_djangos_own_functions_send(proxy: MailProxyClient) -> None:
    assert send_mail("s1", "text", None, ["bob@example.com"], html_message="<p>text</p>") == 1
    (one,) = queued(proxy, "s1")
    assert (one["from"], one["body_text"], one["body_html"]) == (
        "Shop <shop@example.com>",
        "text",
        "<p>text</p>",
    )
    with override_settings(ADMINS=[("Root", "root@example.com")], SERVER_EMAIL="server@example.com"):
        mail_admins("s2", "it broke")
    (one,) = queued(proxy, "[Django] s2")
    assert (one["from"], one["body_text"]) == ("server@example.com", "it broke")


def test_many_messages_are_one_call(proxy: MailProxyClient) -> None:
    before = calls_made(proxy)
    letters = [(f"mass{n}", "text", None, [f"bob{n}@example.com"]) for n in range(50)]
    assert send_mass_mail(letters) == 50
    assert calls_made(proxy) == before + 1
    with get_connection(batch_size=20) as connection:
        made = [EmailMessage(*letter, connection=connection) for letter in letters]
        assert connection.send_messages(made) == 50
    assert calls_made(proxy) == before + 4
    assert len(queued(proxy, "mass7")) == 2, "other messages, though they are alike"


def test_an_open_connection_is_kept(proxy: MailProxyClient) -> None:
    connection = get_connection()
    assert connection.open() is True
    assert connection.open() is False
    for subject in ("kept1", "kept2"):
        EmailMessage(subject, "text", to=["bob@example.com"], connection=connection).send()
    connection.close()
    assert EmailMessage("kept3", "text", to=["bob@example.com"], connection=connection).send() == 1
    assert [len(queued(proxy, f"kept{n}")) for n in (1, 2, 3)] == [1, 1, 1]


def test_the_refused_are_named_and_the_others_go(proxy: MailProxyClient) -> None:
    def letters(subject: str) -> list[EmailMessage]:
        return [EmailMessage(subject, "text", to=[to]) for to in ("bob@example.com", "nobody")]

    with pytest.raises(Refused, match="'nobody'") as refusal:
        get_connection().send_messages(letters("partly1"))
    assert [one.code for one in refusal.value.rejected] == ["invalid_address"]
    assert get_connection(fail_silently=True).send_messages(letters("partly2")) == 1
    with pytest.raises(Refused, match="account not found"):
        EmailMessage("lost", "text", to=["bob@example.com"], connection=get_connection(account="x")).send()
    for subject in ("partly1", "partly2"):
        states = {one["to"][0] for one in queued(proxy, subject)}
        assert "bob@example.com" in states


def test_headers_are_one_line(proxy: MailProxyClient) -> None:
    for wrong in (
        EmailMessage("a\nBcc: eve@example.com", "text", to=["bob@example.com"]),
        EmailMessage("s", "text", to=["bob@example.com\r\nBcc: eve@example.com"]),
        EmailMessage("s", "text", to=["bob@example.com"], headers={"X-A": "1\n2"}),
    ):
        with pytest.raises(BadHeaderError):
            wrong.send(fail_silently=True)


def test_a_server_that_is_away_is_an_error_unless_silent(proxy: MailProxyClient) -> None:
    away = {"url": "http://127.0.0.1:1", "attempts": 1}
    message = EmailMessage("away", "text", to=["bob@example.com"], connection=get_connection(**away))
    with pytest.raises(Unreachable):
        message.send()
    message.connection = get_connection(fail_silently=True, **away)
    assert message.send() == 0
    message.connection = None
    assert message.send() == 1
    assert len(queued(proxy, "away")) == 1


@contextmanager
def answers_lost(url: str) -> Iterator[str]:
    """A way to the server on which calls arrive and answers do not."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            token = {"X-API-Token": self.headers["X-API-Token"], "Content-Type": "application/json"}
            assert httpx.post(url + self.path, content=body, headers=token, trust_env=False).is_success
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_sending_again_what_failed_does_not_queue_it_twice(proxy: MailProxyClient) -> None:
    message = EmailMessage("once", "text", to=["bob@example.com"])
    with answers_lost(proxy.url) as url, override_settings(MAILPROXY_ATTEMPTS=1):
        message.connection = get_connection(url=url)
        with pytest.raises(AnswerLost):
            message.send()
    message.connection = None
    assert message.send() == 1
    assert len(queued(proxy, "once")) == 1
    assert message.send() == 1
    assert len(queued(proxy, "once")) == 2, "what was queued is a new message when it is sent again"


def test_an_id_of_ones_own_is_one_message(proxy: MailProxyClient) -> None:
    for _ in range(2):
        message = EmailMessage("own", "text", to=["bob@example.com"])
        message.mailproxy = {"id": "own-1"}
        assert message.send() == 1
        proxy.wait_until_sent("own-1", timeout=30)
    assert [event.event_type for event in proxy.messages.events("own-1")] == ["sent"]


def test_settings_that_are_missing_are_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="MAILPROXY_TOKEN"):
        get_connection()


# -- what becomes of a message, without a server


def made(message: EmailMessage) -> list[dict[str, Any]]:
    return records(message, "main", lambda: "t")


def test_blind_recipients_alone_do_not_see_each_other() -> None:
    first, second = made(EmailMessage("s", "b", bcc=["a@example.com", "b@example.com"]))
    assert (first["to"], second["to"]) == (["a@example.com"], ["b@example.com"])
    assert not first["bcc"]
    assert first["id"] != second["id"]
    (only,) = made(EmailMessage("s", "b", cc=["a@example.com"]))
    assert only["to"] == ["a@example.com"]


def test_a_message_filled_anew_is_another_one() -> None:
    message = EmailMessage("s", "b", to=["a@example.com"])
    (first,) = made(message)
    message.to = ["b@example.com"]
    (second,) = made(message)
    message.to = ["a@example.com"]
    (third,) = made(message)
    assert first["id"] != second["id"]
    assert first == third


def test_headers_with_fields_of_their_own_become_them() -> None:
    headers = {"From": "Ann <ann@example.com>", "Reply-To": "desk@example.com"}
    (one,) = made(EmailMessage("s", "b", "bounces@example.com", ["a@example.com"], headers=headers))
    assert (one["from"], one["return_path"]) == ("Ann <ann@example.com>", "bounces@example.com")
    assert one["reply_to"] == "desk@example.com"
    with pytest.raises(ValueError, match="To cannot be another"):
        made(EmailMessage("s", "b", to=["a@example.com"], headers={"To": "list@example.com"}))


def test_bodies_that_cannot_be_sent_are_refused() -> None:
    calendar = EmailMultiAlternatives("s", "b", to=["a@example.com"])
    calendar.attach_alternative("BEGIN:VCALENDAR", "text/calendar")
    twice = EmailMultiAlternatives("s", "b", to=["a@example.com"])
    twice.attach_alternative("<p>1", "text/html")
    twice.attach_alternative("<p>2", "text/html")
    enriched = EmailMessage("s", "b", to=["a@example.com"])
    enriched.content_subtype = "enriched"
    for wrong in (calendar, twice, enriched):
        with pytest.raises(ValueError, match="cannot be sent"):
            made(wrong)
    html = EmailMessage("s", "<p>b", to=["a@example.com"])
    html.content_subtype = "html"
    assert made(html)[0]["body_html"] == "<p>b"


def test_attachments_of_every_kind_are_described() -> None:
    message = EmailMessage("s", "b", to=["a@example.com"])
    message.attach("old.eml", EmailMessage("inner", "b", to=["x@example.com"]), "message/rfc822")
    message.attach(None, b"%PDF", "application/pdf")
    hidden = MIMEImage(PNG, "png")
    hidden.add_header("Content-Disposition", "attachment", filename="a.png")
    hidden.add_header("Content-ID", "<x>")
    message.attach(hidden)
    inner, unnamed, image = made(message)[0]["attachments"]
    assert (inner["filename"], inner["mime_type"]) == ("old.eml", "application/octet-stream")
    assert unnamed["filename"] == "attachment-2.pdf"
    assert (image["filename"], image["inline"]) == ("a.png", False)
    message.attach(MIMEMultipart())
    with pytest.raises(ValueError, match="cannot be attached"):
        made(message)

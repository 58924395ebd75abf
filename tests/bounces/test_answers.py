"""What is no failure: automatic answers, receipts, complaints, lists, and people."""

import pytest

from mailproxy.bounces import Action, BounceClass, BounceType, Kind, parse


def mail(header: str, body: str = "Hello\n") -> bytes:
    return f"{header}\n\n{body}".encode()


@pytest.mark.parametrize(
    "header",
    [
        "From: bob@example.org\nSubject: Re: Invoice\nAuto-Submitted: auto-replied",
        "From: bob@example.org\nSubject: Re: Invoice\nAuto-Submitted: auto-replied (vacation)",
        "From: bob@example.org\nSubject: Automatic reply: Undeliverable mail\nX-Auto-Response-Suppress: All",
        "From: bob@example.org\nSubject: Out of Office: Invoice\nReturn-Path: <>",
        "From: bob@example.org\nSubject: Re: Invoice\nX-Autoreply: yes",
        "From: bob@example.org\nSubject: Re: Invoice\nPrecedence: auto_reply",
        "From: bob@example.org\nSubject: Thank you for your message\nReturn-Path: <>",
        "From: postmaster@example.org\nSubject: Automatische Antwort: Rechnung",
        "From: bob@example.org\nSubject: =?utf-8?q?R=C3=A9ponse_automatique_=3A_Facture?=",
        "From: bob@example.org\nSubject: Risposta automatica: Fattura",
    ],
)
def test_an_automatic_answer_is_no_bounce(header: str) -> None:
    away = (
        "I am away until Monday. Mail that could not be delivered: 550 5.1.1 user unknown <x@example.org>\n"
    )
    found = parse(mail(f"{header}\nIn-Reply-To: <7f@example.com>", away))
    assert (found.kind, found.recipients) == (Kind.AUTO_REPLY, ())
    assert found.original_message_id == "<7f@example.com>"


@pytest.mark.parametrize(
    "header",
    [
        "From: bob@example.org\nSubject: Re: Invoice",
        "From: bob@example.org\nSubject: Invoice\nList-Id: <l.example.org>\nPrecedence: list",
        "From: news@example.org\nSubject: Our offers\nX-Genro-Mail-ID: invoice-17",
        "From: bob@example.org\nSubject: Invoice\nAuto-Submitted: no",
        "From: bob@example.org\nSubject: Fwd: Undelivered Mail Returned to Sender",
        "Subject: nobody wrote this",
        "",
    ],
)
def test_ordinary_mail_is_nothing(header: str) -> None:
    found = parse(mail(header, "I got 550 5.1.1 user unknown from <x@example.org>\n"))
    assert (found.kind, found.recipients) == (Kind.NONE, ())
    assert found.original_id is None


def disposition(value: str, text: str = "Your message was read.") -> bytes:
    return mail(
        "From: bob@example.org\nSubject: Read: Invoice\n"
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b",
        f"""--b

{text}
--b
Content-Type: message/disposition-notification

Reporting-UA: client
Final-Recipient: rfc822; bob@example.org
Original-Message-ID: <7f@example.com>
Disposition: {value}

--b--
""",
    )


@pytest.mark.parametrize(
    "value",
    [
        "manual-action/MDN-sent-manually; displayed",
        "automatic-action/MDN-sent-automatically; processed",
        "manual-action/MDN-sent-automatically; deleted",
        "",
    ],
)
def test_a_read_receipt_is_no_bounce(value: str) -> None:
    found = parse(disposition(value))
    assert (found.kind, found.recipients) == (Kind.AUTO_REPLY, ())
    assert found.original_message_id == "<7f@example.com>"


def test_mail_that_was_deleted_unread_is_no_bounce() -> None:
    unread = "Your message was deleted without being read on Monday."
    found = parse(disposition("automatic-action/MDN-sent-automatically; deleted", unread))
    assert (found.kind, found.recipients) == (Kind.AUTO_REPLY, ())


def test_a_receipt_by_which_a_filter_refuses_is_a_bounce() -> None:
    found = parse(
        disposition("automatic-action/MDN-sent-automatically; deleted", "Rejected: blocked by policy")
    )
    assert found.kind is Kind.BOUNCE
    (bob,) = found.recipients
    assert (bob.address, bob.action, bob.type) == ("bob@example.org", Action.FAILED, BounceType.HARD)
    assert (bob.bounce_class, bob.reason) == (BounceClass.POLICY, "Rejected: blocked by policy")


def feedback(kind: str | None, fields: str = "Original-Rcpt-To: <bob@example.org>\n") -> bytes:
    declared = "" if kind is None else f"Feedback-Type: {kind}\n"
    return mail(
        "From: fbl@example.net\nSubject: complaint\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b",
        f"""--b

This is an email abuse report.
--b
Content-Type: message/feedback-report

{declared}User-Agent: fbl/1.0
Version: 1
{fields}
--b
Content-Type: message/rfc822

Message-ID: <7f@example.com>
X-Genro-Mail-ID: invoice-17
To: bob@example.org

--b--
""",
    )


@pytest.mark.parametrize("kind", ["abuse", "Fraud", "virus", "other", "opt-out", None])
def test_a_feedback_report_is_a_complaint(kind: str | None) -> None:
    found = parse(feedback(kind))
    assert found.kind is Kind.COMPLAINT
    assert [(each.address, each.action, each.type) for each in found.recipients] == [
        ("bob@example.org", None, None)
    ]
    assert (found.original_id, found.original_message_id) == ("invoice-17", "<7f@example.com>")


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
def test_a_feedback_report_of_another_type_is_not(kind: str) -> None:
    assert parse(feedback(kind)).kind is Kind.NONE


def test_a_complaint_may_keep_the_recipient_to_itself() -> None:
    found = parse(feedback("abuse", fields=""))
    assert (found.kind, found.recipients, found.original_id) == (Kind.COMPLAINT, (), "invoice-17")


def test_a_complaint_may_name_several() -> None:
    fields = "Original-Rcpt-To: <bob@example.org>\nOriginal-Rcpt-To: rfc822; carol@example.org\n"
    addresses = [each.address for each in parse(feedback("abuse", fields)).recipients]
    assert addresses == ["bob@example.org", "carol@example.org"]


def test_a_complaint_is_known_by_the_header_of_the_returned_mail() -> None:
    returned = "--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: bob@example.org\nSubject: x\n\n--b--\n"
    found = parse(
        mail(
            "From: staff@example.net\nSubject: complaint\nContent-Type: multipart/mixed; boundary=b", returned
        )
    )
    assert (found.kind, [each.address for each in found.recipients]) == (Kind.COMPLAINT, ["bob@example.org"])

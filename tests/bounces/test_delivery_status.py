"""Standard reports: RFC 3464, RFC 6533, and what servers make of them."""

import base64

import pytest

from mailproxy.bounces import Action, BounceClass, BounceType, Kind, Report, parse

HARD, SOFT = BounceType.HARD, BounceType.SOFT
RECIPIENT, POLICY = BounceClass.RECIPIENT, BounceClass.POLICY
CONTENT, INFRASTRUCTURE = BounceClass.CONTENT, BounceClass.INFRASTRUCTURE

GROUP = """\
Final-Recipient: rfc822; bob@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <bob@example.org>: User unknown
"""
RETURNED = """\
From: ann@example.com
To: bob@example.org
Message-ID: <7f@example.com>
X-Genro-Mail-ID: invoice-17
Subject: Invoice

Dear Bob
"""


def report(
    *groups: str,
    subject: str = "Undelivered Mail Returned to Sender",
    content_type: str = 'multipart/report; report-type=delivery-status; boundary="b1"',
    status_type: str = "message/delivery-status",
    returned_type: str = "message/rfc822",
    returned: str = RETURNED,
) -> bytes:
    parts = [
        "Content-Type: text/plain\n\nThis is the mail system at host mx.example.com.\n",
        f"Content-Type: {status_type}\n\nReporting-MTA: dns; mx.example.com\n\n" + "\n".join(groups),
        f"Content-Type: {returned_type}\n\n{returned}",
    ]
    body = "".join(f"--b1\n{part}\n" for part in parts) + "--b1--\n"
    header = (
        f"From: MAILER-DAEMON@mx.example.com\nTo: bounces@example.com\nSubject: {subject}\n"
        f"MIME-Version: 1.0\nContent-Type: {content_type}\n"
    )
    return f"{header}\n{body}".encode()


def group(**fields: str | None) -> str:
    base: dict[str, str | None] = {
        "Final-Recipient": "rfc822; bob@example.org",
        "Action": "failed",
        "Status": "5.1.1",
    }
    base.update({name.replace("_", "-"): value for name, value in fields.items()})
    return "".join(f"{name}: {value}\n" for name, value in base.items() if value is not None)


def only(found: Report) -> tuple[object, ...]:
    (each,) = found.recipients
    return found.kind, each.address, each.action, each.status, each.type, each.bounce_class


def test_a_standard_report_tells_of_whom_and_of_what() -> None:
    found = parse(report(GROUP))
    (bob,) = found.recipients
    assert found.kind is Kind.BOUNCE
    assert (bob.address, bob.action, bob.status, bob.smtp_code) == (
        "bob@example.org",
        Action.FAILED,
        "5.1.1",
        550,
    )
    assert (bob.type, bob.bounce_class) == (HARD, RECIPIENT)
    assert bob.reason == "550 5.1.1 <bob@example.org>: User unknown"
    assert found.original_id == "invoice-17"
    assert found.original_message_id == "<7f@example.com>"
    assert not found.exceeded


@pytest.mark.parametrize(
    ("status", "expected", "kind", "bounce_class"),
    [
        ("5.1.1", "5.1.1", HARD, RECIPIENT),
        ("5.1.1 (bad destination mailbox address)", "5.1.1", HARD, RECIPIENT),
        ("5", "5.0.0", HARD, INFRASTRUCTURE),
        ("5.1", "5.1.0", HARD, RECIPIENT),
        ("4.4.7", "4.4.7", SOFT, INFRASTRUCTURE),
        ("4.2.2", "4.2.2", SOFT, RECIPIENT),
        ("5.2.2", "5.2.2", HARD, RECIPIENT),
        ("5.2.3", "5.2.3", HARD, CONTENT),
        ("5.3.4", "5.3.4", HARD, CONTENT),
        ("5.6.0", "5.6.0", HARD, CONTENT),
        ("5.7.1", "5.7.1", HARD, POLICY),
        ("5.7.26", "5.7.26", HARD, POLICY),
        ("5.1.8", "5.1.8", HARD, POLICY),
        ("5.4.6", "5.4.6", HARD, INFRASTRUCTURE),
        ("5.5.0", "5.5.0", HARD, INFRASTRUCTURE),
    ],
)
def test_the_status_decides_type_and_class(
    status: str, expected: str, kind: BounceType, bounce_class: BounceClass
) -> None:
    found = parse(report(group(Status=status)))
    assert only(found) == (Kind.BOUNCE, "bob@example.org", Action.FAILED, expected, kind, bounce_class)


@pytest.mark.parametrize(
    ("status", "diagnostic", "expected"),
    [
        ("550", None, (None, 550, HARD, RECIPIENT)),
        ("553 Exceeded maximum inbound message size", None, (None, 553, HARD, CONTENT)),
        (None, "smtp; 550-5.7.1 Message rejected as spam\n 550 5.7.1 see our page", ("5.7.1", 550, HARD, POLICY)),
        (None, "smtp; 452 4.2.2 Over quota", ("4.2.2", 452, SOFT, RECIPIENT)),
        (None, "X-Postfix; Host or domain name not found", (None, None, HARD, RECIPIENT)),
        ("5.0.0", "smtp; 552 5.2.2 mailbox full", ("5.2.2", 552, HARD, RECIPIENT)),
        ("5.0.0", "smtp; 550 unknown user", ("5.0.0", 550, HARD, RECIPIENT)),
        ("5.5.0", "smtp;550 Requested action not taken: mailbox unavailable", ("5.5.0", 550, HARD, RECIPIENT)),
        ("5.3.0", "smtp; 553 5.3.0 <x@example.org>... No such user here", ("5.3.0", 553, HARD, RECIPIENT)),
        ("4.0.0", "X-Postfix; connect to mx.example.org[192.0.2.1]:25: Connection timed out",
         ("4.0.0", None, SOFT, INFRASTRUCTURE)),
        ("5.7.1", "smtp; 550 5.7.1 Message contains a virus", ("5.7.1", 550, HARD, POLICY)),
        ("5.7.1", "smtp; 550 5.7.1 No such user c18si2365148hub", ("5.7.1", 550, HARD, RECIPIENT)),
        ("5.7.1", "smtp; 550 5.7.1 Sender address does not exist", ("5.7.1", 550, HARD, POLICY)),
        ("4.7.0", "smtp; 450 4.7.0 Greylisted, try again", ("4.7.0", 450, SOFT, POLICY)),
        ("5.0.0", "smtp; 550 Your server requires confirmation", ("5.0.0", 550, HARD, POLICY)),
        (None, "smtp; 550#5.1.0 Address rejected.", ("5.1.0", 550, HARD, RECIPIENT)),
        (None, "smtp; 550 (#5.1.1) unknown", ("5.1.1", 550, HARD, RECIPIENT)),
        (None, "smtp; 554-mx.example.org 554 Your access is denied", (None, 554, HARD, POLICY)),
        ("2.0.0", "smtp; 550 5.1.1 gone", ("5.1.1", 550, HARD, RECIPIENT)),
    ],
)  # fmt: skip
def test_the_diagnostic_says_what_the_status_leaves_open(
    status: str | None, diagnostic: str | None, expected: tuple[object, ...]
) -> None:
    (bob,) = parse(report(group(Status=status, Diagnostic_Code=diagnostic))).recipients
    assert (bob.status, bob.smtp_code, bob.type, bob.bounce_class) == expected


@pytest.mark.parametrize(
    ("action", "status", "kind", "expected"),
    [
        ("failed", "5.1.1", Kind.BOUNCE, Action.FAILED),
        ("Failed", "5.1.1", Kind.BOUNCE, Action.FAILED),
        ("FAILED (bad destination)", "5.1.1", Kind.BOUNCE, Action.FAILED),
        ("failure", "5.1.1", Kind.BOUNCE, Action.FAILED),
        ("error", "5.0.0", Kind.BOUNCE, Action.FAILED),
        (None, "5.1.1", Kind.BOUNCE, Action.FAILED),
        (None, "4.4.7", Kind.BOUNCE, Action.FAILED),
        ("delayed", "4.4.1", Kind.DELAY, Action.DELAYED),
        ("Delayed", None, Kind.DELAY, Action.DELAYED),
        ("delayed", "5.4.1", Kind.DELAY, Action.DELAYED),
        ("delivered", "2.1.5", Kind.NONE, Action.DELIVERED),
        ("relayed", "2.1.9", Kind.NONE, Action.RELAYED),
        ("expanded", "2.1.5", Kind.NONE, Action.EXPANDED),
        (None, "2.1.5", Kind.NONE, Action.DELIVERED),
    ],
)
def test_only_a_failure_is_a_bounce(
    action: str | None, status: str | None, kind: Kind, expected: Action
) -> None:
    found = parse(report(group(Action=action, Status=status)))
    assert (found.kind, found.recipients[0].action) == (kind, expected)
    if kind is Kind.DELAY:
        assert found.recipients[0].type is SOFT
    if kind is Kind.NONE:
        assert found.recipients[0].type is None


def test_without_an_action_a_report_called_delayed_is_a_delay() -> None:
    found = parse(report(group(Action=None, Status="4.4.1"), subject="Delayed Mail (still being retried)"))
    assert found.kind is Kind.DELAY


def test_each_recipient_has_its_own_outcome() -> None:
    found = parse(
        report(
            group(),
            group(Final_Recipient="rfc822; carol@example.org", Action="delayed", Status="4.4.1"),
            group(Final_Recipient="rfc822; dave@example.org", Action="relayed", Status="2.1.9"),
        )
    )
    assert found.kind is Kind.BOUNCE
    assert [(each.address, each.action) for each in found.recipients] == [
        ("bob@example.org", Action.FAILED),
        ("carol@example.org", Action.DELAYED),
        ("dave@example.org", Action.RELAYED),
    ]


def test_recipients_without_an_empty_line_between_them_are_told_apart() -> None:
    joined = group() + group(Final_Recipient="rfc822; carol@example.org", Status="4.2.2")
    found = parse(report(joined))
    assert [(each.address, each.status) for each in found.recipients] == [
        ("bob@example.org", "5.1.1"),
        ("carol@example.org", "4.2.2"),
    ]


def test_a_recipient_named_twice_is_one() -> None:
    assert len(parse(report(group(), group())).recipients) == 1


@pytest.mark.parametrize(
    ("final", "original", "address", "final_address"),
    [
        ("rfc822; bob@example.org", None, "bob@example.org", None),
        ("rfc822;<bob@example.org>", None, "bob@example.org", None),
        ("RFC822; bob@example.org (Bob)", None, "bob@example.org", None),
        ("bob@example.org", None, "bob@example.org", None),
        ('rfc822; "bob b"@example.org', None, '"bob b"@example.org', None),
        ("rfc822; b1@mailstore.example", "rfc822; bob@example.org", "bob@example.org", "b1@mailstore.example"),
        ("rfc822; bob@example.org", "rfc822; bob@example.org", "bob@example.org", None),
        ("utf-8; jürgen@bücher.example", None, "jürgen@bücher.example", None),
        (r"utf-8; j\x{FC}rgen@b\x{fc}cher.example", None, "jürgen@bücher.example", None),
        ("rfc822; bob@example.org", r"utf-8; b\x{F6}b@example.org", "böb@example.org", "bob@example.org"),
        ("rfc822; bob@example.org", "unknown; somebody", "bob@example.org", None),
        ("rfc822; bob@example.org", "x400; /S=bob/@", "bob@example.org", None),
        (r"utf-8; \x{D800}\x{110000}a@example.org", None, "\N{REPLACEMENT CHARACTER}" * 2 + "a@example.org", None),
    ],
)  # fmt: skip
def test_the_address_is_the_one_the_mail_was_sent_to(
    final: str, original: str | None, address: str, final_address: str | None
) -> None:
    found = parse(
        report(
            group(Final_Recipient=final, Original_Recipient=original),
            status_type="message/global-delivery-status",
        )
    )
    (bob,) = found.recipients
    assert (bob.address, bob.final_address) == (address, final_address)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/report; report-type=delivery-status; boundary=b1",
        "Multipart/Report; REPORT-TYPE=Delivery-Status; BOUNDARY=b1",
        "multipart/report; report-type*=us-ascii'en'delivery-status; boundary*0=b; boundary*1=1",
        'multipart/report; boundary="b1"',
        'multipart/mixed; boundary="b1"',
    ],
)
def test_the_type_of_a_report_may_be_written_in_many_ways(content_type: str) -> None:
    assert parse(report(GROUP, content_type=content_type)).kind is Kind.BOUNCE


@pytest.mark.parametrize(
    "status_type",
    [
        "message/delivery-status",
        "message/DELIVERY-STATUS; charset=utf-8",
        "message/global-delivery-status",
        "text/delivery-status",
        "text/plain; name=details.txt",
        "application/octet-stream",
    ],
)
def test_the_status_part_may_be_called_by_many_names(status_type: str) -> None:
    assert only(parse(report(GROUP, status_type=status_type)))[:2] == (Kind.BOUNCE, "bob@example.org")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_line_end_is_one(end: bytes) -> None:
    found = parse(report(GROUP).replace(b"\n", end))
    assert only(found)[:2] == (Kind.BOUNCE, "bob@example.org")
    assert found.original_id == "invoice-17"


@pytest.mark.parametrize(
    ("returned_type", "returned"),
    [
        ("message/rfc822", RETURNED),
        ("message/global", RETURNED),
        ("text/rfc822-headers", RETURNED.partition("\n\n")[0]),
        ("message/rfc822-headers", RETURNED.partition("\n\n")[0]),
        ("message/global-headers; charset=utf-8", RETURNED.partition("\n\n")[0]),
        ("text/plain", "----- Original message -----\n\n" + RETURNED),
        ("text/plain", "> " + RETURNED.replace("\n", "\n> ")),
    ],
)
def test_the_original_is_known_by_what_was_returned_of_it(returned_type: str, returned: str) -> None:
    found = parse(report(GROUP, returned_type=returned_type, returned=returned))
    assert (found.original_id, found.original_message_id) == ("invoice-17", "<7f@example.com>")


def test_a_returned_message_may_be_in_base64() -> None:
    coded = base64.b64encode(RETURNED.encode()).decode()
    found = parse(
        report(GROUP, returned_type="message/rfc822\nContent-Transfer-Encoding: base64", returned=coded)
    )
    assert (found.original_id, found.original_message_id) == ("invoice-17", "<7f@example.com>")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Message-ID: <7f@example.com>\n", (None, "<7f@example.com>")),
        ("Message-Id:\n <7f@example.com>\n", (None, "<7f@example.com>")),
        ("x-genro-mail-id: a\n", ("a", None)),
        ("X-Genro-Mail-ID: =?utf-8?q?Rechnung_=C3=BC?=\n =?utf-8?q?17?=\n", ("Rechnung ü17", None)),
        ("X-Genro-Mail-ID: =?none?q?x?=\n", ("=?none?q?x?=", None)),
        ("X-Genro-Mail-ID:\nMessage-ID: none\n", (None, None)),
        ("Subject: nothing of ours\n", (None, None)),
        ("X-Genro-Mail-ID: " + "x" * 600 + "\n", (None, None)),
    ],
)
def test_an_original_may_be_known_in_part(header: str, expected: tuple[str | None, str | None]) -> None:
    found = parse(report(GROUP, returned=f"{header}\nDear Bob\n"))
    assert (found.original_id, found.original_message_id) == expected


def test_headers_of_the_report_itself_are_not_those_of_the_original() -> None:
    raw = report(GROUP, returned="Subject: x\n\n")
    found = parse(b"X-Genro-Mail-ID: forged\nMessage-ID: <report@mx.example.com>\n" + raw)
    assert (found.original_id, found.original_message_id) == (None, None)


def test_the_message_answered_is_the_original_when_nothing_was_returned() -> None:
    raw = report(GROUP, returned="Subject: x\n\n")
    found = parse(b"In-Reply-To: <7f@example.com>\nReferences: <1@example.com> <2@example.com>\n" + raw)
    assert found.original_message_id == "<7f@example.com>"


def test_what_the_server_writes_to_people_explains_a_bare_status() -> None:
    raw = report(group(Status="5.0.0")).replace(
        b"This is the mail system at host mx.example.com.",
        b"<bob@example.org>: disk quota exceeded\n",
    )
    (bob,) = parse(raw).recipients
    assert (bob.status, bob.bounce_class, bob.reason) == ("5.0.0", RECIPIENT, "disk quota exceeded")


def test_a_report_put_into_a_mail_by_a_gateway_is_read() -> None:
    outer = (
        b"From: postmaster@example.net\nSubject: Delivery Status Notification (Failure)\n"
        b"Content-Type: multipart/mixed; report-type=delivery-status; boundary=outer\n\n"
        b"--outer\nContent-Type: message/rfc822\n\n" + report(GROUP) + b"\n--outer--\n"
    )
    assert only(parse(outer))[:2] == (Kind.BOUNCE, "bob@example.org")


def test_a_report_in_a_pec_anomaly_envelope_is_read() -> None:
    outer = (
        b"From: posta-certificata@pec.example.com\nSubject: ANOMALIA MESSAGGIO: x\nX-Trasporto: errore\n"
        b"Content-Type: multipart/mixed; boundary=outer\n\n"
        b"--outer\n\nThe message below is not certified.\n"
        b"--outer\nContent-Type: message/rfc822; name=postacert.eml\n\n" + report(GROUP) + b"\n--outer--\n"
    )
    assert only(parse(outer))[:2] == (Kind.BOUNCE, "bob@example.org")


def test_a_reason_is_one_line_of_500_characters() -> None:
    long = "smtp; 550 " + "no\t such user. " * 200
    (bob,) = parse(report(group(Diagnostic_Code=long))).recipients
    assert bob.reason is not None
    assert len(bob.reason) == 500
    assert "\t" not in bob.reason
    assert bob.reason.startswith("550 no such user.")


def test_only_a_lasting_fault_of_the_address_makes_it_a_dead_one() -> None:
    def is_dead(**fields: str) -> bool:
        return parse(report(group(**fields))).recipients[0].address_is_dead

    assert is_dead(Status="5.1.1")
    assert not is_dead(Status="5.2.2")
    assert not is_dead(Status="4.1.1")
    assert not is_dead(Status="5.7.1")
    assert not is_dead(Status="5.1.1", Action="delayed")
    assert not is_dead(Status="5.0.0")

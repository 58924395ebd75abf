"""Bounces as servers write them (RFC 3464), of messages of ours."""

from collections.abc import Sequence


def dsn(
    *failures: tuple[str, str],
    client_id: str | None = None,
    proof: str | None = None,
    message_id: str | None = None,
    action: str = "failed",
    note: str = "",
) -> bytes:
    """`failures` are (address, status); the header of the original comes back with what is given of it."""
    groups = "".join(_group(address, status, action) for address, status in failures)
    original = "".join(
        f"{name}: {value}\n"
        for name, value in (
            ("Message-ID", message_id),
            ("X-Genro-Mail-ID", client_id),
            ("X-Genro-Mail-Proof", proof),
        )
        if value
    )
    text = (
        "From: MAILER-DAEMON@mx.example.com\nTo: bounces@example.org\nSubject: Undelivered Mail Returned to Sender\n"
        'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        f"--b\n\nNot delivered. {note}\n\n--b\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.example.com\n\n{groups}--b\nContent-Type: text/rfc822-headers\n\n"
        f"From: alice@example.org\nSubject: x\n{original}\n--b--\n"
    )
    return text.replace("\n", "\r\n").encode()


def _group(address: str, status: str, action: str) -> str:
    code = f"{status[0]}50"
    return (
        f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {status}\n"
        f"Diagnostic-Code: smtp; {code} {status} no such user\n\n"
    )


def complaint(address: str, original: Sequence[tuple[str, str]]) -> bytes:
    """An abuse report (RFC 5965)."""
    header = "".join(f"{name}: {value}\n" for name, value in original)
    text = (
        "From: abuse@example.com\nTo: bounces@example.org\nSubject: FW: spam\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n--b\n\nSpam.\n\n'
        "--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n"
        f"Original-Rcpt-To: {address}\n\n--b\nContent-Type: message/rfc822\n\n"
        f"From: alice@example.org\nTo: {address}\n{header}\nbody\n--b--\n"
    )
    return text.replace("\n", "\r\n").encode()

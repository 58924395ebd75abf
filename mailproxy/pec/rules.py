"""What RFC 6109 §3.1.1 asks of a message before a PEC provider takes it: anything else comes back refused."""

from collections.abc import Iterator

from mailproxy import address
from mailproxy.checks import Fault
from mailproxy.model import Attachment, Content, Seconds

MOST_OCTETS = 30 << 20
TOO_LARGE = "message_too_large"
LONGEST: Seconds = 86400.0
"""How long certified mail waits to be sent unless its sender says otherwise: it is a dated act."""
ALL_OR_NONE = "certified mail goes to all of its recipients or to none"
"""Its envelope names exactly those of `To` and `Cc`."""


def faults(content: Content, mailbox: str | None) -> Iterator[Fault]:
    """Faults of an otherwise faultless message, sent from a PEC `mailbox` (None: its address is not known)."""
    author = address.parse(content.sender).ascii_addr_spec
    if mailbox is not None and not _same(author, mailbox):
        yield Fault("from", "pec_sender", f"certified mail of this account is from {mailbox} alone")
    if not _same(address.envelope_sender(content.sender, content.return_path), author):
        detail = "certified mail has its author as return path; leave return_path out"
        yield Fault("return_path", "pec_return_path", detail)
    if content.bcc:
        yield Fault("bcc", "pec_bcc", "certified mail has no hidden recipients; name them in to or cc")
    recipients = len(address.envelope_recipients(content.to, content.cc, content.bcc))
    if (too_much := excess(least_octets(content), recipients)) is not None:
        yield Fault("attachments", TOO_LARGE, too_much)


def excess(octets: int, recipients: int) -> str | None:
    """What is wrong with the size of a message for so many recipients."""
    if octets * recipients <= MOST_OCTETS:
        return None
    return (
        f"{octets} octets for {recipients} recipients; size times recipients of certified mail"
        f" is at most {MOST_OCTETS}"
    )


def least_octets(content: Content) -> int:
    """What the message has at least on the wire; attachments whose size nobody knows yet count nothing."""
    texts = sum(
        len(text.encode("utf-8", "replace")) for text in (content.body_text, content.body_html) if text
    )
    return texts + sum(-(-_size(part) // 57) * 78 for part in content.attachments)


def _size(part: Attachment) -> int:
    return part.size if part.source is None else part.source.size


def folded(mailbox: str) -> str:
    """An address as receipts are matched with it: providers do not keep the case of a local part."""
    return mailbox.strip().lower()


def _same(one: str, other: str) -> bool:
    return folded(one) == folded(other)

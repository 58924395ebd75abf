"""What a mail that came back says: of which message, for which recipients, and what became of them."""

from dataclasses import dataclass
from enum import StrEnum

from mailproxy.received import Limit

MAX_RECIPIENTS = 1_000
MAX_EXPLAINED = 100


class Kind(StrEnum):
    BOUNCE = "bounce"
    DELAY = "delay"
    COMPLAINT = "complaint"
    AUTO_REPLY = "auto-reply"
    NONE = "none"


class Action(StrEnum):
    """What the reporting server did for a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class BounceType(StrEnum):
    """Whether the same mail would fail again: permanently (5.x.x) or perhaps not (4.x.x)."""

    HARD = "hard"
    SOFT = "soft"


class BounceClass(StrEnum):
    """What a failure was about: the address, somebody's rules, this mail's content, or the way there."""

    RECIPIENT = "recipient"
    POLICY = "policy"
    CONTENT = "content"
    INFRASTRUCTURE = "infrastructure"


@dataclass(frozen=True, slots=True)
class Recipient:
    """What is said of one recipient.

    `address` is the one the mail was sent to where the report knows it, `final_address` what it had become
    when it failed, if that differs. `status` is an enhanced status code (RFC 3463) of three numbers, `reason`
    at most 500 characters in one line. Type and class are set for failures and delays alone.
    """

    address: str
    action: Action | None = None
    status: str | None = None
    type: BounceType | None = None
    bounce_class: BounceClass | None = None
    smtp_code: int | None = None
    reason: str | None = None
    final_address: str | None = None

    @property
    def address_is_dead(self) -> bool:
        """Whether the address itself is at fault for good: a hard failure other than a full mailbox."""
        if self.action is not Action.FAILED or self.type is not BounceType.HARD:
            return False
        return self.bounce_class is BounceClass.RECIPIENT and not (self.status or "").endswith(".2.2")


@dataclass(frozen=True, slots=True)
class Report:
    """The reading of one mail.

    `original_id` is the tracking header of the message it is about, `original_message_id` that message's
    Message-ID with its angle brackets. `proofs` are the tags it carries that may prove that its author has
    seen our message (see `proof`). `exceeded` names the limits beyond which the mail was not read; with
    MAX_RECIPIENTS recipients there may be more.
    """

    kind: Kind
    recipients: tuple[Recipient, ...] = ()
    original_id: str | None = None
    original_message_id: str | None = None
    proofs: tuple[str, ...] = ()
    exceeded: frozenset[Limit] = frozenset()

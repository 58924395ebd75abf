"""What one hand-over attempt can end as. An attempt returns one of these; only bugs raise."""

from dataclasses import dataclass, field
from enum import StrEnum

from mailproxy.model import Seconds


class Stage(StrEnum):
    """The step at which something happened: our own preparation, then those of RFC 5321 §3.3."""

    PREPARE = "prepare"
    CONNECT = "connect"
    TLS = "tls"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply. `enhanced` is the RFC 3463 status at the start of the text, if any; `text` is at most
    512 characters with control characters replaced."""

    code: int
    text: str
    enhanced: str | None = None

    def __str__(self) -> str:
        return f"({self.code}, {self.text!r})"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One recipient the server would not take. `index` counts the message's envelope recipients from 0."""

    index: int
    address: str
    reply: Reply

    @property
    def permanent(self) -> bool:
        """RFC 5321 §4.5.3.1.10: 552 to RCPT means "too many recipients" and is temporary."""
        return self.reply.code >= 500 and self.reply.code != 552


@dataclass(frozen=True, slots=True)
class Sent:
    """The server answered 2xx to the final dot for every recipient not in `refused`.

    With some refused, `accepted` names the others by index and address: they must never get it again (H7).
    """

    reply: Reply
    refused: tuple[Refusal, ...] = ()
    accepted: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Deferred:
    """A definite non-delivery that may succeed later."""

    stage: Stage
    cause: str
    reply: Reply | None = None
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A definite non-delivery that would fail again the same way."""

    stage: Stage
    cause: str
    reply: Reply | None = None
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """The dot was sent and no complete reply to it was read: the server may or may not have the message."""

    cause: str


class Trouble(StrEnum):
    """Why an account cannot be used, none of it any message's fault (RELIABILITY H9)."""

    DNS = "dns"
    FORBIDDEN = "host_not_allowed"
    REFUSED = "connection_refused"
    NETWORK = "network"
    TLS = "tls"
    AUTH = "authentication"
    THROTTLED = "throttled"
    UNAVAILABLE = "service_unavailable"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class AccountTrouble:
    """The account, not the message, failed: it backs off once and no message loses an attempt.

    `definite` troubles (a refused login) open the breaker at once and wait for an operator.
    """

    trouble: Trouble
    cause: str
    reply: Reply | None = None
    definite: bool = False
    retry_after: Seconds | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Withheld:
    """The intent was refused (suspended, cancelled, lease lost, limit turned): no dot was sent."""

    cause: str


Outcome = Sent | Deferred | Refused | Unknown | AccountTrouble | Withheld

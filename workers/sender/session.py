"""One SMTP connection to an account's server: offer a message up to the final dot, then, separately, the dot.

The dot is the only irreversible act. Until `dot` is called everything is a definite non-delivery; after it
only a complete reply is believed (RELIABILITY §1.3).
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mailproxy.mime import dot_stuff
from mailproxy.model import Account
from mailproxy.outcome import (
    AccountTrouble,
    Deferred,
    Refusal,
    Refused,
    Reply,
    Sent,
    Stage,
    Unknown,
)
from mailproxy.pieces import Data, size_of
from mailproxy.reach import Reach
from workers.sender.connect import Capabilities, Link, Timeouts, connect
from workers.sender.replies import Break
from workers.sender.verdict import (
    CLOSING,
    Missing,
    Offered,
    Setback,
    is_nonsense,
    is_positive,
    judge,
    judge_dot,
    weigh,
)
from workers.sender.wire import Wire

__all__ = ["ConnectionLost", "Offered", "Session", "Timeouts", "open_session"]

Recipients = Sequence[tuple[int, str]]

# Sent with its dot once that is allowed: one write for the two, and nothing to take back before.
LARGEST_WITH_DOT: Final = 16 * 1024
_QUIT_PATIENCE: Final = 5.0
_PATH = re.compile(r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"|[^\x00-\x20\x7f<>"])*')
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """A connection that had served before was closed, before any dot: try a fresh one, at no cost."""

    stage: Stage
    cause: str
    reused: bool = True


Offer = Offered | Setback | ConnectionLost


class Phase(Enum):
    IDLE = auto()
    OFFERING = auto()
    BEFORE_DOT = auto()
    AFTER_DOT = auto()
    CLOSED = auto()


async def open_session(
    account: Account,
    *,
    timeouts: Timeouts,
    local_hostname: str | None,
    reach: Reach,
    pipelining: bool = True,
    require_tls: bool = False,
) -> "Session | AccountTrouble":
    """Connect, greet, encrypt and log in. `pipelining=False` distrusts the server's offer of it."""
    link = await connect(account, timeouts, local_hostname, reach, require_tls=require_tls)
    if isinstance(link, AccountTrouble):
        return link
    return Session(link, timeouts, pipelining=pipelining)


class Session:
    """`offer`, then `dot` or `abandon`; then again, as long as `usable`.

    `tls` is the protocol version, None in clear; `out_of_step` that pipelining seems to have confused the server.
    """

    def __init__(self, link: Link, timeouts: Timeouts, *, pipelining: bool) -> None:
        self.tls = link.tls
        self.opened_at = asyncio.get_running_loop().time()
        self.phase = Phase.IDLE
        self.out_of_step = False
        self.capabilities: Capabilities = link.capabilities
        self.pipelining = pipelining and link.capabilities.pipelining
        self._timeouts = timeouts
        self._wire = Wire(link.transport, asyncio.get_running_loop())
        self._transactions = 0
        self._reset_due = False
        self._refused: tuple[Refusal, ...] = ()
        self._body = b""

    @property
    def usable(self) -> bool:
        """Only after complete well-formed replies; never nursed back to health after anything else."""
        return self.phase is Phase.IDLE and self._wire.alive

    @property
    def alive(self) -> bool:
        """False once the server is known to have left: then no intent is worth recording."""
        return self._wire.alive

    @property
    def reused(self) -> bool:
        return self._transactions > 1

    async def offer(self, mail_from: str, recipients: Recipients, data: Data, *, smtputf8: bool) -> Offer:
        """MAIL, RCPT, DATA and, when it is long, the body without its dot. `data` is a whole message, not yet
        dot-stuffed."""
        if unfit := self._unfit(mail_from, recipients, data, smtputf8):
            return unfit
        if not self.usable:
            raise RuntimeError(f"a session in phase {self.phase} takes no message")
        self.phase = Phase.OFFERING
        self._transactions += 1
        self._refused = ()
        commands = self._commands(mail_from, [address for _, address in recipients], data, smtputf8)
        converse = self._pipelined if self.pipelining else self._one_by_one
        replies = await converse(commands)
        if self._reset_due and replies and not is_positive(Stage.MAIL, replies.pop(0).code):
            return self._lost(Stage.MAIL, "the server refuses RSET")
        self._reset_due = False
        outcome = weigh(recipients, replies)
        if isinstance(outcome, Missing):
            return self._lost(outcome.stage)
        if not isinstance(outcome, Offered):
            return self._set_back(outcome, replies, data_replies=replies[len(recipients) + 1 :])
        if size_of(data) <= LARGEST_WITH_DOT:
            self._body = b"".join(wire_chunks(data))
        elif failed := await self._send_body(data):
            return failed
        self.phase = Phase.BEFORE_DOT
        self._refused = outcome.refused
        return outcome

    async def dot(self) -> Sent | Setback | Unknown:
        """Send the final dot (a short body with it) and read the reply: the message is the server's, or not, or nobody
        knows."""
        if self.phase is not Phase.BEFORE_DOT:
            raise RuntimeError(f"no dot in phase {self.phase}")
        if not self._wire.alive:
            lost = self._broken_body()
            return Deferred(lost.stage, lost.cause) if isinstance(lost, ConnectionLost) else lost
        self.phase = Phase.AFTER_DOT
        body, self._body = self._body, b""
        self._wire.ask(body + b".\r\n", 1)
        replies = await self._wire.replies(1, self._timeouts.dot)
        if not replies:
            self.abandon()
            return Unknown(f"no reply to the dot: {self._wire.broken}")
        outcome = judge_dot(replies[0], self._refused)
        self._reset_due = not isinstance(outcome, Sent)
        if isinstance(outcome, Unknown) or replies[0].code == CLOSING:
            self.abandon()
        else:
            self.phase = Phase.IDLE
        return outcome

    async def _send_body(self, data: Data) -> Setback | ConnectionLost | None:
        try:
            arrived = await self._wire.send(wire_chunks(data), self._timeouts.body_progress)
        except OSError as e:
            self.abandon()
            return Deferred(Stage.BODY, f"an attachment can no longer be read: {e}")
        return None if arrived else self._broken_body()

    def abandon(self) -> None:
        """Close at once and without a dot: the server discards what it has (RFC 5321 §4.1.1.4)."""
        self.phase = Phase.CLOSED
        self._wire.abort()

    async def quit(self) -> None:
        """Part politely if the dialogue is between messages, at once otherwise."""
        if self.usable:
            self._wire.ask(b"QUIT\r\n", 1)
            await self._wire.replies(1, min(_QUIT_PATIENCE, self._timeouts.command))
        self.abandon()

    def _unfit(self, mail_from: str, recipients: Recipients, data: Data, smtputf8: bool) -> Refused | None:
        """What no server or not this one can take is refused without a word to it."""
        if smtputf8 and not self.capabilities.smtputf8:
            return Refused(Stage.MAIL, "smtputf8_required: the server does not take internationalised mail")
        for address in (mail_from, *(address for _, address in recipients)):
            if not _PATH.fullmatch(address) or not (smtputf8 or address.isascii()):
                return Refused(Stage.MAIL, f"invalid_address: {address!r}")
        limit = self.capabilities.size
        if limit is not None and size_of(data) > limit:
            return Refused(
                Stage.MAIL, f"too_large_for_server: {size_of(data)} bytes, the server takes {limit}"
            )
        return None

    def _commands(self, mail_from: str, addresses: Sequence[str], data: Data, smtputf8: bool) -> list[bytes]:
        mail = [f"MAIL FROM:<{mail_from}>"]
        if self.capabilities.size_parameter:
            mail.append(f"SIZE={size_of(data)}")
        if self.capabilities.eightbit and not data.isascii():
            mail.append("BODY=8BITMIME")
        if smtputf8:
            mail.append("SMTPUTF8")
        lines = ["RSET"] if self._reset_due else []
        lines += [" ".join(mail), *(f"RCPT TO:<{address}>" for address in addresses), "DATA"]
        return [f"{line}\r\n".encode() for line in lines]

    async def _pipelined(self, commands: list[bytes]) -> list[Reply]:
        """All in one write (RFC 2920); fewer replies than commands only when the connection broke."""
        self._wire.ask(b"".join(commands), len(commands))
        replies = await self._wire.replies(len(commands) - 1, self._timeouts.command)
        replies += await self._wire.replies(1, self._timeouts.data)
        return replies

    async def _one_by_one(self, commands: list[bytes]) -> list[Reply]:
        """Stops at the first reply that decides: no DATA without a sender and a recipient."""
        mail, replies = int(self._reset_due), list[Reply]()
        for number, command in enumerate(commands):
            last = number == len(commands) - 1
            if last and not any(is_positive(Stage.RCPT, reply.code) for reply in replies[mail + 1 :]):
                break
            self._wire.ask(command, 1)
            got = await self._wire.replies(1, self._timeouts.data if last else self._timeouts.command)
            replies += got
            if (
                not got
                or got[0].code == CLOSING
                or (number <= mail and not is_positive(Stage.MAIL, got[0].code))
            ):
                break
        return replies

    def _set_back(
        self, setback: Setback, replies: list[Reply], data_replies: list[Reply]
    ) -> Setback | ConnectionLost:
        """Keep the connection only if both sides agree that no transaction is open and no data is awaited."""
        in_step = not any(is_nonsense(reply) or reply.code == CLOSING for reply in replies)
        # After a positive reply to DATA anything sent would be part of a message: closing sends nothing.
        if in_step and all(reply.code >= 400 for reply in data_replies) and self._wire.alive:
            self._reset_due = True
            self.phase = Phase.IDLE
        else:
            self.abandon()
        return self._free_if_reused(setback)

    def _broken_body(self) -> Setback | ConnectionLost:
        refusal = self._wire.unsolicited
        self.abandon()
        if refusal is not None and (setback := judge(Stage.BODY, refusal, self._refused)):
            return self._free_if_reused(setback)
        return self._lost(Stage.BODY)

    def _free_if_reused(self, setback: Setback) -> Setback | ConnectionLost:
        """A server may end an old connection with 421 at any time: that says nothing about a fresh one."""
        if self.reused and setback.reply is not None and setback.reply.code == CLOSING:
            return ConnectionLost(Stage.MAIL, setback.cause)
        return setback

    def _lost(self, stage: Stage, cause: str | None = None) -> Deferred | ConnectionLost:
        stalled = self._wire.broken is not Break.CLOSED and stage in (Stage.RCPT, Stage.DATA)
        self.out_of_step = self.pipelining and stalled
        self.abandon()
        cause = cause or f"{self._wire.broken} at {stage}"
        return ConnectionLost(stage, cause) if self.reused else Deferred(stage, cause)


def wire_chunks(data: Data) -> Iterator[bytes]:
    """The body as DATA carries it, made as it is sent. Pieces are whole lines, and base64 has no dots."""
    for piece in (data,) if isinstance(data, bytes) else data.pieces:
        if isinstance(piece, bytes):
            yield wire_form(piece)
        else:
            yield from piece


def wire_form(data: bytes) -> bytes:
    """The body as DATA carries it, without the dot; no bare CR or LF, which could hide an end of data."""
    if data.count(b"\n") != (lines := data.count(b"\r\n")) or data.count(b"\r") != lines:
        data = _BARE.sub(b"\r\n", data)
    return dot_stuff(data)

"""Step 2 of the hand-over: a claimed message becomes the bytes and the envelope of its next attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mailproxy import address, log, mime, payload, proof
from mailproxy.errors import InvalidInput, MailproxyError, StorageUnavailable
from mailproxy.model import Content, Epoch, Seconds, public_pk
from mailproxy.outcome import Deferred, Refused, Stage, Withheld
from mailproxy.pec import rules
from mailproxy.pieces import Data, size_of
from mailproxy.records import Claimed
from mailproxy.shares import Share
from mailproxy.store import Queue
from workers.sender.origin import Origin, Origins

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """`recipients` are those still unsettled, by their index in the whole envelope."""

    mail_from: str
    recipients: tuple[tuple[int, str], ...]
    data: Data
    smtputf8: bool


Render = Callable[[Claimed, Origin], Prepared | Refused]
"""A message and who sends it -> its next attempt; `prepare`, but for tests."""


@dataclass(slots=True)
class Work:
    """A claimed message on its way to its attempt.

    `content` None: the payload holds all of it. A suspect's content is brought together by `gather` in its own turn.
    """

    message: Claimed
    content: Content | None = None
    share: Share | None = None
    gather: "Gather | None" = None

    def done(self) -> None:
        """Nobody needs the content any more."""
        self.content = None
        if self.share is not None:
            self.share.give_back()


@dataclass(frozen=True, slots=True)
class PutOff:
    """Others are in the way; nothing was tried, so the message goes back for `delay` seconds."""

    delay: Seconds


Result = Work | Refused | Deferred | Withheld | PutOff
Gather = Callable[[], Awaitable[Result]]


class Preparation:
    """Prepares the messages of a process, one at a time.

    What was claimed by a process that died is suspect: only a death during its own turn counts against it
    (RELIABILITY H10), so its turn is marked in the database. Its content is brought together in that turn, for which
    the others wait: within `gathered_within` seconds, or at another attempt.
    """

    def __init__(
        self, queue: Queue, epoch: Epoch, origins: Origins, render: Render, gathered_within: Seconds
    ) -> None:
        self._queue = queue
        self._epoch = epoch
        self._origins = origins
        self._render = render
        self._gathered_within = gathered_within
        self._turn = asyncio.Lock()

    async def of(self, work: Work, *, certified: bool = False) -> Prepared | Refused | Deferred | Withheld:
        """`certified` mail has to keep its author as envelope sender, and a size limit (RFC 6109 §3.1.1)."""
        async with self._turn:
            origin = await self._origins.current()
            if not certified:
                return await self._prepared(work, origin)
            found = await self._prepared(work, replace(origin, return_path=None))
            return _held_to_size(found, work.message) if isinstance(found, Prepared) else found

    async def _prepared(self, work: Work, origin: Origin) -> Prepared | Refused | Deferred | Withheld:
        return await self._alone(work, origin) if work.message.suspect else self._rendered(work, origin)

    async def _alone(self, suspect: Work, origin: Origin) -> Prepared | Refused | Deferred | Withheld:
        try:
            await self._queue.suspect_alone(self._epoch, suspect.message.id, True)
            prepared = await self._gathered(suspect, origin)
            await self._queue.suspect_alone(self._epoch, suspect.message.id, False)
        except StorageUnavailable as e:
            return Withheld(f"not prepared without a mark: {e.detail}")
        return prepared

    async def _gathered(self, suspect: Work, origin: Origin) -> Prepared | Refused | Deferred | Withheld:
        if suspect.gather is not None:
            try:
                async with asyncio.timeout(self._gathered_within):
                    found = await suspect.gather()
            except TimeoutError:
                return Deferred(Stage.PREPARE, "its content was not brought together in time")
            if isinstance(found, PutOff):
                return Deferred(Stage.PREPARE, "others are in the way")
            if not isinstance(found, Work):
                return found
            suspect.content, suspect.share = found.content, found.share
        return self._rendered(suspect, origin)

    def _rendered(self, work: Work, origin: Origin) -> Prepared | Refused:
        if work.content is None:
            return self._render(work.message, origin)
        return prepare(work.message, origin, work.content)


def _held_to_size(prepared: Prepared, message: Claimed) -> Prepared | Refused:
    """What was fetched counts now, too; the door could only count what came with the message."""
    everybody = len(prepared.recipients) + len(message.recipients)
    detail = rules.excess(size_of(prepared.data), everybody)
    return prepared if detail is None else Refused(Stage.PREPARE, f"{rules.TOO_LARGE}: {detail}")


def prepare(message: Claimed, origin: Origin, content: Content | None = None) -> Prepared | Refused:
    """The same bytes at every attempt (RELIABILITY H6). Whatever upsets it fails this message alone."""
    try:
        return _prepare(message, origin, content or payload.decode(message.payload))
    except MailproxyError as e:
        return Refused(Stage.PREPARE, f"{e.error_code}: {e.detail}")
    except Exception as e:  # noqa: BLE001 - a renderer's bug must fail this message alone, loudly
        _log.error("cannot_render", message=message.id, client_id=message.client_id, exc_info=True)
        return Refused(Stage.PREPARE, f"cannot_render: {type(e).__name__}")


def _prepare(message: Claimed, origin: Origin, content: Content) -> Prepared:
    pk = public_pk(origin.instance, message.id)
    token = proof.token_of(origin.proof_key, pk, message.id)
    smtputf8 = mime.needs_smtputf8(content)
    data = mime.compose(
        content,
        accepted_at=message.accepted_at,
        message_id=content.message_id or mime.default_message_id(_generation(pk, message.revision), content),
        tracking_id=message.client_id,
        proof=token,
        smtputf8=smtputf8,
    )
    settled = {outcome.index for outcome in message.recipients}
    everybody = address.envelope_recipients(content.to, content.cc, content.bcc)
    return Prepared(
        mail_from=_mail_from(content, origin.return_path, token),
        recipients=tuple((i, rcpt) for i, rcpt in enumerate(everybody) if i not in settled),
        data=data,
        smtputf8=smtputf8,
    )


def _mail_from(content: Content, bounces_to: str | None, token: str) -> str:
    """A message that names no return path gets the instance's, if there is one, with its token."""
    if bounces_to is None or content.return_path is not None:
        return address.envelope_sender(content.sender, content.return_path)
    try:
        return address.envelope_sender(content.sender, proof.tagged_return_path(bounces_to, token))
    except InvalidInput:
        return address.envelope_sender(content.sender, bounces_to)


def _generation(pk: str, revision: int) -> str:
    """A replaced message is another one to everybody who removes duplicates by Message-ID."""
    return f"{pk}.{revision}" if revision else pk

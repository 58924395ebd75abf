"""Step 2 of the hand-over: a claimed message becomes the bytes and the envelope of its next attempt."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mailproxy import address, log, mime, payload
from mailproxy.errors import MailproxyError, StorageUnavailable
from mailproxy.model import Epoch, public_pk
from mailproxy.outcome import Refused, Stage, Withheld
from mailproxy.pieces import Data
from mailproxy.records import Claimed
from mailproxy.store import Queue

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """`recipients` are those still unsettled, by their index in the whole envelope."""

    mail_from: str
    recipients: tuple[tuple[int, str], ...]
    data: Data
    smtputf8: bool


Render = Callable[[Claimed, int], Prepared | Refused]
"""A message and the instance's bits -> its next attempt; `prepare`, but for tests."""


class Preparation:
    """Prepares the messages of a process, one at a time.

    What was claimed by a process that died is suspect: only a death during its own turn counts against it
    (RELIABILITY H10), so its turn is marked in the database.
    """

    def __init__(self, queue: Queue, epoch: Epoch, instance: int, render: Render) -> None:
        self._queue = queue
        self._epoch = epoch
        self._instance = instance
        self._render = render
        self._turn = asyncio.Lock()

    async def of(self, message: Claimed) -> Prepared | Refused | Withheld:
        async with self._turn:
            if not message.suspect:
                return self._render(message, self._instance)
            return await self._alone(message)

    async def _alone(self, suspect: Claimed) -> Prepared | Refused | Withheld:
        try:
            await self._queue.suspect_alone(self._epoch, suspect.id, True)
            prepared = self._render(suspect, self._instance)
            await self._queue.suspect_alone(self._epoch, suspect.id, False)
        except StorageUnavailable as e:
            return Withheld(f"not prepared without a mark: {e.detail}")
        return prepared


def prepare(message: Claimed, instance: int) -> Prepared | Refused:
    """The same bytes at every attempt (RELIABILITY H6). Whatever upsets it fails this message alone."""
    try:
        return _prepare(message, instance)
    except MailproxyError as e:
        return Refused(Stage.PREPARE, f"{e.error_code}: {e.detail}")
    except Exception as e:  # noqa: BLE001 - a renderer's bug must fail this message alone, loudly
        _log.error("cannot_render", message=message.id, client_id=message.client_id, exc_info=True)
        return Refused(Stage.PREPARE, f"cannot_render: {type(e).__name__}")


def _prepare(message: Claimed, instance: int) -> Prepared:
    content = payload.decode(message.payload)
    pk = public_pk(instance, message.id)
    smtputf8 = mime.needs_smtputf8(content)
    data = mime.compose(
        content,
        accepted_at=message.accepted_at,
        message_id=content.message_id or mime.default_message_id(_generation(pk, message.revision), content),
        tracking_id=message.client_id,
        smtputf8=smtputf8,
    )
    settled = {outcome.index for outcome in message.recipients}
    everybody = address.envelope_recipients(content.to, content.cc, content.bcc)
    return Prepared(
        mail_from=address.envelope_sender(content.sender, content.return_path),
        recipients=tuple((i, rcpt) for i, rcpt in enumerate(everybody) if i not in settled),
        data=data,
        smtputf8=smtputf8,
    )


def _generation(pk: str, revision: int) -> str:
    """A replaced message is another one to everybody who removes duplicates by Message-ID."""
    return f"{pk}.{revision}" if revision else pk

"""Step 2 of the hand-over: a claimed message becomes the bytes and the envelope of its next attempt."""

from dataclasses import dataclass

from mailproxy import address, log, mime, payload
from mailproxy.errors import MailproxyError
from mailproxy.model import public_pk
from mailproxy.outcome import Refused, Stage
from mailproxy.records import Claimed

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """`recipients` are those still unsettled, by their index in the whole envelope."""

    mail_from: str
    recipients: tuple[tuple[int, str], ...]
    data: bytes
    smtputf8: bool


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
    data = mime.render(
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

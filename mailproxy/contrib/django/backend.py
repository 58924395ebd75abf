"""The backend: many messages in one call, and every one that was refused named."""

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import message as django_mail
from django.core.mail.backends.base import BaseEmailBackend

from mailproxy.client import ClientError, MailProxyClient, NothingAdded, Patience, Rejection
from mailproxy.client.drivers import DEFAULT_URL
from mailproxy.contrib.django.messages import LineBreak, Record, records
from mailproxy.model import Seconds

_log = logging.getLogger(__name__)

_MOST_OCTETS = 16 << 20
_HAS_IT = frozenset({"already_sent", "being_sent", "outcome_unknown"})
_TOKEN = "_mailproxy_token"  # noqa: S105 - the name of an attribute


class Refused(ClientError):
    """Messages that were not queued, the others of the call were; `rejected` says why, message by message."""

    def __init__(self, rejected: Sequence[Rejection]) -> None:
        shown = [f"{one.id}: {one.reason}" for one in rejected]
        super().__init__("; ".join(shown[:5]))
        self.rejected = tuple(rejected)


class EmailBackend(BaseEmailBackend):
    """Queues messages at the mailproxy of MAILPROXY_URL, MAILPROXY_TOKEN, MAILPROXY_ACCOUNT and MAILPROXY_TENANT.

    Options stand above the settings; `username` and `password` are the account and its token. Sending again
    what failed cannot queue it twice; what was queued is a new message when it is sent again.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        account: str | None = None,
        tenant: str | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout: Seconds | None = None,
        batch_size: int | None = None,
        attempts: int | None = None,
        fail_silently: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.fail_silently = fail_silently
        self.url: str = url or _setting("URL", DEFAULT_URL)
        self.token: str | None = token or password or _setting("TOKEN")
        self.account: str | None = account or username or _setting("ACCOUNT")
        self.tenant: str | None = tenant or _setting("TENANT")
        self.timeout: Seconds = timeout or _setting("TIMEOUT", 10.0)
        self.batch_size: int = batch_size or _setting("BATCH_SIZE", 500)
        self.patience = Patience(attempts=attempts or _setting("ATTEMPTS", 3))
        self._client: MailProxyClient | None = None
        if not self.token:
            raise ImproperlyConfigured("MAILPROXY_TOKEN is not set: it is the tenant's API key")

    def open(self) -> bool:
        """Keep connections from now on until `close`; whether that is new."""
        if self._client is not None:
            return False
        self._client = MailProxyClient(
            self.url, self.token, tenant_id=self.tenant, timeout=self.timeout, patience=self.patience
        )
        return True

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def send_messages(self, email_messages: Sequence[Any]) -> int:
        """How many were queued, in one call as long as they are not too many; raises ClientError and Refused."""
        wanted = [message for message in email_messages if message.recipients()]
        made = [(message, self._records(message)) for message in wanted]
        queued: list[Any] = []
        refused: list[Rejection] = []
        is_new = self.open()
        try:
            for calls in _in_calls(made, self.batch_size):
                self._queue(calls, queued, refused)
            if refused:
                raise Refused(refused)
        except ClientError as error:
            if not self.fail_silently:
                raise
            _log.warning("mail was not queued: %s", error)
        finally:
            if is_new:
                self.close()
        return len(queued)

    def _records(self, message: Any) -> list[Record]:
        try:
            return records(message, self.account, _token_of(message))
        except LineBreak as error:
            bad_header: type[ValueError] = getattr(django_mail, "BadHeaderError", ValueError)
            raise bad_header(str(error)) from error

    def _queue(
        self, made: Sequence[tuple[Any, list[Record]]], queued: list[Any], refused: list[Rejection]
    ) -> None:
        """One call; what came of it is added to the two lists."""
        assert self._client is not None
        try:
            answers: Sequence[Rejection] = self._client.messages.add(
                [record for _, found in made for record in found]
            ).rejected
        except NothingAdded as error:
            answers = error.rejected
        wrong = {answer.id: answer for answer in answers if answer.code not in _HAS_IT}
        for message, found in made:
            faults = [wrong[record["id"]] for record in found if record["id"] in wrong]
            refused += faults
            if not faults:
                vars(message).pop(_TOKEN, None)
                queued.append(message)


def _setting(name: str, default: Any = None) -> Any:
    return getattr(settings, f"MAILPROXY_{name}", default)


def _token_of(message: Any) -> Callable[[], str]:
    """Of a message that was not queued the former one, since an answer may have been lost."""
    return lambda: str(vars(message).setdefault(_TOKEN, uuid.uuid4().hex))


def _in_calls(
    made: Sequence[tuple[Any, list[Record]]], most: int
) -> Iterator[Sequence[tuple[Any, list[Record]]]]:
    """The messages in portions that a server takes in one call; one message is never divided."""
    portion: list[tuple[Any, list[Record]]] = []
    count = octets = 0
    for message, found in made:
        size = sum(_octets(record) for record in found)
        if portion and (count + len(found) > most or octets + size > _MOST_OCTETS):
            yield portion
            portion, count, octets = [], 0, 0
        portion.append((message, found))
        count, octets = count + len(found), octets + size
    if portion:
        yield portion


def _octets(record: Record) -> int:
    """About what the record takes in a call; what is not counted is small."""
    texts = [str(record.get(name) or "") for name in ("body", "body_text", "body_html")]
    return sum(map(len, texts)) + sum(len(part["storage_path"]) for part in record.get("attachments", ()))

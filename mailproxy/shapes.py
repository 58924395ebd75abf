"""Tenants, accounts, messages and events as clients see them: dicts without nulls and without secrets."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mailproxy import pec
from mailproxy.attachments.large import SET_BY_TENANT
from mailproxy.audit import Entry
from mailproxy.figures import Overview, SyncStanding, Totals
from mailproxy.inbound import Health, SetAside
from mailproxy.instance import BounceSettings, Stored, name
from mailproxy.model import AccountCondition, EventDetail, Instant, Seconds, State, public_pk
from mailproxy.records import AccountView, EventView, MessageView, RecipientOutcome, Tenant, Window
from mailproxy.redaction import HIDDEN
from mailproxy.reports import DeadLetter
from mailproxy.suppressions import Suppression

_HEADER_SHOWN = 8 << 10
_TENANT = ("name", "client_base_url", "client_sync_path", "client_attachment_path")
_ACCOUNT = (
    "host",
    "port",
    "user",
    "use_tls",
    "tls_verify",
    "tls_ca",
    "batch_size",
    "max_retries",
    "on_unknown_outcome",
    "limit_behavior",
    "retry_delays",
)
_MAILBOX = ("imap_host", "imap_port", "imap_user", "imap_folder", "imap_ssl")
_BOUNCE = (
    "enabled",
    *_MAILBOX,
    "return_path",
    "processed",
    "strict",
)
_LIMITS = ("limit_per_minute", "limit_per_hour", "limit_per_day")


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not null."""
    return {name: value for name, value in fields.items() if value is not None}


def seconds(moment: float | None) -> int | None:
    """A time as clients see it: whole Unix seconds."""
    return None if moment is None else int(moment)


def tenant(stored: Tenant) -> dict[str, Any]:
    auth = stored.client_auth
    login = {
        "method": auth.method,
        "user": auth.user,
        "token_set": auth.token is not None or None,
        "password_set": auth.password is not None or None,
    }
    return present(
        {
            "id": stored.id,
            **{name: getattr(stored, name) for name in _TENANT},
            "client_auth": present(login),
            "rate_limits": json.loads(stored.rate_limits) if stored.rate_limits else None,
            "large_file_config": _large_files(stored),
            "webhook_secret_set": bool(stored.webhook_secrets),
            "webhook_secret_previous_until": next(
                (seconds(one.until) for one in stored.webhook_secrets if one.until), None
            ),
            "report_strict": stored.report_strict,
            "report_format": stored.report_format,
            "suppress_bounces": stored.suppress_bounces,
            "active": stored.active,
            "switched_off": stored.switched_off,
            "switched_off_since": seconds(stored.switched_off_at),
            "created_at": seconds(stored.created_at),
            "updated_at": seconds(stored.updated_at),
        }
    )


def _large_files(stored: Tenant) -> dict[str, Any] | None:
    if not stored.large_file_config:
        return None
    fields: dict[str, Any] = json.loads(stored.large_file_config)
    fields.pop(SET_BY_TENANT, None)
    return fields | ({"storage_secrets_set": True} if stored.large_file_secrets else {})


def account(view: AccountView) -> dict[str, Any]:
    stored = view.account
    return present(
        {
            "id": stored.id,
            "tenant_id": stored.tenant_id,
            **{name: getattr(stored, name) for name in _ACCOUNT},
            "ttl": int(stored.ttl),
            **{name: getattr(view, name) for name in _LIMITS},
            "password_set": view.password_set,
            "is_pec_account": stored.is_pec_account,
            "pec_address": stored.pec_address,
            **(_mailbox(view) if stored.imap_host is not None else {}),
            "state": view.condition,
            "state_reason": view.reason,
            "state_cause": view.cause,
            "state_since": seconds(view.since),
            "state_remedy": _remedy(view),
            "next_try": seconds(view.next_try),
            "limits": {window.name: _window(window) for window in view.windows} or None,
            "created_at": seconds(view.created_at),
            "updated_at": seconds(view.updated_at),
        }
    )


def _mailbox(view: AccountView) -> dict[str, Any]:
    shown = {name: getattr(view.account, name) for name in _MAILBOX}
    return shown | {"imap_password_set": view.imap_password_set}


def _remedy(view: AccountView) -> str | None:
    """How an account that rests is used again."""
    reset = f"POST /account/{view.account.id}/reset"
    if view.condition is AccountCondition.BREAKER_OPEN:
        return f"Correct it with PATCH /account/{view.account.id}, or try it as it is with {reset}"
    if view.condition is AccountCondition.BACKING_OFF:
        return f"It is tried again at next_try, and at once after {reset}"
    return None


def _window(window: Window) -> dict[str, Any]:
    next_at = None if window.next_at is None else math.ceil(window.next_at)
    return present({"limit": window.limit, "used": window.used, "left": window.left, "next": next_at})


def message(view: MessageView, instance: int) -> dict[str, Any]:
    """In the fields of the reference; `sent_ts` is only there when it was sent."""
    is_sent = view.state is State.SENT
    done_at = seconds(view.done_at)
    return present(
        {
            "id": view.client_id,
            "pk": public_pk(instance, view.id),
            "tenant_id": view.tenant_id,
            "tenant_name": view.tenant_name,
            "account_id": view.account_id,
            "status": view.state,
            "priority": int(view.priority),
            "batch_code": view.batch_code,
            "attempts": view.attempts,
            "deferred_ts": seconds(view.deferred_until),
            "sent_ts": done_at if is_sent else None,
            "error_ts": None if is_sent else done_at,
            "error": view.error,
            **_certified(view),
            "refused_recipients": [_refused(one) for one in view.refused] or None,
            **_bounce(view),
            "reported_ts": seconds(view.reported_at),
            "created_at": seconds(view.created_at),
            "updated_at": seconds(view.updated_at),
            "message": None if view.payload is None else _payload(view),
        }
    )


def suppression(entry: Suppression) -> dict[str, Any]:
    return present(
        {
            "address": entry.address,
            "reason": str(entry.cause),
            "event_id": entry.event_id,
            "created_at": seconds(entry.created_at),
            "expires_at": seconds(entry.expires_at),
        }
    )


def _bounce(view: MessageView) -> dict[str, Any]:
    """The gravest of the latest as the message's own (REFERENCE §19), and all by recipient."""
    if not view.bounced:
        return {}
    worst = max(view.bounced, key=lambda one: (one.type == "hard", one.at))
    return {
        "bounce_type": worst.type,
        "bounce_code": worst.code,
        "bounce_reason": worst.reason,
        "bounce_ts": seconds(worst.at),
        "bounced_recipients": [
            present(
                {
                    "address": one.address,
                    "type": one.type,
                    "code": one.code,
                    "status": one.status,
                    "reason": one.reason,
                    "ts": seconds(one.at),
                    "verified": one.verified,
                }
            )
            for one in view.bounced
        ],
    }


def _certified(view: MessageView) -> dict[str, Any]:
    """As in the reference a failure, or an acceptance that does not come, ends a message's being certified."""
    status = pec.overall(one.state for one in view.certified)
    if status is None:
        return {"is_pec": False}
    recipients = [
        present({"address": one.address, "state": one.state, "ts": seconds(one.at)}) for one in view.certified
    ]
    is_pec = not status.is_failure and status is not pec.State.TIMED_OUT
    return {"is_pec": is_pec, "pec_status": status, "pec_recipients": recipients}


def command(entry: Entry) -> dict[str, Any]:
    done = entry.command
    return present(
        {
            "id": entry.id,
            "command_ts": seconds(entry.at),
            "endpoint": done.endpoint,
            "tenant_id": done.tenant_id,
            "actor": done.actor,
            "request_id": done.request_id,
            "object": done.object,
            "payload": json.loads(done.payload),
            "response_status": done.status,
        }
    )


def instance(stored: Stored, mailbox: BounceSettings) -> dict[str, Any]:
    return present(
        {
            "name": name(stored),
            **{f"bounce_{word}": value for word, value in bounce(mailbox).items()},
            "created_at": seconds(stored.created_at),
            "updated_at": seconds(stored.updated_at),
        }
    )


def bounce(mailbox: BounceSettings) -> dict[str, Any]:
    shown = {word: getattr(mailbox, word) for word in _BOUNCE}
    secret = {"imap_password_set": mailbox.imap_password is not None}
    return present(shown | secret | {"poll_interval": int(mailbox.poll_interval)})


def mailbox_health(found: Health | None, *, enabled: bool) -> dict[str, Any]:
    """`waiting` until the mailbox was read for the first time."""
    if found is None or not enabled:
        return {"state": "waiting" if enabled else "off", "failures": 0, "quarantined": 0}
    state = "failing" if found.failing_since is not None else "ok" if found.checked_at else "waiting"
    return present(
        {
            "state": state,
            "checked_ts": seconds(found.checked_at),
            "failures": found.fails,
            "failure": found.failure,
            "failing_since": seconds(found.failing_since),
            "next_try": seconds(found.next_try_at) if state == "failing" else None,
            "quarantined": found.quarantined,
        }
    )


def set_aside(found: SetAside) -> dict[str, Any]:
    return present(
        {
            "number": found.number,
            "ts": seconds(found.at),
            "tenant_id": found.tenant_id,
            "account_id": found.account_id,
            "uidvalidity": found.uidvalidity,
            "uid": found.uid,
            "reason": found.reason,
            "header": found.header[:_HEADER_SHOWN].decode("utf-8", "replace"),
        }
    )


def _payload(view: MessageView) -> dict[str, Any]:
    """As it was given but for logins, and how often it has been tried again or will be."""
    given: dict[str, Any] = json.loads(view.payload or "{}")
    for part in given.get("attachments", ()):
        if isinstance(part.get("auth"), dict):
            part["auth"] = {name: _login(name, value) for name, value in part["auth"].items()}
    fate_known = view.state not in (State.PENDING, State.DEFERRED, State.SUSPENDED)
    retries = view.attempts - 1 if fate_known else view.attempts
    return {**given, "retry_count": retries} if retries > 0 else given


def _login(name: str, value: object) -> object:
    return HIDDEN if name in ("token", "password") and value else value


def _refused(one: RecipientOutcome) -> dict[str, Any]:
    return present({"address": one.address, "code": one.code, "enhanced": one.enhanced, "text": one.text})


def sync(standing: SyncStanding, interval: Seconds, *, fallback: bool) -> dict[str, Any]:
    return present(
        {
            "id": standing.tenant_id,
            "name": standing.name,
            "active": standing.active,
            "client_base_url": standing.client_base_url,
            "last_sync_ts": seconds(standing.last_call_at),
            "next_sync_due": standing.is_due(interval, fallback=fallback),
            "in_dnd": standing.is_muted,
            "dnd_until": seconds(standing.muted_until) if standing.is_muted else None,
            "next_try": seconds(standing.next_try_at),
            "failures": standing.fails,
            "failure": standing.failure,
            "reports_pending": standing.pending,
            "reports_dead": standing.dead,
            "switched_off": standing.switched_off,
        }
    )


def history(view: EventView, reported_at: Instant | None) -> dict[str, Any]:
    """An event in the reference's fields, too; `reported_at` is when the message's last acknowledged event was."""
    shown = event(view)
    detail = view.detail
    extra = {
        "description": detail.error or detail.reason or detail.reply,
        "metadata": shown["event_data"],
        "reported_ts": seconds(reported_at) if view.reported else None,
    }
    return shown | present(extra)


def stats(found: Overview, totals: Totals) -> dict[str, Any]:
    messages = {
        "total": totals.messages,
        "pending": found.pending,
        "sent": totals.sent,
        "error": totals.error,
        "unknown": totals.unknown,
    }
    return {
        "tenants": found.tenants,
        "accounts": found.accounts,
        "messages": messages,
        "reports_pending": found.reports_pending,
        "reports_dead": found.reports_dead,
        "tenants_switched_off": found.switched_off,
        "active": found.active,
    }


def dead_letter(letter: DeadLetter) -> dict[str, Any]:
    return present(
        {
            "event_id": letter.event_id,
            "event_type": letter.event_type,
            "event_ts": seconds(letter.event_ts),
            "event_data": _detail(letter.detail),
            "tenant_id": letter.tenant_id,
            "id": letter.client_id,
            "account_id": letter.account_id,
            "cause": letter.cause,
            "refusals": letter.tries,
            "failing_since": seconds(letter.since),
            "dead_ts": seconds(letter.dead_at),
        }
    )


def _detail(detail: EventDetail) -> dict[str, Any]:
    told = {name: value for name, value in asdict(detail).items() if value not in (None, False, ())}
    if detail.pec is not None:
        told["pec"] = {name: value for name, value in asdict(detail.pec).items() if value not in (None, ())}
    return told


def event(view: EventView) -> dict[str, Any]:
    return {
        "event_id": view.event_id,
        "event_type": view.event_type,
        "event_ts": seconds(view.event_ts),
        "event_data": _detail(view.detail),
        "reported": view.reported,
    }

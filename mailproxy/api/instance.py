"""The instance's own settings; those of the bounce mailbox also under names of their own."""

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from mailproxy import instance, shapes
from mailproxy.api.answers import Answer, Json
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import Form
from mailproxy.api.wire_instance import BounceChange, InstanceChange

_PASSWORD = "bounce_imap_password"  # noqa: S105 - a field's name
_TOKEN_IGNORED = "api_token is not stored: set GMP_API_TOKEN, or `mail-proxy NAME token --regenerate`"  # noqa: S105


async def show(call: Call) -> Answer:
    stored = await call.store.administration.instance()
    return shapes.instance(stored, instance.bounce(stored, call.services.settings))


async def change(call: Call, body: InstanceChange) -> Answer:
    """The admin token is a setting of the server: one that is given here is not stored, and a warning says so."""
    given = _given(body)
    if given.pop("api_token", None) is not None:
        call.warnings.append(_TOKEN_IGNORED)
    await _store(call, given)
    return {"ok": True}


async def show_bounce(call: Call) -> Answer:
    found = await _bounce(call)
    health = await call.store.inbound.health(None)
    is_on = found.enabled and found.imap_host is not None
    return {
        "ok": True,
        **shapes.bounce(found),
        "health": shapes.mailbox_health(health, enabled=is_on),
    }


async def change_bounce(call: Call, body: BounceChange) -> Answer:
    """The mailbox is read as set here from its next poll on, or at once after a reload."""
    await _store(call, {f"bounce_{name}": value for name, value in _given(body).items()})
    return {"ok": True}


async def reload_bounce(call: Call) -> Answer:
    """Wake whoever reads the bounce mailbox, so that it is read at once and as it is set now."""
    found = await _bounce(call)
    if found.enabled and found.imap_host is None:
        raise Refusal(400, "Bounce enabled but imap_host not configured", "bounce_not_configured")
    await call.store.wakeups.announce("bounces")
    return Json({"ok": True, "error": None})


async def _bounce(call: Call) -> instance.BounceSettings:
    return instance.bounce(await call.store.administration.instance(), call.services.settings)


async def _store(call: Call, given: Mapping[str, Any]) -> None:
    plain = {name: value for name, value in given.items() if name != _PASSWORD}
    await call.store.administration.change_instance(plain, given.get(_PASSWORD))


def _given(form: Form) -> dict[str, Any]:
    found = {name: getattr(form, name) for name in form.model_fields_set}
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in found.items()
    }

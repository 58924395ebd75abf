"""The secrets that sign a tenant's callbacks: made, changed over, ended; shown only when made here."""

import time
from dataclasses import replace

from mailproxy import shapes, signing, webhooks, written
from mailproxy.api.answers import Answer
from mailproxy.api.routing import Call
from mailproxy.api.tenants import stored_tenant
from mailproxy.api.wire import WebhookSecretForm


async def rotate(call: Call) -> Answer:
    """A new secret signs from now on, and the former one with it for `keep_previous` seconds."""
    wanted = await call.body(WebhookSecretForm, optional=True)
    stored = await stored_tenant(call)
    given = wanted.webhook_secret.get_secret_value() if wanted.webhook_secret else None
    secret = given or webhooks.new_secret()
    secrets = signing.rotated(stored.webhook_secrets, secret, keep=wanted.keep_previous, now=time.time())
    await call.store.directory.put_tenant(
        replace(written.tenant(stored), webhook_secrets=secrets), None, None
    )
    return shapes.present(
        {
            "ok": True,
            "webhook_secret": None if given else secret,
            "previous_until": shapes.seconds(secrets[-1].until),
        }
    )


async def end(call: Call) -> Answer:
    """Callbacks are not signed any more."""
    stored = await stored_tenant(call)
    await call.store.directory.put_tenant(replace(written.tenant(stored), webhook_secrets=()), None, None)
    return {"ok": True}

"""Distinctive secrets, a service that holds them all, and every way to ask it for them."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from mailproxy.api.app import ROUTES
from mailproxy.api.routing import Route
from tests.process.peers import letters
from tests.process.service import Service

TENANT = "acme"


def planted(name: str) -> str:
    return f"CANARY-{name}-0f8a6b1c7d"


KEY = base64.b64encode(b"CANARY-encryption-key-0f8a6b1c7d".ljust(32, b"."))
SECRETS: Mapping[str, str] = {
    "admin token": planted("admin"),
    "metrics token": planted("metrics"),
    "encryption key": KEY.decode(),
    "database password": planted("database"),
    "global sync password": planted("syncpassword"),
    "SMTP password": planted("smtp"),
    "wrong SMTP password": planted("wrongsmtp"),
    "bearer token": planted("bearer"),
    "basic password": planted("basic"),
    "webhook secret": "whsec_" + base64.b64encode(b"CANARY-webhook-0f8a6b1c7d-long").decode(),
    "IMAP password": planted("imap"),
    "IMAP password of the environment": planted("imapenv"),
    "guessed token": planted("guess"),
}
SHOWN_ONCE = {
    ("POST", "/tenant"): "api_key",
    ("POST", "/tenant/{id}/api-key"): "api_key",
    ("POST", "/tenant/{id}/webhook-secret"): "webhook_secret",
}


def forms(secret: str) -> Iterator[str]:
    """How a secret may look where it is not as it was given."""
    yield secret
    for written in (secret, f"u:{secret}", f"\0u\0{secret}"):
        yield base64.b64encode(written.encode()).decode().rstrip("=")[:-1]


def leaks(text: str, made: Iterable[str] = ()) -> set[str]:
    """The names of the secrets that `text` holds."""
    known = {**SECRETS, **{f"made {number}": one for number, one in enumerate(made)}}
    return {name for name, secret in known.items() if any(form in text for form in forms(secret))}


def database_url(url: str) -> str:
    """The URL with a password, which a server that trusts its peers does not look at."""
    return re.sub(r"//([^:@/]*)(:[^@/]*)?@", rf"//\1:{SECRETS['database password']}@", url)


ACCOUNT = {"tenant_id": TENANT, "host": "127.0.0.1", "use_tls": False, "user": "u"}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/tenant": {
        "id": TENANT,
        "client_auth": {"method": "bearer", "token": SECRETS["bearer token"]},
        "webhook_secret": SECRETS["webhook secret"],
    },
    "/tenant/{id}": {"client_auth": {"method": "basic", "user": "u", "password": SECRETS["basic password"]}},
    "/tenant/{id}/webhook-secret": {"webhook_secret": SECRETS["webhook secret"]},
    "/account": {**ACCOUNT, "id": "spare", "port": 9, "password": SECRETS["SMTP password"]},
    "/account/{id}": {"password": SECRETS["SMTP password"]},
    "/instance": {"bounce_imap_password": SECRETS["IMAP password"], "api_token": SECRETS["guessed token"]},
    "/instance/bounce": {"imap_password": SECRETS["IMAP password"]},
    "/commands/add-messages": {"messages": letters(TENANT, "main", range(900, 901))},
    "/messages/{id:path}/resolve": {"as": "sent"},
}


def malformed(secret: str) -> Iterator[Any]:
    """Bodies in which a secret stands where none belongs."""
    yield {
        "password": [secret],
        "client_auth": secret,
        "webhook_secret": secret,
        "imap_password": {"a": secret},
    }
    yield {
        "client_auth": {"method": secret, "token": secret},
        "api_token": 7,
        "bounce_imap_password": [secret],
    }
    yield {"passwrod": secret, "tokn": secret, "id": secret + "/", "tenant_id": secret + "/", "as": secret}
    yield [secret]
    yield {
        "messages": secret,
        "tls_ca": secret,
        "expires_at": secret,
        "host": f"http://u:{secret}@h",
        "port": secret,
    }
    yield {"client_base_url": f"http://u:{secret}@example.com/", "client_sync_path": f"/{secret} #"}


@dataclass
class Questions:
    """Asks everything and keeps what was answered; `made` are keys and secrets that the service made itself."""

    service: Service
    answers: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def ask(
        self, client: httpx.Client, who: str, route: Route, *, content: bytes | None = None, **how: Any
    ) -> None:
        path = route.template
        for kind, name in (("/tenant", TENANT), ("/account", "spare"), ("/messages", f"{TENANT}-main-0")):
            if path.startswith(f"{kind}/"):
                path = path.replace("{id}", name)
        answer = client.request(route.method, path, content=content, **how)
        text = f"{answer.status_code}\n{answer.headers}\n{answer.text}"
        once = SHOWN_ONCE.get((route.method, route.path))
        if once and answer.is_success and (shown := answer.json().get(once)):
            self.made.append(shown)
            text = text.replace(shown, "")
        self.answers[f"{len(self.answers)} {who}: {route.method} {path}"] = text

    def ask_everything(self) -> None:
        """Each route as the admin, a tenant, somebody who guesses, with what it wants and with what it cannot take.

        What deletes comes last, and what makes keys before it.
        """
        routes = sorted(ROUTES, key=lambda route: (route.method == "DELETE", route.path))
        query = {"tenant_id": TENANT}
        with self.client(SECRETS["admin token"]) as admin, self.client(SECRETS["guessed token"]) as guesser:
            key = admin.post(f"/tenant/{TENANT}/api-key", json={}).json()["api_key"]
            self.made.append(key)
            with self.client(key) as tenant:
                for route in routes:
                    body = BODIES.get(route.path, {}) if route.method not in ("GET", "DELETE") else None
                    self.ask(guesser, "guesser", route, params=query, json=body)
                    if route.method in ("POST", "PUT", "PATCH"):
                        self._ask_amiss(admin, "admin", route)
                        self._ask_amiss(tenant, "tenant", route)
                for route in routes:
                    body = BODIES.get(route.path, {}) if route.method not in ("GET", "DELETE") else None
                    if route.template != "/tenant/{id}/api-key":
                        self.ask(tenant, "tenant", route, params=query, json=body)
                    self.ask(admin, "admin", route, params=query, json=body)

    def _ask_amiss(self, client: httpx.Client, who: str, route: Route) -> None:
        secret = SECRETS["SMTP password"]
        for body in malformed(secret):
            self.ask(client, who, route, params={"tenant_id": TENANT, "token": secret}, json=body)
        torn = f'{{"password": "{secret}", "password": "{secret}", "x": {secret}'.encode()
        self.ask(client, who, route, content=torn, headers={"Content-Type": "application/json"})
        self.ask(client, who, route, content=secret.encode(), headers={"Content-Type": f"text/{secret}"})

    def client(self, token: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.service.port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=20.0,
            trust_env=False,
            verify=False,
        )

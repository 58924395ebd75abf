"""Four kinds of tenants, as locust's users: high volume, standard, newsletter, documents with attachments.

Each user is a tenant with an account of its own. Where to: `--host`; LOAD_TOKEN is the admin's token, LOAD_SMTP_PORT
the server that takes the mail, LOAD_APPLICATION the tenants' application: each is called at its id below that URL.
LOAD_ACCEPTED is a file to which the ids are added of what was accepted. `make locust` sets all of them.
"""

import base64
import itertools
import os
import random
import uuid
from pathlib import Path

from locust import HttpUser, between, constant_throughput, task

TOKEN = os.environ["LOAD_TOKEN"]
SMTP_PORT = int(os.environ["LOAD_SMTP_PORT"])
APPLICATION = os.environ["LOAD_APPLICATION"]
BY_ENDPOINT = os.environ.get("LOAD_ATTACHMENTS") == "endpoint"
ACCEPTED = os.environ.get("LOAD_ACCEPTED")
TEXT = "Lorem ipsum dolor sit amet, consectetur adipiscing elit.\n" * 18
DOCUMENT = base64.b64encode(b"%PDF-1.4\n" + b"0123456789abcdef" * 4096).decode()


class Tenant(HttpUser):
    """Made with its account when it comes; posts with its own key."""

    abstract = True
    priority = 2

    def on_start(self) -> None:
        self.tenant = f"{type(self).__name__.lower()}-{uuid.uuid4().hex[:8]}"
        self.numbers = itertools.count()
        tenant = {"id": self.tenant, "client_base_url": f"{APPLICATION}/{self.tenant}"}
        self._post("/tenant", tenant, TOKEN, keeps_key=True)
        account = {"id": "relay", "tenant_id": self.tenant, "host": "127.0.0.1", "port": SMTP_PORT}
        self._post("/account", account | {"use_tls": False}, TOKEN)

    def send(self, count: int, **more: object) -> None:
        messages = []
        for number in itertools.islice(self.numbers, count):
            id_ = f"{self.tenant}-{number}"
            address = f"{id_}@example.com"
            common = {"id": id_, "account_id": "relay", "from": "shop@example.org", "to": address}
            messages.append(common | {"subject": f"Message {number}", "body": TEXT} | more)
        call = {"messages": messages, "default_priority": self.priority}
        with self.client.post(
            "/commands/add-messages",
            json=call,
            headers={"X-API-Token": self.key},
            name=f"add-messages, {type(self).__name__}",
            catch_response=True,
        ) as answer:
            if answer.status_code != 200 or answer.json()["queued"] != count:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")
            elif ACCEPTED:
                with Path(ACCEPTED).open("a") as accepted:
                    accepted.writelines(f"{message['id']}\n" for message in messages)

    def look(self) -> None:
        self.client.get(
            "/messages?limit=100&include_payload=false", headers={"X-API-Token": self.key}, name="messages"
        )

    def _post(self, path: str, body: dict[str, object], token: str, *, keeps_key: bool = False) -> None:
        answer = self.client.post(path, json=body, headers={"X-API-Token": token})
        answer.raise_for_status()
        if keeps_key:
            self.key = answer.json()["api_key"]


class HighVolume(Tenant):
    """A shop: single messages all the time, some of them urgent."""

    weight = 4
    wait_time = constant_throughput(10)

    @task(20)
    def order(self) -> None:
        self.send(1, priority=random.choice(["immediate", "high", "medium"]))

    @task(1)
    def look_up(self) -> None:
        self.look()


class Standard(Tenant):
    """An office application: a few messages now and then."""

    weight = 10
    wait_time = between(1, 3)

    @task(5)
    def write(self) -> None:
        self.send(random.randint(1, 5))

    @task(1)
    def look_up(self) -> None:
        self.look()


class Newsletter(Tenant):
    """Large batches of low priority, under a code that could be suspended."""

    weight = 1
    priority = 3
    wait_time = between(5, 15)

    @task
    def issue(self) -> None:
        self.send(500, batch_code="issue")


class Documents(Tenant):
    """Invoices with an attachment, given in the call or fetched from the application."""

    weight = 3
    wait_time = between(2, 5)

    @task
    def invoice(self) -> None:
        source = (
            {"fetch_mode": "endpoint", "storage_path": "invoices/1.pdf"}
            if BY_ENDPOINT
            else {"fetch_mode": "base64", "storage_path": DOCUMENT}
        )
        self.send(2, attachments=[{"filename": "invoice.pdf", **source}])

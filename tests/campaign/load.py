"""Clients that post while other things happen, and write down what they were told has been accepted."""

import random
import threading
import time
from collections.abc import Sequence

import httpx

from tests.campaign.histories import Accepted
from tests.campaign.plan import Scale, recipients
from tests.campaign.stage import ACCOUNTS, TENANT, Stage
from tests.process.peers import TAKEN_BEFORE, letters

CLIENTS = 2
BATCH = 10
MOST = 1_000_000
PAUSE_AFTER_REFUSAL = 0.1


class Client:
    """Posts batch after batch at its share of the scale's rate; a refused one again, to the nodes in turn.

    `finish` ends it once its last batch is accepted.
    """

    def __init__(self, number: int, stage: Stage, seed: int, scale: Scale) -> None:
        self.posted = 0
        self._number = number
        self.refusals = 0
        self._stage = stage
        self._chance = random.Random(f"{seed}-mail-{number}")
        self._scale = scale
        self._rate = scale.rate / CLIENTS
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        self._enough.set()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "a batch was never accepted"

    def _run(self) -> None:
        started = time.monotonic()
        with httpx.Client(
            trust_env=False, timeout=20.0, headers=self._stage.nodes[0].client.headers
        ) as client:
            while not self._enough.is_set():
                self._post(client, self._batch())
                ahead = self.posted / self._rate - (time.monotonic() - started)
                self._enough.wait(max(0.0, ahead))

    def _batch(self) -> list[dict[str, object]]:
        made = []
        first = self._number * MOST + self.posted
        for number in range(first, first + BATCH):
            account = self._chance.choice(list(ACCOUNTS))
            to = recipients(self._chance, self._scale.slowest)
            made += letters(TENANT, account, range(number, number + 1), to=to)
        self.posted += BATCH
        return made

    def _post(self, client: httpx.Client, batch: Sequence[dict[str, object]]) -> None:
        """Until every message of the batch is accepted, each written down as soon as its answer is here."""
        missing = {str(message["id"]): message for message in batch}
        turn = self._number
        while missing:
            node = self._stage.nodes[turn % len(self._stage.nodes)]
            turn += 1
            taken = self._ask(client, node.port, list(missing.values()))
            now = time.time()
            self._stage.accepted.write(*(_accepted(now, missing.pop(id_)) for id_ in sorted(taken)))
            if missing:
                self.refusals += 1
                time.sleep(PAUSE_AFTER_REFUSAL)

    def _ask(self, client: httpx.Client, port: int, messages: list[dict[str, object]]) -> set[str]:
        try:
            answer = client.post(
                f"http://127.0.0.1:{port}/commands/add-messages", json={"messages": messages}
            )
        except httpx.TransportError:
            return set()
        assert answer.status_code in (200, 400, 503), answer.text
        said = answer.json()
        detail = said.get("detail")
        rejected = detail["rejected"] if isinstance(detail, dict) else said.get("rejected", ())
        taken = {one["id"] for one in said.get("accepted", ())}
        return taken | {one["id"] for one in rejected if one["code"] in TAKEN_BEFORE}


def _accepted(now: float, message: dict[str, object]) -> Accepted:
    policy = ACCOUNTS[str(message["account_id"])]
    return Accepted(now, str(message["id"]), policy, str(message["to"]))

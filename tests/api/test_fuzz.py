"""Requests made up from the OpenAPI document, valid and not: whatever comes, the answer is a documented one.

The same few requests at every run; MAILPROXY_FUZZ_EXAMPLES=200 makes up that many others for each route.
"""

import asyncio
import copy
import os
from collections.abc import Mapping
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mailproxy.api.openapi.operations import OPERATIONS
from tests.api.conftest import ADMIN, Api, message
from tests.api.documented import DOCUMENT

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(copy.deepcopy(DOCUMENT))
OPERATION = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
EXAMPLES = os.environ.get("MAILPROXY_FUZZ_EXAMPLES")

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def fuzz(label: str, port: int, token: str) -> None:
    """Half of the requests are valid by the document; a coin turns their ids into those of what exists."""
    operation = OPERATION[label]
    kinds = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
    session = requests.Session()
    session.trust_env = False

    @settings(
        max_examples=int(EXAMPLES or 8),
        derandomize=EXAMPLES is None,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategies.one_of(kinds), exists=strategies.booleans())
    def ask(case: Any, exists: bool) -> None:
        if exists:
            name_what_exists(case, OPERATIONS[label].given)
        for name in [name for name in case.headers if name.lower() in ("authorization", "x-api-token")]:
            del case.headers[name]
        headers = {"X-API-Token": token}
        answer = case.call(base_url=f"http://127.0.0.1:{port}", session=session, headers=headers)
        case.validate_response(answer, checks=CHECKS)

    with session:
        ask()


def name_what_exists(case: Any, known: Mapping[str, str]) -> None:
    for place in (case.path_parameters, case.query):
        if isinstance(place, dict):
            place.update({name: known[name] for name in place.keys() & known.keys()})
    if isinstance(case.query, dict) and "tenant_id" in known:
        case.query["tenant_id"] = known["tenant_id"]
    messages = case.body.get("messages") if isinstance(case.body, dict) else None
    for body in (case.body, *(messages if isinstance(messages, list) else ())):
        if isinstance(body, dict) and "tenant_id" not in known:
            body["tenant_id"] = "acme"
            body["account_id"] = "main"


@pytest.mark.parametrize("role", ["admin", "tenant"])
@pytest.mark.parametrize("label", OPERATION)
async def test_no_request_upsets_the_server_or_gets_an_undocumented_answer(
    api: Api, label: str, role: str
) -> None:
    key = await api.tenant("acme")
    tenant = await api.client(key)
    added = await tenant.post("/commands/add-messages", json={"messages": [message("order-1001")]})
    assert added.json()["queued"] == 1
    await asyncio.to_thread(fuzz, label, api.port, ADMIN if role == "admin" else key)

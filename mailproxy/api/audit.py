"""What of a call goes into the command log: its names and numbers, neither secrets nor content."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from pydantic import SecretStr

from mailproxy.api.auth import Caller
from mailproxy.api.wire import Form
from mailproxy.audit import Command, Pending

MOST = 20
LONGEST = 200
MASK = "***"


class Minutes:
    """The entry of one call as it is decoded: whatever write comes first takes it along. One that is `left_out`
    is not entered if it writes nothing."""

    def __init__(
        self, endpoint: str, caller: Caller, request_id: str, path: Mapping[str, str], *, anonymous: bool
    ) -> None:
        key = caller.principal
        self._told: dict[str, Any] = {}
        self._of_tenants = " /tenant" in endpoint
        self._path_id = path.get("id")
        self.left_out = False
        actor = "anonymous" if anonymous else "admin"
        self.pending = Pending(
            Command(endpoint, key.key_id if key else actor, request_id, key.tenant_id if key else None)
        )
        self.add()

    def add(self, **facts: Any) -> None:
        """Told before the call's first write, it is in the entry."""
        self._told |= {name: shown(value) for name, value in facts.items()}
        told = self._told
        one = self._path_id or told.get("id") or told.get("batch_code")
        tenant = (
            self.pending.command.tenant_id or told.get("tenant_id") or (one if self._of_tenants else None)
        )
        self.pending.command = replace(
            self.pending.command,
            object=None if one is None else str(one)[:LONGEST],
            tenant_id=None if tenant is None else str(tenant)[:LONGEST],
            payload=json.dumps(told),
        )

    def add_form(self, form: Form) -> None:
        names = type(form).model_fields
        self.add(**{names[name].alias or name: getattr(form, name) for name in form.model_fields_set})


def shown(value: Any) -> Any:
    """The value as JSON may hold it, short and without secrets; a free object shows its numbers and names."""
    match value:
        case SecretStr():
            found: Any = MASK
        case Form():
            found = {name: shown(getattr(value, name)) for name in value.model_fields_set}
        case Enum():
            found = value.value
        case str():
            found = value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
        case Mapping():
            some = list(value.items())[:MOST]
            found = {str(name)[:LONGEST]: part if _is_number(part) else MASK for name, part in some}
        case Sequence():
            more = len(value) - MOST
            found = [*map(shown, value[:MOST]), *([f"… {more} more"] if more > 0 else [])]
        case _:
            found = value
    return found


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)

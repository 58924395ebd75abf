"""A tenant's `large_file_config`: checked as a whole, with who sets its storage and whether it can work here."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mailproxy import egress
from mailproxy.api.large_file_fields import given_secrets, plain
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.api.wire import LargeFileForm
from mailproxy.attachments import large, places, storage
from mailproxy.attachments.large import SET_BY_TENANT, Action
from mailproxy.attachments.places import Place
from mailproxy.records import Tenant, TenantWrite


def changed(call: Call, write: TenantWrite, form: LargeFileForm | None, stored: Tenant | None) -> TenantWrite:
    """`write` with what the form gives; raises Refusal for what cannot work, or may not be set by the caller."""
    if form is None:
        return write
    before = large.of_stored(stored.large_file_config if stored else None).place
    wanted = large.of_fields(plain(form)).place
    is_same = before is not None and wanted is not None and before.is_where(wanted)
    by_tenant = before.set_by_tenant if is_same and before else True
    fields = plain(form, by_tenant=by_tenant and not call.caller.is_admin)
    secrets = given_secrets(form)
    if secrets is None:
        secrets = dict(stored.large_file_secrets) if is_same and stored else {}
    if wanted is not None and fields[SET_BY_TENANT]:
        _check_tenants_choice(call, wanted, secrets)
    _check_it_works(call, fields, secrets)
    return replace(write, large_file_config=json.dumps(fields), large_file_secrets=secrets)


def _check_tenants_choice(call: Call, place: Place, secrets: Mapping[str, str]) -> None:
    """The service's own credentials and disk are the operator's: a tenant's storage is used with the tenant's."""
    if place.protocol == "file":
        detail = "file:// is this server's disk: only the admin may set it"
        raise Refusal(400, detail, "storage_not_allowed")
    if missing := places.missing_secrets(place.protocol, secrets, place.options):
        detail = f"A storage that a tenant sets is used with the tenant's credentials: give {missing}"
        raise Refusal(400, detail, "storage_not_allowed")
    allow = egress.allowed(call.services.settings.egress_allow)
    endpoint = place.options.get("endpoint_url")
    if endpoint and (reason := storage.refused_endpoint(endpoint, allow)):
        raise Refusal(400, egress.advice(reason), "url_not_allowed")


def _check_it_works(call: Call, fields: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
    wanted = large.of_fields(fields)
    settings = call.services.settings
    if found := wanted.problem(secrets, settings.public_base_url):
        field, reason = found
        fault = {"type": "value_error", "loc": ["body", "large_file_config", field], "msg": reason}
        raise Refusal(422, [fault], "validation_error")
    if wanted.enabled and wanted.action is Action.REWRITE and wanted.place is not None:
        reason_here = storage.problem(wanted.place, settings.large_file_base_dir)
        if reason_here is not None:
            raise Refusal(400, f"Large files cannot be stored: {reason_here}", "storage_not_usable")

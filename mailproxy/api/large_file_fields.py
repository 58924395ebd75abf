"""A large-file configuration in two halves, as it is stored: what anybody may see, and secrets."""

import json
from typing import Any

from pydantic import SecretStr

from mailproxy.api.wire import LargeFileForm, StorageOptions
from mailproxy.attachments import places
from mailproxy.attachments.large import SET_BY_TENANT

_ALL_SECRETS = frozenset().union(*places.SECRETS.values())


def plain(form: LargeFileForm, *, by_tenant: bool = False) -> dict[str, Any]:
    """What is stored of a form in clear."""
    fields = form.model_dump(exclude_none=True, exclude_unset=True, exclude={"storage_options"})
    if form.storage_options is not None:
        options = form.storage_options.model_dump(exclude_none=True, exclude=set(_ALL_SECRETS))
        fields["storage_options"] = options
    return {**fields, SET_BY_TENANT: by_tenant}


def given_secrets(form: LargeFileForm) -> dict[str, str] | None:
    """None when the form gives none: they stay while the storage does."""
    options = form.storage_options
    if options is None or not options.model_fields_set & _ALL_SECRETS:
        return None
    found = {name: _text(options, name) for name in _ALL_SECRETS & options.model_fields_set}
    return {name: text for name, text in found.items() if text}


def _text(options: StorageOptions, name: str) -> str:
    value = getattr(options, name)
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if value else ""

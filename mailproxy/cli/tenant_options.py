"""The options that describe a tenant, shared by `tenants add` (which asks for them) and `tenants update`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Self, cast

import click

from mailproxy.api import wire
from mailproxy.cli import ask
from mailproxy.cli.ask import Checked, F, asked
from mailproxy.client import Tenant
from mailproxy.client.tenants import TenantFields

_FIELDS = {
    "name": "name",
    "base_url": "client_base_url",
    "sync_path": "client_sync_path",
    "attachment_path": "client_attachment_path",
}


def _has_url(given: Mapping[str, Any]) -> bool:
    return bool(given.get("base_url"))


def _logs_in_by(method: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda given: _has_url(given) and given.get("auth_method") == method and not _has_file(given)


def _has_file(given: Mapping[str, Any]) -> bool:
    return bool(given.get("auth_token_file") or given.get("auth_password_file"))


def _json_object(_: click.Context, __: click.Parameter, file: IO[str] | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        found = json.load(file)
    except ValueError as error:
        raise click.BadParameter(f"{file.name} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.BadParameter(f"{file.name} holds no JSON object")
    return found


_OPTIONS = (
    click.option(
        "--large-files",
        metavar="FILE",
        type=click.File(encoding="utf-8"),
        callback=_json_object,
        help="File with the JSON object of large_file_config; - for stdin.",
    ),
    click.option("--auth-token-file", metavar="FILE", help="File that holds the bearer token; - for stdin."),
    click.option("--auth-password-file", metavar="FILE", help="File that holds the password; - for stdin."),
    asked(
        "--name",
        type=Checked(wire.Line, "text"),
        prompt="Name for people (Enter for none)",
        note="Name for people.",
    ),
    asked(
        "--base-url",
        type=Checked(wire.WebAddress, "url"),
        prompt="URL of its application, for reports (Enter for none)",
        note="URL of the tenant's application, which takes delivery reports.",
    ),
    asked(
        "--sync-path",
        when=_has_url,
        type=Checked(wire.WebPath, "path"),
        prompt="Path of reports there (Enter for /mail-proxy/sync)",
        note="Path of reports below the base URL.  [/mail-proxy/sync]",
    ),
    asked(
        "--attachment-path",
        when=_has_url,
        type=Checked(wire.WebPath, "path"),
        prompt="Path of attachments there (Enter for /mail-proxy/attachments)",
        note="Path of attachments below the base URL.  [/mail-proxy/attachments]",
    ),
    asked(
        "--auth-method",
        when=_has_url,
        type=click.Choice(["none", "bearer", "basic"]),
        prompt="Login there: none, bearer or basic (Enter for none)",
        note="How to log in at the base URL.  [none]",
    ),
    asked(
        "--auth-token",
        when=_logs_in_by("bearer"),
        hide_input=True,
        prompt="Bearer token",
        note="Bearer token; others can see it, so better use the prompt or --auth-token-file.",
    ),
    asked(
        "--auth-user",
        type=Checked(wire.Line, "text"),
        when=_logs_in_by("basic"),
        prompt="User",
        note="User of basic login.",
    ),
    asked(
        "--auth-password",
        when=_logs_in_by("basic"),
        hide_input=True,
        prompt="Password",
        note="Password of basic login; others can see it, so better use the prompt or --auth-password-file.",
    ),
    asked(
        "--rate-limit-hourly",
        type=Checked(wire.Limit, "count"),
        prompt="Messages an hour (Enter for no limit)",
        note="Most messages in any hour; 0 for no limit.",
    ),
    asked(
        "--rate-limit-daily",
        type=Checked(wire.Limit, "count"),
        prompt="Messages a day (Enter for no limit)",
        note="Most messages in any day; 0 for no limit.",
    ),
)


def tenant_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Given:
    """What was given of a tenant: plain fields by their stored names, login, limits; empty where not given."""

    fields: Mapping[str, str]
    login: Mapping[str, str]
    limits: Mapping[str, int]
    large_files: Mapping[str, Any] | None

    def __bool__(self) -> bool:
        return bool(self.fields or self.login or self.limits or self.large_files is not None)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        secrets = {
            name: ask.secret(f"auth-{name}", options[f"auth_{name}"], options[f"auth_{name}_file"])
            for name in ("token", "password")
        }
        login = {"method": options["auth_method"], "user": options["auth_user"], **secrets}
        limits = {"hourly": options["rate_limit_hourly"], "daily": options["rate_limit_daily"]}
        return cls(
            {stored: options[name] for name, stored in _FIELDS.items() if options[name] is not None},
            {name: value for name, value in login.items() if value is not None},
            {name: value for name, value in limits.items() if value is not None},
            options["large_files"],
        )

    def changes(self, known: Tenant | None) -> TenantFields:
        """What to send of a tenant; `known` is how it is so far, None for a new one."""
        found: dict[str, Any] = dict(self.fields)
        if self.login:
            found["client_auth"] = self._login(known.client_auth if known else {})
        if self.limits:
            found["rate_limits"] = {**(known.rate_limits if known else {}), **self.limits}
        if self.large_files is not None:
            found["large_file_config"] = self.large_files
        return cast("TenantFields", found)

    def _login(self, known: Mapping[str, Any]) -> dict[str, str]:
        """Method and secrets; a secret that is not given stays, if there is one for this method."""
        method = self.login.get("method") or ("bearer" if "token" in self.login else "basic")
        stored = known if known.get("method") == method else {}
        needed = {"bearer": ("token",), "basic": ("user", "password")}.get(method, ())
        for name in needed:
            if not (self.login.get(name) or stored.get(name) or stored.get(f"{name}_set")):
                raise click.UsageError(f"Login by {method} needs --auth-{name}.")
        return {"method": method, **{name: self.login[name] for name in needed if name in self.login}}

"""The options that describe a tenant, shared by `tenants add` (which asks for them) and `tenants update`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import click

from mailproxy.api import wire
from mailproxy.cli import ask
from mailproxy.cli.ask import Checked, F, asked
from mailproxy.records import ClientAuth, TenantWrite

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


_OPTIONS = (
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

    def __bool__(self) -> bool:
        return bool(self.fields or self.login or self.limits)

    @property
    def points_elsewhere(self) -> bool:
        """Whether calls to its application are to go elsewhere, or to log in otherwise."""
        return bool(self.login or self.fields.keys() & {"client_base_url", "client_sync_path"})

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
        )

    def applied_to(self, tenant: TenantWrite, auth: ClientAuth) -> TenantWrite:
        """The tenant with these changes; `auth` is how it logs in so far."""
        limits = {"hourly": tenant.hourly_limit, "daily": tenant.daily_limit, **self.limits}
        limits = {name: value for name, value in limits.items() if value is not None}
        fields: dict[str, Any] = dict(self.fields)
        if "client_base_url" in fields:
            fields["url_set_by_tenant"] = False
        return replace(
            tenant,
            **fields,
            client_auth=self._login(auth) if self.login else None,
            rate_limits=json.dumps(limits) if limits else tenant.rate_limits,
            hourly_limit=limits.get("hourly"),
            daily_limit=limits.get("daily"),
        )

    def _login(self, auth: ClientAuth) -> ClientAuth:
        method = self.login.get("method") or ("bearer" if "token" in self.login else "basic")
        known = {
            "token": auth.token,
            "user": auth.user,
            "password": auth.password,
            **self.login,
            "method": method,
        }
        needed = {"bearer": ("token",), "basic": ("user", "password")}.get(method, ())
        for name in needed:
            if not known.get(name):
                raise click.UsageError(f"Login by {method} needs --auth-{name}.")
        return ClientAuth(method=method, **{name: known[name] for name in needed})

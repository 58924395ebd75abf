"""Remedies as commands to type, for findings about messages."""

import shlex

from mailproxy.cli.place import Place
from mailproxy.cli.server import Remote
from mailproxy.client import Finding
from mailproxy.explanation import Action

_OF_TENANT = {
    Action.RESOLVE: "messages resolve {} --as sent|retry|error",
    Action.RESET_ACCOUNT: "accounts reset {}",
    Action.CORRECT_LOGIN: "accounts update {} --password-stdin   (which also switches it on)",
    Action.RAISE_ACCOUNT_LIMIT: "accounts update {} --limit-…",
    Action.REPLAY: "dead-letters replay {}",
    Action.RUN_NOW: "run-now",
    Action.ACTIVATE_TENANT: "activate",
    Action.ACTIVATE_BATCH: "activate --batch {}",
}
_OF_SERVER = {
    Action.ACTIVATE_ALL: "activate",
    Action.RAISE_TENANT_LIMIT: "tenants update {} --rate-limit-…",
    Action.SET_URL: "tenants update {} --base-url URL",
    Action.SWITCH_ON: "tenants update {} --switch-on",
}


def said(finding: Finding, place: Place) -> str | None:
    """The server's own words where no command does it, or not from here."""
    action, named = finding.action, shlex.quote(finding.object or "")
    if action in _OF_TENANT:
        return f"{place.words} {_OF_TENANT[Action(action)].format(named)}"
    if action in _OF_SERVER:
        return f"{place.server.words} {_OF_SERVER[Action(action)].format(named)}"
    if action == Action.START_WORKERS and not isinstance(place.server, Remote):
        return f"mail-proxy start {place.server.name} -b"
    return finding.remedy

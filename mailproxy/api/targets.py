"""Who set a target: the admin's may lie anywhere, a tenant's is checked at the door and guarded ever after."""

from urllib.parse import urlsplit

from mailproxy import egress
from mailproxy.api.refusals import Refusal
from mailproxy.api.routing import Call
from mailproxy.records import AccountView, AccountWrite

_PORTS = {"http": 80, "https": 443}


def host_set_by_tenant(
    call: Call,
    wanted: tuple[str, int],
    stored: tuple[str, int] | None,
    *,
    given: bool,
    before: bool,
    ports: frozenset[int] = egress.SMTP_PORTS,
) -> bool:
    """Whether an account's (host, port) counts as the tenant's choice; raises Refusal 400 for a forbidden one.

    What a tenant repeats stays as it was `before`; a host that the admin has `given` is the admin's.
    """
    if call.caller.is_admin:
        return before and not given
    if wanted == stored:
        return before
    _check(call, *wanted, ports, "host_not_allowed")
    return True


def keep_passwords_at_home(call: Call, write: AccountWrite, stored: AccountView | None) -> None:
    """A tenant cannot have a password that the admin may have stored sent to a server of its own choice.

    The IMAP server is sent that of the SMTP server where the mailbox has none of its own.
    """
    if call.caller.is_admin or stored is None:
        return
    old = stored.account
    if stored.password_set and write.password is None and write.host != old.host:
        raise _password_required("password", "host", old.host)
    if write.imap_host in (None, old.imap_host) or write.imap_password is not None:
        return
    if stored.imap_password_set:
        raise _password_required("imap_password", "imap_host", old.imap_host)
    if stored.password_set and write.password is None and write.imap_host != old.host:
        raise _password_required("imap_password", "imap_host", old.host)


def _password_required(secret: str, host: str, home: str | None) -> Refusal:
    where = f"is sent to {home} only" if home else "was stored for another server"
    return Refusal(400, f"Give {secret} with the new {host}: the stored one {where}", "password_required")


def url_set_by_tenant(
    call: Call, wanted: str | None, stored: str | None, *, given: bool, before: bool
) -> bool:
    """The same for a tenant's URL."""
    if call.caller.is_admin:
        return before and not given
    if wanted == stored:
        return before
    parts = urlsplit(wanted or "")
    if parts.hostname is not None:
        port = parts.port if parts.port is not None else _PORTS[parts.scheme]
        _check(call, parts.hostname, port, egress.WEB_PORTS, "url_not_allowed")
    return True


def _check(call: Call, host: str, port: int, ports: frozenset[int], code: str) -> None:
    allow = egress.allowed(call.services.settings.egress_allow)
    if reason := egress.refusal_at_door(host, port, ports, allow):
        raise Refusal(400, egress.advice(reason), code)

"""What the doctor thinks of what was found: each result is ok, a warning or a failure, with what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailproxy.config import Settings
from mailproxy.figures import ProcessView
from mailproxy.model import Account, AccountCondition, Instant, Seconds, TlsMode
from mailproxy.outcome import AccountTrouble, Trouble
from mailproxy.records import AccountView
from mailproxy.redaction import without

CLOCK_WARNS: Seconds = 2.0
CLOCK_FAILS: Seconds = 60.0
DISK_WARNS = 5


class Health(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Result:
    """One thing examined; `remedy` is missing where there is nothing to do."""

    name: str
    health: Health
    text: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Installation:
    """What is examined. Commands for it begin with `here` and start it with `start`; `flag` names it to `db`."""

    settings: Settings
    here: str
    flag: str
    start: str


@dataclass(frozen=True, slots=True)
class Greeted:
    """An SMTP server took us in: from where, over which TLS version (None in clear), logged in or not."""

    address: str
    tls: str | None
    logged_in: bool


def schema(applied: Sequence[str], pending: Sequence[str], unknown: Sequence[int], migrate: str) -> Result:
    if unknown:
        text = f"made by a newer release (migration {unknown[-1]})"
        return Result("schema", Health.FAIL, text, "Upgrade mailproxy.")
    if pending:
        return Result("schema", Health.FAIL, f"lacks {', '.join(pending)}", migrate)
    return Result("schema", Health.OK, f"{applied[-1]} is the newest" if applied else "empty")


def clock(ahead: Seconds) -> Result:
    text = f"the database's is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    health = Health.FAIL if abs(ahead) > CLOCK_FAILS else Health.WARN
    if abs(ahead) <= CLOCK_WARNS:
        return Result("clock", Health.OK, "the database and this machine agree")
    return Result("clock", health, text, "Let both machines keep their time by NTP.")


def disk(free: int | None, least: int, folder: str) -> Result:
    if free is None:
        return Result("disk", Health.WARN, f"how much is free below {folder} cannot be told")
    text = f"{free >> 20} MB free below {folder}"
    if free < least:
        kept = f"{text}, less than the {least >> 20} MB that are kept: no mail is accepted"
        return Result("disk", Health.FAIL, kept, "Free some space, or set GMP_MIN_FREE_DISK_MB.")
    if free < DISK_WARNS * least:
        return Result("disk", Health.WARN, text, "Free some space before mail is refused.")
    return Result("disk", Health.OK, text)


def workers(seen: Iterable[ProcessView], now: Instant, silent_after: Seconds, start: str) -> Result:
    alive = sorted({one.role for one in seen if now - one.seen_at <= silent_after})
    missing = [role for role in ("scout", "reporter", "maintenance") if role not in alive]
    if missing:
        text = f"{', '.join(missing)}: none seen in the last {silent_after:.0f} s"
        return Result("workers", Health.WARN, text, start)
    return Result("workers", Health.OK, ", ".join(alive))


def account(view: AccountView, found: Greeted | AccountTrouble, change: str) -> Result:
    """`change` is the command line up to the account's id, with `VERB` where the verb belongs."""
    one = view.account
    name = f"account {one.tenant_id}/{one.id}"
    server = f"{one.host}:{one.port}"
    update, reset = change.replace("VERB", "update"), change.replace("VERB", "reset")
    if isinstance(found, AccountTrouble):
        cause = without(found.cause, [one.password])
        text = cause if one.host in cause else f"{server}: {cause}"
        return Result(name, Health.FAIL, text, _mend(found.trouble, one, update))
    how = f"{server} [{found.address}], {found.tls or 'no TLS'}, "
    how += f"logged in as {one.user}" if found.logged_in else "no login"
    if view.condition is AccountCondition.BREAKER_OPEN:
        return Result(name, Health.WARN, f"{how}; works, but is switched off", reset)
    if found.logged_in and found.tls is None and one.tls_mode is not TlsMode.NONE:
        return Result(name, Health.WARN, f"{how}: the password travels in clear", f"{update} --tls")
    if one.user and not found.logged_in:
        return Result(
            name, Health.WARN, f"{how}: a user is set, but no password", f"{update} --password-stdin"
        )
    return Result(name, Health.OK, how)


def _mend(trouble: Trouble, one: Account, update: str) -> str:
    match trouble:
        case Trouble.DNS | Trouble.FORBIDDEN:
            return f"Correct the name: {update} --host NAME"
        case Trouble.REFUSED | Trouble.NETWORK:
            return f"Open the firewall, or correct the address: {update} --host NAME --port NUMBER"
        case Trouble.TLS if one.tls_mode is TlsMode.NONE:
            return f"Let TLS be used: {update} --tls"
        case Trouble.TLS:
            return f"Trust its certificate ({update} --tls-ca FILE), or correct the port and --tls/--no-tls."
        case Trouble.AUTH:
            return f"Give it the right login: {update} --user USER --password-stdin"
        case _:
            return "The server is busy or out of order: try again later, or ask whoever runs it."


def call(name: str, status: int | None, failure: str | None, change: str) -> Result:
    """How a tenant's sync URL answered an empty call."""
    if status is None:
        return Result(name, Health.FAIL, failure or "no answer", f"Correct the URL: {change} --base-url URL")
    if status in (401, 403):
        return Result(name, Health.FAIL, f"answers {status}", f"Correct the login there: {change} --auth-…")
    if 200 <= status < 300:
        return Result(name, Health.OK, f"answers {status}")
    remedy = (
        f"Correct the path: {change} --sync-path PATH" if status in (404, 405, 410) else "Look at its log."
    )
    return Result(name, Health.FAIL, f"answers {status}", remedy)


def worst(results: Iterable[Result]) -> Health:
    found = {one.health for one in results}
    return next((health for health in (Health.FAIL, Health.WARN) if health in found), Health.OK)

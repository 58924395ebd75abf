"""Looks at an installation: its database, key, clock, disk and processes, its SMTP servers and its tenants' URLs."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial

from mailproxy import config, egress, keyfile
from mailproxy.cli import diagnosis
from mailproxy.cli.diagnosis import Greeted, Health, Installation, Result
from mailproxy.config import Settings
from mailproxy.errors import MailproxyError
from mailproxy.intake import data_directory, free_octets
from mailproxy.model import Account, Instant, Seconds
from mailproxy.outcome import AccountTrouble, Trouble
from mailproxy.reach import Reach
from mailproxy.records import AccountView, Tenant
from mailproxy.redaction import without
from mailproxy.reports import TenantCall
from mailproxy.store import Store
from sql import migrate
from sql.open import open_store
from sql.rows import sync_url
from workers.reporter.callback import Caller
from workers.sender.connect import Timeouts, connect

PAGE = 500
AT_ONCE = 16

Examination = tuple[str, Callable[[], Awaitable[Result]]]


def at_home(place: Installation) -> Iterator[Result]:
    """What can be told without the database: settings and disk."""
    settings = place.settings
    for warning in settings.warnings:
        yield Result("settings", Health.WARN, warning)
    found = config.problems(settings)
    for problem in found:
        text, _, remedy = problem.partition(": ")
        yield Result("settings", Health.FAIL, text, remedy or None)
    if not found:
        yield Result("settings", Health.OK, "complete")
    folder = data_directory(settings)
    yield diagnosis.disk(free_octets(folder), settings.min_free_disk_mb << 20, str(folder))


def _state(settings: Settings) -> Result:
    try:
        keyfile.make_state_folder(settings)
    except MailproxyError as error:
        return _failure("state", error)
    return Result("state", Health.OK, str(settings.state_dir))


def database(place: Installation) -> list[Result]:
    """Whether it can be reached and has the schema of this release."""
    target = place.settings.database
    if target.path is not None and not target.path.exists():
        return [Result("database", Health.FAIL, f"{target.label} does not exist", place.start)]
    try:
        standing = migrate.status(target)
    except MailproxyError as error:
        remedy = "Start it, or correct GMP_DATABASE_URL."
        return [Result("database", Health.FAIL, f"{target.label}: {error.detail}", remedy)]
    reached = Result("database", Health.OK, target.label)
    return [reached, diagnosis.schema(*standing, f"mail-proxy db migrate{place.flag}")]


def key_problem(settings: Settings) -> Result | None:
    """A key file that is gone is not made anew here: it could open nothing."""
    path = keyfile.key_path(settings)
    if settings.encryption_keys or path is None or path.exists():
        return None
    remedy = "Put it back from your backup: without it no stored password can be read."
    return Result("key", Health.FAIL, f"{path} is missing", remedy)


async def inside(place: Installation, store: Store) -> list[Result]:
    """What the open database tells, and the folder that goes with it."""
    ahead = await store.upkeep.clock_ahead()
    now = time.time() + ahead
    processes = await store.fleet.processes()
    silent = 2 * place.settings.lease_seconds
    return [
        Result("key", Health.OK, "opens what the database holds"),
        diagnosis.clock(ahead),
        diagnosis.workers(processes, now, silent, place.start),
        _state(place.settings),
    ]


async def opened(place: Installation) -> tuple[Store | None, Result | None]:
    """The store, or what keeps it closed: nearly always the key."""
    try:
        return await open_store(place.settings, role="doctor"), None
    except MailproxyError as error:
        remedy = "Set the key that the database was made with; several keys are separated by commas."
        return None, _failure("key", error, remedy)


async def peers(place: Installation, store: Store, caller: Caller, each: Seconds) -> list[Examination]:
    """One examination for each account and each URL that tenants are called at."""
    found: list[Examination] = []
    uses_fallback = False
    async for tenant in _tenants(store):
        async for view in _accounts(store, tenant):
            name = f"account {tenant.id}/{view.account.id}"
            found.append((name, partial(_account, place, view, each)))
        if tenant.client_base_url is not None or not uses_fallback:
            examination = _reports(place, tenant, caller)
            found += [] if examination is None else [examination]
            uses_fallback = uses_fallback or tenant.client_base_url is None
    return found


def _reports(place: Installation, tenant: Tenant, caller: Caller) -> Examination | None:
    """The tenant's own URL, else the one that serves all tenants without one."""
    change = f"{place.here} tenants update {tenant.id}"
    url = sync_url(tenant.client_base_url, tenant.client_sync_path)
    name = f"reports {tenant.id}" if url else "reports GMP_CLIENT_SYNC_URL"
    if url is None and caller.fallback_url is None:
        return None
    called = TenantCall(
        tenant_pk=tenant.pk,
        tenant_id=tenant.id,
        url=url,
        auth=tenant.client_auth,
        fails=0,
        report_strict=tenant.report_strict,
        report_format=tenant.report_format,
        guarded=tenant.url_set_by_tenant and url is not None,
        webhook_secrets=tenant.webhook_secrets,
    )
    return name, partial(_call, caller, called, name, change)


async def visit(examinations: Sequence[Examination], within: Seconds) -> AsyncGenerator[Result]:
    """Results in the order of the examinations, a few at a time; those that time leaves no room for say so."""
    ends_at = time.monotonic() + within
    places = asyncio.Semaphore(AT_ONCE)
    running = [asyncio.create_task(_in_time(one, places, ends_at)) for one in examinations]
    try:
        for task in running:
            yield await task
    finally:
        for task in running:
            task.cancel()


async def _in_time(examination: Examination, places: asyncio.Semaphore, ends_at: Instant) -> Result:
    name, examine = examination
    try:
        async with asyncio.timeout(ends_at - time.monotonic()), places:
            return await examine()
    except TimeoutError:
        return Result(name, Health.WARN, "was not examined: no time was left", "Give more with --within.")


async def _account(place: Installation, view: AccountView, each: Seconds) -> Result:
    reach = Reach(egress.allowed(place.settings.egress_allow))
    found = await _greeted(view.account, each, reach)
    change = f"{place.here} {view.account.tenant_id} accounts VERB {view.account.id}"
    return diagnosis.account(view, found, change)


async def _greeted(account: Account, each: Seconds, reach: Reach) -> Greeted | AccountTrouble:
    """Connect, encrypt and log in as a sender would, then leave."""
    timeouts = Timeouts(connect=each, greeting=each, command=each)
    try:
        async with asyncio.timeout(each):
            link = await connect(account, timeouts, None, reach, require_tls=False)
    except TimeoutError:
        return AccountTrouble(Trouble.NETWORK, f"no answer within {each:g} s")
    if isinstance(link, AccountTrouble):
        return link
    address = str(link.transport.get_extra_info("peername")[0])
    link.transport.write(b"QUIT\r\n")
    link.transport.close()
    return Greeted(address, link.tls, bool(account.user and account.password))


async def _call(caller: Caller, call: TenantCall, name: str, change: str) -> Result:
    answer = await caller.call(call, [])
    failure = without(answer.failure or "", [call.auth.token, call.auth.password]) or None
    return diagnosis.call(name, answer.status, failure, change)


async def _tenants(store: Store) -> AsyncIterator[Tenant]:
    after: str | None = None
    while page := await store.directory.tenants(active_only=False, after=after, limit=PAGE):
        for tenant in page:
            yield tenant
        after = page[-1].id


async def _accounts(store: Store, tenant: Tenant) -> AsyncIterator[AccountView]:
    after: str | None = None
    while page := await store.directory.accounts(tenant.pk, after=after, limit=PAGE):
        for view in page:
            yield view
        after = page[-1].account.id


def _failure(name: str, error: MailproxyError, remedy: str | None = None) -> Result:
    text, _, told = error.detail.rpartition(": ") if remedy is None else (error.detail, "", remedy)
    return Result(name, Health.FAIL, text, told)

"""Who calls: the admin, a tenant by one of its keys, or nobody we know."""

import hmac
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import SecretStr

from mailproxy import tokens
from mailproxy.api.refusals import Refusal, foreign_tenant, unauthorized
from mailproxy.config import Settings
from mailproxy.model import Instant, Seconds, TenantPk
from mailproxy.store import Directory
from mailproxy.tokens import Principal

ADMIN_ONLY = "Admin token required, tenant tokens not allowed for this operation"

_LONGEST_TOKEN = 512


class Access(StrEnum):
    """Who may use a route; METRICS is everybody unless a metrics token is configured."""

    PUBLIC = "public"
    METRICS = "metrics"
    ANY_TOKEN = "any_token"  # noqa: S105 - a kind of access, not a token
    TENANT_OR_ADMIN = "tenant_or_admin"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller; `principal` None is the admin, or anybody on a public route."""

    principal: Principal | None = None

    @property
    def is_admin(self) -> bool:
        return self.principal is None

    def own(self, tenant_id: str | None) -> TenantPk | None:
        """A tenant's own pk, for the admin None; refuses a tenant that names another one."""
        if self.principal is None:
            return None
        if tenant_id not in (None, "", self.principal.tenant_id):
            raise foreign_tenant()
        return self.principal.tenant_pk


class FailedAuth:
    """Counts refused tokens by address: above `limit` in `window` seconds the answer is 429.

    A valid token is never held up, so neighbours behind one address cannot lock each other out.
    """

    def __init__(self, limit: int = 1000, window: Seconds = 60.0, addresses: int = 10_000) -> None:
        self._limit = limit
        self._window = window
        self._addresses = addresses
        self._failures: OrderedDict[str, tuple[Instant, int]] = OrderedDict()

    def note(self, address: str, now: Instant) -> Seconds | None:
        """Count one more; seconds to wait when it was one too many."""
        since, count = self._failures.pop(address, (now, 0))
        if now - since >= self._window:
            since, count = now, 0
        self._failures[address] = (since, count + 1)
        if len(self._failures) > self._addresses:
            self._failures.popitem(last=False)
        return since + self._window - now if count >= self._limit else None


class Authenticator:
    """Checks the token of a request against the settings and the tenants' keys.

    Keys are looked up for every request: one that was revoked, replaced or expired is refused at once, on
    every node.
    """

    def __init__(self, settings: Settings, directory: Directory) -> None:
        self._directory = directory
        self._admin = _hash(settings.api_token)
        self._metrics = _hash(settings.metrics_token)

    async def caller(self, access: Access, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Raises Refusal 400, 401 or 403."""
        if access is Access.PUBLIC or (access is Access.METRICS and self._metrics is None):
            return Caller()
        token = presented(headers)
        if token is None:
            if self._admin is None:
                return Caller()
            raise unauthorized("Admin token required") if access is Access.ADMIN else unauthorized()
        given = tokens.hash_of(token)
        if self._admin is not None and hmac.compare_digest(given, self._admin):
            return Caller()
        if access is Access.METRICS:
            return self._scraper(given)
        principal = await self._directory.principal(given) if len(token) <= _LONGEST_TOKEN else None
        if principal is None:
            raise unauthorized()
        if access is Access.ADMIN:
            raise Refusal(403, ADMIN_ONLY, "admin_required")
        return Caller(principal)

    def _scraper(self, given: bytes) -> Caller:
        if self._metrics is None or not hmac.compare_digest(given, self._metrics):
            raise unauthorized()
        return Caller()


def presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The token of `X-API-Token` or `Authorization: Bearer`; two of them are refused."""
    found = []
    for name, value in headers:
        if name == b"x-api-token":
            found.append(value.strip())
        elif name == b"authorization":
            scheme, _, credentials = value.partition(b" ")
            if scheme.lower() == b"bearer":
                found.append(credentials.strip())
    if len(found) > 1:
        raise Refusal(400, "Send one token, in one header", "ambiguous_token")
    return found[0] if found and found[0] else None


def _hash(token: SecretStr | None) -> bytes | None:
    return tokens.hash_of(token.get_secret_value()) if token else None

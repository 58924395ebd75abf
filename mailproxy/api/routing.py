"""The route table's machinery: every route says who may use it, and gets its input already decoded."""

import inspect
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar
from urllib.parse import unquote

from pydantic import ValidationError
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from mailproxy import log
from mailproxy.api import answers, refusals, strictjson
from mailproxy.api.answers import Answer, Json, retry_after
from mailproxy.api.audit import Minutes
from mailproxy.api.auth import Access, Authenticator, Caller, FailedAuth
from mailproxy.api.bodies import Bodies
from mailproxy.api.exchange import REQUEST_ID, ROUTE
from mailproxy.api.linked_files import LinkedFiles
from mailproxy.api.refusals import Refusal
from mailproxy.api.wire import Form
from mailproxy.config import Settings
from mailproxy.errors import StorageUnavailable
from mailproxy.intake import Intake
from mailproxy.model import TenantPk
from mailproxy.store import Fleet, Store

F = TypeVar("F", bound=Form)

_ENCODED_SLASH = re.compile(b"%2f", re.IGNORECASE)
_OWN_SLASH = "\ud82f"  # half a surrogate pair, which no decoded path holds

logger = log.get(__name__)


class Instance:
    """The instance's random bits, which never change, read once."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._bits: int | None = None

    async def bits(self) -> int:
        if self._bits is None:
            self._bits = await self._fleet.instance()
        return self._bits


@dataclass(frozen=True, slots=True)
class Services:
    """What endpoints work with."""

    settings: Settings
    store: Store
    node: str
    authenticator: Authenticator
    intake: Intake
    failed_auth: FailedAuth
    instance: Instance
    linked_files: LinkedFiles
    bodies: Bodies
    routes: tuple["Route", ...]
    in_flight: set[tuple[int, str]] = field(default_factory=set)


class Call:
    """One authenticated request."""

    def __init__(
        self, services: Services, scope: Scope, receive: Receive, caller: Caller, minutes: Minutes | None
    ) -> None:
        """`minutes` are taken of what changes something."""
        self.services = services
        self.caller = caller
        self.store = services.store.noting(minutes.pending) if minutes else services.store
        self._minutes = minutes
        self.path: dict[str, str] = scope["path_params"]
        self.method: str = scope["method"]
        self.warnings: list[str] = []
        self._scope = scope
        self._receive = receive
        self._share = services.bodies.nothing()

    def note(self, **facts: Any) -> None:
        """More for the command log than the forms told, before the first write."""
        if self._minutes is not None:
            self._minutes.add(**facts)

    def leave_out(self) -> None:
        """Of the command log, as another call enters the same."""
        if self._minutes is not None:
            self._minutes.left_out = True

    async def wake_senders(self) -> None:
        """A hint that there may be work; in test mode only run-now gives it."""
        if not self.services.settings.test_mode:
            await self.store.wakeups.announce("queue")

    async def tenant(self, tenant_id: str | None) -> TenantPk | None:
        """The tenant the call is about; None when the admin names one that does not exist.

        Raises Refusal: 401 for another tenant's key, 422 or 400 when the admin names none.
        """
        own = self.caller.own(tenant_id)
        if own is not None:
            return own
        if tenant_id is None:
            raise refusals.schema_fault("query", "tenant_id")
        if tenant_id == "":
            raise Refusal(400, "tenant_id is required", "tenant_id_required")
        found = await self.store.directory.tenant(tenant_id)
        return found.pk if found else None

    def header(self, name: str) -> list[str]:
        return Headers(scope=self._scope).getlist(name)

    def value(self, body: bytes) -> Any:
        """The body's value; NUL and half surrogates are still in it."""
        kind = Headers(scope=self._scope).get("content-type", "application/json")
        kind = kind.partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise Refusal(415, "Send application/json", "unsupported_media_type")
        return strictjson.read(body)

    async def raw(self) -> bytes:
        return await self.services.bodies.whole(self._receive, self._share)

    def let_go(self) -> None:
        """Its body is done with."""
        self._share.give_back()

    def query(self, model: type[F]) -> F:
        given = dict(QueryParams(self._scope["query_string"]))
        if any("\0" in text for text in given.values()):
            raise Refusal(400, "The query holds NUL", "invalid_text")
        return self._told(_decoded(model, given, "query")[0])

    async def body(self, model: type[F], *, optional: bool = False) -> F:
        """The decoded body; its unknown fields become warnings."""
        body = await self.raw()
        if optional and not body:
            return _decoded(model, {}, "body")[0]
        given = self.value(body)
        if where := strictjson.unstorable(body, given):
            raise Refusal(400, f"{where} holds NUL or half of a surrogate pair", "invalid_text")
        form, self.warnings = _decoded(model, given, "body")
        return self._told(form)

    def _told(self, form: F) -> F:
        if self._minutes is not None:
            self._minutes.add_form(form)
        return form


def _decoded(model: type[F], given: Any, place: str) -> tuple[F, list[str]]:
    try:
        return model.decode(given)
    except ValidationError as error:
        raise refusals.invalid(error, place) from None


Endpoint = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the route table. The endpoint takes the call, and a `query` and a `body` form if it has
    parameters of these names; their annotations are the models."""

    method: str
    path: str
    endpoint: Endpoint
    access: Access
    answers: str

    @property
    def template(self) -> str:
        """The path as documents and metrics show it."""
        return self.path.replace(":path}", "}")

    def forms(self) -> Mapping[str, type[Form]]:
        return _forms(self.endpoint)


@cache
def _forms(endpoint: Endpoint) -> Mapping[str, type[Form]]:
    parameters = inspect.signature(endpoint).parameters
    return {name: parameters[name].annotation for name in ("query", "body") if name in parameters}


def starlette_routes(table: Sequence[Route], services: Services) -> list[StarletteRoute]:
    """One Starlette route for each path, in the table's order."""
    paths: dict[str, list[Route]] = {}
    for route in table:
        paths.setdefault(route.path, []).append(route)
    return [StarletteRoute(path, _Resource(services, routes)) for path, routes in paths.items()]


async def _answer(route: Route, forms: Mapping[str, type[Form]], call: Call) -> Response:
    given: dict[str, Form] = {}
    try:
        if "query" in forms:
            given["query"] = call.query(forms["query"])
        if "body" in forms:
            given["body"] = await call.body(forms["body"])
        answer = await route.endpoint(call, **given)
    finally:
        call.let_go()
    if not isinstance(answer, dict):
        return answer
    return Json({**answer, "warnings": call.warnings} if call.warnings else answer)


def slashes_told_apart(app: ASGIApp) -> ASGIApp:
    """An encoded slash in a message's path belongs to its id: `x%2Fevents` is a message, `x/events` those of x."""

    async def told_apart(scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or b""
        if _ENCODED_SLASH.search(raw) and raw.startswith(b"/messages/"):
            parts = _ENCODED_SLASH.split(raw)
            path = _OWN_SLASH.join(unquote(part.decode("ascii", "replace")) for part in parts)
            scope["path"] = path
        await app(scope, receive, send)

    return told_apart


class _Resource:
    """All methods of one path."""

    def __init__(self, services: Services, routes: Sequence[Route]) -> None:
        self._services = services
        self._routes = {route.method: (route, route.forms()) for route in routes}
        if "GET" in self._routes:
            self._routes["HEAD"] = self._routes["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in self._routes:
            allowed = {"Allow": ", ".join(sorted(self._routes))}
            raise Refusal(405, "Method Not Allowed", "method_not_allowed", allowed)
        route, forms = self._routes[scope["method"]]
        scope[ROUTE] = route.template
        scope["path"] = scope["path"].replace(_OWN_SLASH, "/")
        named: dict[str, str] = scope["path_params"]
        scope["path_params"] = {name: text.replace(_OWN_SLASH, "/") for name, text in named.items()}
        caller = await self._authenticate(route, scope)
        if any(map(strictjson.UNSTORABLE.search, scope["path_params"].values())):
            raise Refusal(404, "Not Found", "not_found")
        if route.method == "GET":
            answer = await _answer(route, forms, Call(self._services, scope, receive, caller, None))
        else:
            answer = await self._command(route, forms, scope, receive, caller)
        await answer(scope, receive, send)

    async def _command(
        self, route: Route, forms: Mapping[str, type[Form]], scope: Scope, receive: Receive, caller: Caller
    ) -> Response:
        """The answer to a command, which is entered in the log however it ends."""
        minutes = Minutes(
            f"{route.method} {route.template}",
            caller,
            scope[REQUEST_ID],
            scope["path_params"],
            anonymous=self._services.settings.api_token is None,
        )
        try:
            answer = await _answer(route, forms, Call(self._services, scope, receive, caller, minutes))
        except Exception as problem:  # whatever it is, somebody tried
            await self._enter(minutes, answers.status_of(problem))
            raise
        await self._enter(minutes, answer.status_code)
        return answer

    async def _enter(self, minutes: Minutes, status: int) -> None:
        """What wrote something is entered already; while storage is away nothing was done that could be lost."""
        pending, log = minutes.pending, self._services.store.administration
        try:
            if pending.entry is not None and status != pending.command.status:
                await log.correct(pending.entry, status)
            elif pending.entry is None and not minutes.left_out and status != StorageUnavailable.status:
                await log.note(replace(pending.command, status=status))
        except StorageUnavailable as problem:
            logger.warning("command_not_noted", status=status, error=problem.detail)

    async def _authenticate(self, route: Route, scope: Scope) -> Caller:
        try:
            return await self._services.authenticator.caller(route.access, scope["headers"])
        except Refusal as refusal:
            if refusal.status == 401:
                client = scope.get("client") or ("",)
                delay = self._services.failed_auth.note(client[0], time.monotonic())
                if delay is not None:
                    detail = "Too many refused tokens from this address"
                    raise Refusal(429, detail, "too_many_failures", retry_after(delay)) from None
            raise

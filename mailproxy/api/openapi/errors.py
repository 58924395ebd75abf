"""Which errors a route may answer: most of them follow from who may use it and what it reads."""

from collections.abc import Iterable

from mailproxy.api.auth import Access
from mailproxy.api.openapi.operation import Errors
from mailproxy.api.routing import Route
from mailproxy.api.wire import Form

_LIFE = ("/health", "/livez")
_EVERYWHERE: Errors = (
    (400, "invalid_http"),
    (408, "header_timeout"),
    (414, "url_too_long"),
    (431, "header_too_large"),
)
_STORAGE: Errors = tuple(
    (503, code)
    for code in (
        "storage_unavailable",
        "storage_full",
        "storage_locked",
        "storage_read_only",
        "commit_unknown",
    )
)
_TOKEN: Errors = ((400, "ambiguous_token"), (401, "invalid_token"), (429, "too_many_failures"))
_QUERY: Errors = ((400, "invalid_text"), (422, "validation_error"))
_BODY: Errors = (
    (400, "invalid_json"),
    (400, "invalid_text"),
    (408, "body_timeout"),
    (413, "body_too_large"),
    (415, "unsupported_encoding"),
    (415, "unsupported_media_type"),
    (422, "validation_error"),
)


def of(route: Route, query: type[Form] | None, body: object, own: Errors) -> dict[int, tuple[str, ...]]:
    """The codes by status, `own` being those that only the endpoint knows."""
    found = {*_EVERYWHERE, *own, *_of_access(route.access)}
    if route.access is Access.PUBLIC:
        found.update(() if route.path in _LIFE else [(503, "storage_unavailable")])
    else:
        found.update(_STORAGE)
    if "{id}" in route.template:
        found.add((404, "not_found"))
    if query is not None:
        found.update(_of_query(query.model_fields))
    if body is not None:
        found.update(_BODY)
    statuses = sorted({status for status, _ in found})
    return {status: tuple(sorted(code for at, code in found if at == status)) for status in statuses}


def _of_access(access: Access) -> Errors:
    if access is Access.PUBLIC:
        return ()
    if access is Access.ADMIN:
        return (*_TOKEN, (403, "admin_required"))
    if access is Access.TENANT_OR_ADMIN:
        return (*_TOKEN, (401, "tenant_not_authorized"))
    return _TOKEN


def _of_query(fields: Iterable[str]) -> Errors:
    found = list(_QUERY)
    if "tenant_id" in fields:
        found.append((400, "tenant_id_required"))
    if "cursor" in fields:
        found.append((400, "invalid_cursor"))
    return tuple(found)

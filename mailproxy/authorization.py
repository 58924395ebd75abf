"""How this service proves itself to an HTTP server: nothing, a bearer token, or a name and a password."""

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientAuth:
    method: str = "none"
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def headers(auth: ClientAuth) -> dict[str, str]:
    """The Authorization field (RFC 7617, RFC 6750), if there is anything to say."""
    if auth.method == "basic":
        login = f"{auth.user or ''}:{auth.password or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
    if auth.method == "bearer" and auth.token is not None:
        return {"Authorization": f"Bearer {auth.token}"}
    return {}

"""Content over HTTP: from a tenant's own endpoint, or from a URL that a message names."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from mailproxy import __version__, authorization
from mailproxy.attachments import judgement
from mailproxy.attachments.held import Held, Incoming
from mailproxy.attachments.judgement import Failed
from mailproxy.authorization import ClientAuth
from mailproxy.egress import Allowed
from mailproxy.model import Seconds
from mailproxy.web import Answered, Unanswered, Web

_HEADERS = {"Accept": "*/*", "User-Agent": f"mailproxy/{__version__}"}


@dataclass(frozen=True, slots=True)
class Remote:
    """`targets` reaches tenants' endpoints, `urls` what messages name, as far as `allow` lets it.

    An attachment has `within` seconds in all and at most `most` octets.
    """

    targets: Web
    urls: Web
    allow: Allowed
    within: Seconds
    most: int
    spool: Path

    async def from_endpoint(
        self, url: str, location: str, auth: ClientAuth, *, guarded: bool
    ) -> Held | Failed:
        """What a tenant's endpoint has under a name. It may not redirect: that would take the login elsewhere."""
        incoming = Incoming(self.spool)
        found = await self.targets.receive(
            "POST",
            url,
            headers={**_HEADERS, "Content-Type": "application/json", **authorization.headers(auth)},
            body=json.dumps({"storage_path": location}).encode(),
            guarded=guarded,
            within=self.within,
            most=self.most,
            wanted=lambda head: self._unwanted(head, None) is None,
            take=incoming.take,
        )
        return self._judged(found, incoming, None)

    async def from_url(self, url: str, auth: ClientAuth | None, media_type: str | None) -> Held | Failed:
        """What lies at a URL, after some redirects, each judged like the first. A login stays at its origin."""
        home = judgement.origin(url)
        deadline = time.monotonic() + self.within
        for _ in range(judgement.MOST_REDIRECTS + 1):
            if failed := judgement.forbidden(url, self.allow):
                return failed
            login = authorization.headers(auth) if auth and judgement.origin(url) == home else {}
            incoming = Incoming(self.spool)
            found = await self.urls.receive(
                "GET",
                url,
                headers={**_HEADERS, **login},
                guarded=True,
                within=max(deadline - time.monotonic(), 0.0),
                most=self.most,
                wanted=lambda head: self._unwanted(head, media_type) is None,
                take=incoming.take,
            )
            onward = isinstance(found, Answered) and judgement.next_hop(url, found.status, found.headers)
            if not onward:
                return self._judged(found, incoming, media_type)
            url = onward
        return Failed(f"more than {judgement.MOST_REDIRECTS} redirects")

    def _unwanted(self, head: Answered, media_type: str | None) -> Failed | None:
        declared = head.headers.get("content-length", "")
        if failed := judgement.of_status(head.status) or judgement.of_headers(head.headers, media_type):
            return failed
        is_large = declared.isdecimal() and (len(declared) > 18 or int(declared) > self.most)
        return judgement.too_large(self.most) if is_large else None

    def _judged(
        self, found: Answered | Unanswered, incoming: Incoming, media_type: str | None
    ) -> Held | Failed:
        if isinstance(found, Unanswered):
            if found.timed_out:
                return judgement.TIMED_OUT
            cause = f"url_not_allowed: {found.cause}" if found.forbidden else found.cause
            return Failed(cause, temporary=not found.forbidden)
        if failed := self._unwanted(found, media_type):
            return failed
        if found.truncated:
            return judgement.too_large(self.most)
        return incoming.held() if incoming.size else judgement.NO_DATA

"""Where large files lie: a storage URL of an allowed protocol and its options, checked without touching it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

PROTOCOLS: Final = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "file": "file"}
EXTRAS: Final = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""The extra of this package that brings a protocol's client."""

OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "s3": frozenset({"endpoint_url", "region", "addressing_style"}),
    "gs": frozenset({"project"}),
    "az": frozenset({"account_name"}),
    "file": frozenset(),
}
SECRETS: Final[Mapping[str, frozenset[str]]] = {
    "s3": frozenset({"key", "secret", "token"}),
    "gs": frozenset({"service_account"}),
    "az": frozenset({"account_key", "sas_token"}),
    "file": frozenset(),
}
_LONGEST = 1024
_PRINTABLE = re.compile(r"[^?#\x00-\x1f\x7f]*")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_SEGMENT = re.compile(r"[A-Za-z0-9 ._=+@,~-]+")


def protocol_of(url: str) -> str:
    """One of s3, gs, az and file; raises ValueError for any other text."""
    try:
        return PROTOCOLS[urlsplit(url).scheme]
    except (KeyError, ValueError):
        raise ValueError("must begin with s3://, gs://, az:// or file://") from None


def storage_url(url: str) -> str:
    """The URL without a slash at its end; raises ValueError for what is no plain place."""
    protocol = protocol_of(url)
    parts = urlsplit(url)
    if "::" in url or len(url) > _LONGEST or not _PRINTABLE.fullmatch(url):
        raise ValueError("must be at most 1024 characters without ::, ? and #")
    segments = [segment for segment in parts.path.split("/") if segment]
    if not all(_SEGMENT.fullmatch(segment) and set(segment) != {"."} for segment in segments):
        raise ValueError("must have path segments of letters, digits and ._=+@,~- without . and ..")
    if protocol == "file":
        if parts.netloc or not segments:
            raise ValueError("must name an absolute directory: file:///directory")
        return "file:///" + "/".join(segments)
    if not _BUCKET.fullmatch(parts.netloc) or ".." in parts.netloc:
        raise ValueError(f"must name a bucket: {parts.scheme}://bucket/prefix")
    return f"{parts.scheme}://" + "/".join([parts.netloc, *segments])


@dataclass(frozen=True, slots=True)
class Place:
    """A storage URL with what else is needed to find it; secrets are kept apart. One that a tenant `set_by_tenant`
    is used with the tenant's own credentials only, and its endpoint is guarded."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    set_by_tenant: bool = False

    @property
    def protocol(self) -> str:
        return protocol_of(self.url)

    def is_where(self, other: "Place") -> bool:
        """Whoever set it, and with whose credentials."""
        return self.url == other.url and dict(self.options) == dict(other.options)

    def path(self, name: str) -> str:
        """Of an object, as the protocol's file system writes it."""
        root = self.url.partition("://")[2]
        return f"{root}/{name}"

    def to_json(self) -> str:
        return json.dumps(
            {"url": self.url, "options": dict(self.options), "set_by_tenant": self.set_by_tenant}
        )

    @classmethod
    def from_json(cls, text: str) -> "Place":
        return cls(**json.loads(text))


def missing_secrets(protocol: str, given: Mapping[str, str], options: Mapping[str, str]) -> str | None:
    """What a tenant has still to give before a storage of its own is used with its own credentials alone."""
    match protocol:
        case "s3" if not (given.get("key") and given.get("secret")):
            return "key and secret"
        case "gs" if not given.get("service_account"):
            return "service_account"
        case "az" if not (
            options.get("account_name") and (given.get("account_key") or given.get("sas_token"))
        ):
            return "account_name and account_key or sas_token"
        case _:
            return None

"""How each protocol's file system is asked: its options, what it is told of an object, how it signs. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from mailproxy.attachments.links import disposition
from mailproxy.attachments.places import Place
from mailproxy.model import Seconds

CONNECT_WITHIN: Seconds = 10.0
CLIENT_TRIES = 2


def options(
    place: Place, secrets: Mapping[str, str], timeout: Seconds, resolver: object = None
) -> dict[str, Any]:
    """The keyword arguments of fsspec's file system; `resolver` guards where S3's client connects to."""
    match place.protocol:
        case "s3":
            found = _s3(place, secrets, timeout, resolver)
        case "gs":
            found = _gs(place, secrets, timeout)
        case "az":
            found = _az(place, secrets, timeout)
        case _:
            return {"auto_mkdir": True}
    return found | {"use_listings_cache": False}


def _s3(place: Place, secrets: Mapping[str, str], timeout: Seconds, resolver: object) -> dict[str, Any]:
    endpoint = place.options.get("endpoint_url")
    style = place.options.get("addressing_style") or ("path" if endpoint else "auto")
    config: dict[str, Any] = {
        "signature_version": "s3v4",
        "s3": {"addressing_style": style},
        "connect_timeout": CONNECT_WITHIN,
        "read_timeout": timeout,
        "retries": {"max_attempts": CLIENT_TRIES},
    }
    if resolver is not None:
        config["connector_args"] = {"resolver": resolver, "use_dns_cache": False}
        config["proxies"] = {}
    region = place.options.get("region")
    found = {
        "endpoint_url": endpoint,
        "key": secrets.get("key"),
        "secret": secrets.get("secret"),
        "token": secrets.get("token"),
        "client_kwargs": {"region_name": region} if region else {},
        "config_kwargs": config,
    }
    return {name: value for name, value in found.items() if value is not None}


def _gs(place: Place, secrets: Mapping[str, str], timeout: Seconds) -> dict[str, Any]:
    found: dict[str, Any] = {"timeout": timeout}
    if project := place.options.get("project"):
        found["project"] = project
    if account := secrets.get("service_account"):
        found["token"] = json.loads(account)
    return found


def _az(place: Place, secrets: Mapping[str, str], timeout: Seconds) -> dict[str, Any]:
    given = dict(place.options) | dict(secrets)
    return {
        **{name: given[name] for name in ("account_name", "account_key", "sas_token") if name in given},
        "connection_timeout": int(CONNECT_WITHIN),
        "read_timeout": int(timeout) or 1,
        "assume_container_exists": True,
    }


def written_with(protocol: str, filename: str, media_type: str) -> dict[str, Any]:
    """What to say of an object when it is opened for writing: only there does its file name stand."""
    saved_as = disposition(filename)
    match protocol:
        case "s3":
            return {"ContentType": media_type, "ContentDisposition": saved_as}
        case "gs":
            return {"content_type": media_type, "fixed_key_metadata": {"content_disposition": saved_as}}
        case "az":
            return {"content_settings": {"content_type": media_type, "content_disposition": saved_as}}
        case _:
            return {}


def signed_with(protocol: str, filename: str) -> dict[str, Any]:
    """What a signed URL has the storage answer: a file to save, whatever it holds."""
    saved_as, kind = disposition(filename), "application/octet-stream"
    match protocol:
        case "s3":
            return {"ResponseContentDisposition": saved_as, "ResponseContentType": kind}
        case "gs":
            return {"version": "v4", "response_disposition": saved_as, "response_type": kind}
        case _:
            return {"content_disposition": saved_as, "content_type": kind}

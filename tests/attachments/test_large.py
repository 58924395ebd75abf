"""What is done with large attachments, and which configurations cannot work."""

import json
from typing import Any

import pytest

from mailproxy.attachments import large, places
from mailproxy.attachments.large import MIB, LargeFiles, Links
from mailproxy.attachments.places import Place

REWRITE = {"enabled": True, "action": "rewrite"}


def _of(**fields: Any) -> LargeFiles:
    return large.of_fields(REWRITE | fields)


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("s3://files", "s3://files"),
        ("s3://files/a/b/", "s3://files/a/b"),
        ("gs://files//x", "gs://files/x"),
        ("az://container/p", "az://container/p"),
        ("abfs://container", "abfs://container"),
        ("file:///srv/files/", "file:///srv/files"),
    ],
)
def test_storage_urls_are_plain_places(url: str, stored: str) -> None:
    assert places.storage_url(url) == stored


@pytest.mark.parametrize(
    "url",
    [
        "",
        "files",
        "/srv/files",
        "memory://x",
        "http://x/y",
        "ftp://x/y",
        "s3://",
        "s3:///key",
        "s3://a/../b",
        "s3://a/./b",
        "s3://a/*",
        "s3://a?versionId=1",
        "s3://a#x",
        "s3://user:pw@bucket",
        "filecache::s3://bucket",
        "s3://bucket::file:///etc",
        "zip://x.zip::s3://bucket",
        "abfs://container@account.dfs.core.windows.net/x",
        "file://host/share",
        "file:///",
        "file:///srv/../etc",
        "file:///srv/\x00",
        "s3://" + "a" * 2000,
        "s3://[::1]/x",
        "s3://bu\ncket/x",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        places.storage_url(url)


@pytest.mark.parametrize(("size", "is_large"), [(MIB, False), (MIB + 1, True), (0, False)])
def test_more_than_the_limit_is_large(size: int, is_large: bool) -> None:
    assert large.of_fields({"enabled": True, "max_size_mb": 1}).is_large(size) == is_large
    assert not large.of_fields({"max_size_mb": 1}).is_large(size)


@pytest.mark.parametrize(
    ("fields", "secrets", "served_by"),
    [
        ({"storage_url": "s3://b", "file_ttl_days": 7}, {}, Links.STORAGE),
        ({"storage_url": "s3://b"}, {}, Links.OWN),
        ({"storage_url": "gs://b", "file_ttl_days": 7}, {}, Links.STORAGE),
        ({"storage_url": "az://b"}, {}, Links.STORAGE),
        ({"storage_url": "az://b"}, {"sas_token": "x"}, Links.OWN),
        ({"storage_url": "file:///b", "file_ttl_days": 1}, {}, Links.OWN),
        ({"storage_url": "s3://b", "file_ttl_days": 7, "links": "own"}, {}, Links.OWN),
        ({"storage_url": "az://b", "lifespan_after_download_days": 1}, {}, Links.OWN),
    ],
)
def test_the_storage_signs_links_where_it_can(
    fields: dict[str, Any], secrets: dict[str, str], served_by: Links
) -> None:
    assert _of(**fields).served_by(secrets) is served_by


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "storage_url"),
        ({"storage_url": "s3://b"}, "public_base_url"),
        ({"storage_url": "file:///b"}, "public_base_url"),
        ({"storage_url": "file:///b", "links": "storage"}, "links"),
        ({"storage_url": "s3://b", "links": "storage"}, "file_ttl_days"),
        (
            {"storage_url": "az://b", "links": "storage", "lifespan_after_download_days": 1},
            "lifespan_after_download_days",
        ),
    ],
)
def test_a_configuration_that_would_make_no_link_names_its_field(fields: dict[str, Any], field: str) -> None:
    found = _of(**fields).problem({}, None)
    assert found is not None
    assert found[0] == field


def test_a_sas_token_is_refused_where_the_storage_is_to_sign() -> None:
    wanted = _of(storage_url="az://b", links="storage")
    found = wanted.problem({"sas_token": "x"}, "https://mail.example.com")
    assert found is not None
    assert found[0] == "links"
    assert wanted.problem({"account_key": "x"}, None) is None
    assert _of(storage_url="az://b").problem({"sas_token": "x"}, "https://mail.example.com") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"storage_url": "s3://b", "public_base_url": "https://x"},
        {"storage_url": "s3://b", "file_ttl_days": 7},
        {"storage_url": "az://b"},
        {"action": "warn"},
        {"action": "reject"},
        {"enabled": False},
    ],
)
def test_what_can_work_has_no_problem(fields: dict[str, Any]) -> None:
    assert _of(**fields).problem({}, None) is None


def test_the_instances_url_stands_in_for_the_tenants() -> None:
    assert _of(storage_url="s3://b").problem({}, "https://mail.example.com") is None


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[]", "1", '{"enabled":true,"action":"burn"}', '{"max_size_mb":"x"}']
)
def test_what_was_stored_before_it_was_checked_counts_as_switched_off(text: str | None) -> None:
    assert not large.of_stored(text).enabled


def test_an_object_is_reached_as_whoever_saved_its_place_last_says() -> None:
    keys, options = {"key": "k"}, {"region": "us-east-1"}
    ours, theirs = Place("s3://b", options), Place("s3://b", options, set_by_tenant=True)
    for now in (ours, theirs):
        fields = {"storage_url": "s3://b", "storage_options": options, "set_by_tenant": now.set_by_tenant}
        for before in (ours, theirs):
            assert large.reached(before, json.dumps(fields), keys) == (now, keys)
    moved = json.dumps({"storage_url": "s3://c", "storage_options": options, "set_by_tenant": False})
    assert large.reached(theirs, moved, keys) == (theirs, {})
    assert large.reached(theirs, None, keys) == (theirs, {})


@pytest.mark.parametrize(
    "more", ["", ', "set_by_tenant": null', ', "set_by_tenant": false, "set_by_tenant": null']
)
def test_a_storage_of_which_it_is_not_known_who_set_it_is_none(more: str) -> None:
    text = '{"enabled": true, "action": "rewrite", "storage_url": "file:///srv"'
    found = large.of_stored(text + more + "}")
    assert (found.enabled, found.place) == (True, None)


def test_the_error_of_a_rejected_message_names_file_and_sizes() -> None:
    wanted = LargeFiles(enabled=True, max_size_mb=1.0)
    assert large.over_limit("f", 2 * MIB, wanted) == "Attachment 'f' (2.0 MB) exceeds limit (1.0 MB)"


@pytest.mark.parametrize(
    ("protocol", "secrets", "options", "missing"),
    [
        ("s3", {}, {}, "key and secret"),
        ("s3", {"key": "k", "secret": "s"}, {}, None),
        ("gs", {}, {}, "service_account"),
        ("az", {"account_key": "k"}, {}, "account_name and account_key or sas_token"),
        ("az", {"sas_token": "k"}, {"account_name": "a"}, None),
    ],
)
def test_a_tenants_own_storage_needs_the_tenants_own_credentials(
    protocol: str, secrets: dict[str, str], options: dict[str, str], missing: str | None
) -> None:
    assert places.missing_secrets(protocol, secrets, options) == missing

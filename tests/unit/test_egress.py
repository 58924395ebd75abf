"""Where targets that tenants choose may lie."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy import egress
from mailproxy.egress import SMTP_PORTS, WEB_PORTS, Allowed, allowed

NOTHING = Allowed()

SPECIAL = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.1.2.3": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "100.64.0.1": "carrier-grade NAT",
    "169.254.169.254": "metadata service",
    "192.0.0.8": "reserved",
    "192.0.2.1": "documentation",
    "198.18.0.1": "benchmarking",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "reserved",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:a00:1": "private",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::a9fe:a9fe": "metadata service",
    "64:ff9b:1::7f00:1": "reserved",
    "2002:7f00:1::": "loopback",
    "2002:c0a8:101::1": "private",
    "2001::1": "reserved",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "reserved",
    "2001:db8::1": "documentation",
    "3fff::1": "documentation",
    "fc00::1": "private",
    "fd12:3456::1": "private",
    "fe80::1": "link-local",
    "fec0::1": "private",
    "ff02::1": "multicast",
    "100::1": "reserved",
    "5f00::1": "reserved",
}
PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
)


@pytest.mark.parametrize(("address", "kind"), SPECIAL.items(), ids=str)
def test_a_special_address_is_named_for_what_it_is(address: str, kind: str) -> None:
    assert kind in (egress.special(ipaddress.ip_address(address)) or "")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_free(address: str) -> None:
    assert egress.special(ipaddress.ip_address(address)) is None


@given(st.ip_addresses(v=4))
def test_every_way_of_writing_ipv4_inside_ipv6_is_judged_alike(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    expected = egress.special(address)
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | number)
    nat64 = ipaddress.IPv6Address((0x64FF9B << 96) | number)
    six_to_four = ipaddress.IPv6Address((0x2002 << 112) | (number << 80))
    assert [egress.special(one) for one in (mapped, nat64, six_to_four)] == [expected] * 3


@given(st.ip_addresses())
def test_what_is_not_global_for_python_is_never_public_for_us(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if egress.special(address) is None and not getattr(address, "ipv4_mapped", None):
        assert address.is_global or address in ipaddress.ip_network(
            "64:ff9b::/96" if address.version == 6 else "::/0"
        )


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "::1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "a.localhost.",
        "[::ffff:127.0.0.1]",
        "fe80::1%eth0",
    ],
)
def test_a_literal_is_refused_at_the_door_in_every_form(host: str) -> None:
    told = egress.refusal_at_door(host, 443, WEB_PORTS, NOTHING)
    assert told is not None
    assert "GMP_EGRESS_ALLOW" in egress.advice(told)


@pytest.mark.parametrize(
    "host", ["smtp.example.com", "8.8.8.8", "2606:4700::1111", "cafe", "127.example.com"]
)
def test_names_and_public_literals_pass_the_door(host: str) -> None:
    assert egress.refusal_at_door(host, 443, WEB_PORTS, NOTHING) is None


def test_ports_of_other_services_are_refused_at_the_door() -> None:
    for port in (22, 80, 143, 993):
        assert "port" in (egress.refusal_at_door("smtp.example.com", port, SMTP_PORTS, NOTHING) or "")
    for port in (25, 465, 587, 2525):
        assert egress.refusal_at_door("smtp.example.com", port, SMTP_PORTS, NOTHING) is None
    assert egress.refusal_at_door("example.com", 22, WEB_PORTS, NOTHING)


def test_one_bad_address_spoils_the_name() -> None:
    told = egress.refusal("rebind.example.com", ["8.8.8.8", "10.0.0.1"], NOTHING)
    assert told == "rebind.example.com leads to a private address"
    assert egress.refusal("ok.example.com", ["8.8.8.8", "2606:4700::1111"], NOTHING) is None
    assert egress.refusal("fe80.example.com", ["fe80::1%eth0"], NOTHING) is not None


def test_the_operator_allows_networks_addresses_names_and_everything() -> None:
    allow = allowed(["10.0.0.0/8", "127.0.0.1", "[fd00::]/8", "relay.internal", "beef.de", "*.corp.example"])
    assert egress.refusal("x", ["10.9.9.9"], allow) is None
    assert egress.refusal("x", ["127.0.0.1"], allow) is None
    assert egress.refusal("x", ["127.0.0.2"], allow) is not None
    assert egress.refusal("Relay.Internal.", ["192.168.0.1"], allow) is None
    assert egress.refusal("a.corp.example", ["192.168.0.1"], allow) is None
    assert egress.refusal("corp.example", ["192.168.0.1"], allow) is not None
    assert egress.refusal("x", ["fd12::1"], allow) is None
    assert egress.refusal("x", ["169.254.169.254"], allowed(["*"])) is None
    assert egress.refusal_at_door("127.0.0.1", 22, SMTP_PORTS, allow) is None
    assert egress.refusal_at_door("localhost", 25, SMTP_PORTS, allowed(["localhost"])) is None


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "a b", "2130706433", "*x", "http://a", "a/8", ""])
def test_what_is_no_network_and_no_name_is_not_taken(entry: str) -> None:
    with pytest.raises(ValueError, match="must list networks"):
        allowed([entry])

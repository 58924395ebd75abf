"""Where a target that a tenant chose may lie: only at public addresses, and at what the operator allowed.

The ranges are IANA's special-purpose registries, written out: `ipaddress.is_global` lets translated ones pass.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SMTP_PORTS: Final = frozenset({25, 465, 587})
IMAP_PORTS: Final = frozenset({143, 993})
WEB_PORTS: Final = frozenset({80, 443})
FREE_PORTS: Final = 1024

_V4: Final[Mapping[str, str]] = {
    "0.0.0.0/8": "an unspecified",
    "10.0.0.0/8": "a private",
    "100.64.0.0/10": "a shared (carrier-grade NAT)",
    "127.0.0.0/8": "a loopback",
    "169.254.0.0/16": "a link-local (metadata service)",
    "172.16.0.0/12": "a private",
    "192.0.0.0/24": "a reserved",
    "192.0.2.0/24": "a documentation",
    "192.88.99.0/24": "a reserved",
    "192.168.0.0/16": "a private",
    "198.18.0.0/15": "a benchmarking",
    "198.51.100.0/24": "a documentation",
    "203.0.113.0/24": "a documentation",
    "224.0.0.0/4": "a multicast",
    "240.0.0.0/4": "a reserved",
}
_V6: Final[Mapping[str, str]] = {
    "::1/128": "a loopback",
    "::/128": "an unspecified",
    "fc00::/7": "a private",
    "fe80::/10": "a link-local",
    "fec0::/10": "a private",
    "ff00::/8": "a multicast",
    "2001::/23": "a reserved",
    "2001:db8::/32": "a documentation",
    "3fff::/20": "a documentation",
}
_SPECIAL: Final = {
    4: [(ipaddress.ip_network(text), kind) for text, kind in _V4.items()],
    6: [(ipaddress.ip_network(text), kind) for text, kind in _V6.items()],
}
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NUMERIC_HOST: Final = re.compile(r"(0[xX])?[0-9a-fA-F]+(\.(0[xX])?[0-9a-fA-F]+){0,3}\.?")
_NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


@dataclass(frozen=True, slots=True)
class Allowed:
    """An operator's list past the guard; `domains` begin with a dot and stand for every name below."""

    everything: bool = False
    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()

    def names(self, host: str) -> bool:
        plain = host.lower().rstrip(".")
        return self.everything or plain in self.hosts or plain.endswith(self.domains or ("\x00",))

    def holds(self, address: Address) -> bool:
        return self.everything or any(address in network for network in self.networks)


NOTHING: Final = Allowed()


def allowed(entries: Iterable[str]) -> Allowed:
    """The list in `GMP_EGRESS_ALLOW` or `GMP_FETCH_ALLOW`: networks, addresses, names, `*.names`; `*` for all.

    Raises ValueError for an entry that is none of them.
    """
    networks: list[Network] = []
    names: list[str] = []
    everything = False
    for entry in entries:
        if entry == "*":
            everything = True
        elif (network := _network(entry)) is not None:
            networks.append(network)
        elif _NAME.fullmatch(entry) and literal(entry) is None:
            names.append(entry.lower().rstrip("."))
        else:
            raise ValueError(f"must list networks (10.0.0.0/8), addresses, host names or *, not {entry!r}")
    return Allowed(
        everything,
        tuple(networks),
        frozenset(name for name in names if not name.startswith("*.")),
        tuple(name[1:] for name in names if name.startswith("*.")),
    )


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def special(address: Address) -> str | None:
    """What keeps an address from being public ("a loopback", "a private", …), None for a public one.

    IPv4 inside IPv6 (mapped, NAT64 and 6to4) counts as the IPv4 address it leads to.
    """
    real = _translated(address)
    for network, kind in _SPECIAL[real.version]:
        if real in network:
            return kind
    return None if real.version == 4 or real in _GLOBAL_UNICAST else "a reserved"


def _translated(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour or address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def literal(host: str) -> Address | None:
    """The address a host is written as, also in the forms only resolvers read (`0x7f.1`, `2130706433`)."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    if not _NUMERIC_HOST.fullmatch(host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def refusal_at_door(host: str, port: int, ports: frozenset[int], allow: Allowed) -> str | None:
    """Why a tenant may not set this target, as far as it can be told without asking the DNS."""
    if allow.names(host):
        return None
    address = literal(host)
    if address is not None:
        if allow.holds(address):
            return None
        if kind := special(address):
            return f"{host} is {kind} address"
    elif host.lower().rstrip(".").endswith("localhost"):
        return f"{host} is this machine"
    if port < FREE_PORTS and port not in ports:
        known = ", ".join(map(str, sorted(ports)))
        return f"port {port} belongs to another service: use {known} or one above {FREE_PORTS - 1}"
    return None


def refusal(host: str, addresses: Sequence[str], allow: Allowed) -> str | None:
    """Why `addresses`, to which `host` was resolved, may not be connected to: one bad one spoils them all."""
    if allow.names(host):
        return None
    for address in map(_parsed, addresses):
        kind = special(address)
        if kind and not allow.holds(address):
            shown = "is" if literal(host) else "leads to"
            return f"{host} {shown} {kind} address"
    return None


def _parsed(address: str) -> Address:
    return ipaddress.ip_address(address.partition("%")[0])


def advice(reason: str) -> str:
    """What to tell about a target that a tenant set."""
    return f"{reason}: tenants may not set that; the admin may, or allow it with GMP_EGRESS_ALLOW"


def fetch_advice(reason: str) -> str:
    """What to tell about a URL that an attachment is fetched from."""
    return f"{reason}: the operator may allow it with GMP_FETCH_ALLOW"

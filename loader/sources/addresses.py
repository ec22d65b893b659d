"""Which network addresses may be reached: public ones, and those that the caller names. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(item)
    for item in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # what Azure serves to its machines
        "169.254.0.0/16",  # link-local; clouds serve credentials there
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
"""IANA's special-purpose IPv4 addresses."""
PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is assigned to be routed; whatever lies outside is special."""
NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(item)
    for item in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
EMBEDDING = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
"""IPv6 networks whose addresses lead to an IPv4 one, and the bits that follow that."""
ENTRY = re.compile(r"([^:\[\]]*|\[[^\[\]]*\](?:/[0-9]+)?):([0-9]{1,5})")
"""A host with a port; an IPv6 address that has one stands in brackets."""


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, or else itself."""
    for network, behind in EMBEDDING:
        if address in network:
            return ipaddress.IPv4Address(int(address) >> behind & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether anybody may reach it: it is neither private nor special, nor leads to such a one."""
    address = embedded(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC)
    return address in PUBLIC_6 and not any(address in network for network in NOT_PUBLIC_6)


@dataclass(frozen=True)
class Entry:
    """A host that the caller allows: a name or a network, on one port or on all."""

    name: str
    network: Network | None
    port: int | None

    def allows(self, host: str, port: int, address: Address) -> bool:
        """Whether it is what ``host`` and ``port`` name, at that address."""
        if self.port is not None and self.port != port:
            return False
        if self.network is None:
            return self.name == host
        return address in self.network or embedded(address) in self.network


def entry(text: str) -> Entry:
    """One of ``Access.hosts`` in parts."""
    matched = ENTRY.fullmatch(text)
    name, port = (matched[1], int(matched[2])) if matched else (text, None)
    bare = name.replace("[", "").replace("]", "")
    try:
        network = ipaddress.ip_network(bare, strict=False)
    except ValueError:
        return Entry(name.lower().removesuffix("."), None, port)
    return Entry(bare, network, port)


def allowed(hosts: Iterable[str], host: str, port: int, address: Address) -> bool:
    """Whether ``address`` may be connected to for a URL that names ``host`` and ``port``."""
    return is_public(address) or any(entry(item).allows(host, port, address) for item in hosts)


def named(hosts: Iterable[str], host: str, port: int) -> bool:
    """Whether the caller names what a URL leads to, whatever its address is."""
    try:
        address: Address = ipaddress.ip_address(host)
    except ValueError:
        address = ipaddress.IPv6Address(0)  # of no network but that of all
    return any(entry(item).allows(host, port, address) for item in hosts)

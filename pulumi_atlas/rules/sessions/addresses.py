"""May a request whose address somebody configured go to this network address?

An address that was looked up in the public name system may lead into our own network; a webhook must not become a way in.
So only addresses of the public internet are allowed, and those of networks that were named by whoever runs the companion.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

__all__ = ["Address", "Network", "judge_address", "networks_of"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The registries of special-purpose addresses (RFC 6890 and later), spelled out: what `ipaddress` knows differs by version.
_SPECIAL_4 = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "an address of this machine"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "an address of a carrier's network"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's service of its machines"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_PUBLIC_6 = IPv6Network("2000::/3")
_SPECIAL_6 = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "an address of this machine"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address in disguise"),
        ("64:ff9b::/96", "an IPv4 address in disguise"),
        ("64:ff9b:1::/48", "an IPv4 address in disguise"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("2002::/16", "an IPv4 address in disguise"),
        ("2620:4f:8000::/48", "reserved"),
        ("3fff::/20", "reserved"),
    )
)


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks by their texts. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def judge_address(address: Address, *, scheme: Literal["http", "https"], allowed: Iterable[Network]) -> str | None:
    """Why a request may not go there; None when it may. Plain `http` only within `allowed`, where everything may."""
    if any(spelled in one for one in allowed for spelled in _spellings(address)):
        return None
    what = _special(address)
    if what is not None:
        return f"{address} is {what}"
    if scheme != "https":
        return "plain http is allowed only within allow_private"
    return None


def _special(address: Address) -> str | None:
    if isinstance(address, IPv4Address):
        return next((what for network, what in _SPECIAL_4 if address in network), None)
    what = next((what for network, what in _SPECIAL_6 if address in network), None)
    return what or (None if address in _PUBLIC_6 else "reserved")


def _spellings(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 one that it is another spelling of."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (address,) if mapped is None else (address, mapped)

"""Scheme, host and address of the visitor: from the connection, and from forwarded headers only behind a trusted proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from atlas_session._canonical import netloc_of
from atlas_session.errors import Malformed
from atlas_session.guard._facts import Facts
from atlas_session.guard._settings import Network

__all__ = ["PORTS", "Seen", "look"]

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_PLAIN = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Seen(NamedTuple):
    """What the visitor used. `address` is None where it is not known for certain."""

    scheme: str
    host: str
    port: int
    address: str | None

    @property
    def netloc(self) -> str:
        return f"{self.host}:{self.port}"


def look(facts: Facts, trusted: Sequence[Network]) -> Seen:
    """Raises Malformed unless there is exactly one well-formed ``Host`` header.

    Behind a trusted proxy a malformed ``X-Forwarded-For`` makes the address unknown; a malformed scheme or host there is
    as if it were not sent.
    """
    host = facts.only("host")
    if host is None:
        raise Malformed("there must be exactly one Host header")
    scheme = _scheme(facts.scheme, websocket=facts.websocket) or _scheme("http", websocket=facts.websocket)
    believed = bool(trusted) and is_trusted(facts.peer, trusted)
    if believed:
        scheme = _scheme(_last(facts.all("x-forwarded-proto")), websocket=facts.websocket) or scheme
    name, port = netloc_of(host, PORTS[scheme])
    if believed:
        name, port = _forwarded_host(_last(facts.all("x-forwarded-host")), PORTS[scheme]) or (name, port)
    address = forwarded_address(facts.all("x-forwarded-for"), trusted) if believed else facts.peer
    return Seen(scheme, name, port, address)


def is_trusted(address: str | None, trusted: Iterable[Network]) -> bool:
    """Whether the address is in one of the networks; an IPv4 address in IPv6 form is the IPv4 address."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in trusted)


def forwarded_address(lines: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """The first address from the right that is none of the proxies'; None when anything up to there is no address.

    When all are proxies, it is the left-most: a proxy asks on its own behalf.
    """
    address: str | None = None
    for item in reversed(",".join(lines).split(",")):
        parsed = _parsed(item.strip(" \t"))
        if parsed is None:
            return None
        address = str(parsed)
        if not is_trusted(address, trusted):
            return address
    return address


def _parsed(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if not isinstance(text, str) or len(text) > 45:
        return None
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return None
        return parsed.ipv4_mapped or parsed
    return parsed


def _scheme(text: str | None, *, websocket: bool) -> str:
    """The scheme for this kind of request, or nothing when it is none of ours."""
    plain = _PLAIN.get((text or "").lower(), "")
    return plain.replace("http", "ws") if websocket else plain


def _forwarded_host(text: str | None, default_port: int) -> tuple[str, int] | None:
    if not text:
        return None
    try:
        return netloc_of(text, default_port)
    except Malformed:
        return None


def _last(lines: Sequence[str]) -> str | None:
    """The right-most value: what the nearest proxy wrote."""
    return lines[-1].rpartition(",")[2].strip(" \t") if lines else None

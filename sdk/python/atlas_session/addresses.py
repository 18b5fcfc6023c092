"""Which network a grant that is bound to an address is bound to."""

from __future__ import annotations

import ipaddress
from typing import Any

__all__ = ["network_of"]


def network_of(address: Any) -> str | None:
    """An IPv4 address as its /32, an IPv6 address as its /64 (one host may use all of it); None for what is no address.

    An IPv4 address in IPv6 form (``::ffff:192.0.2.1``) is the IPv4 address; one with a zone (``fe80::1%eth0``) is none.
    """
    if not isinstance(address, str) or len(address) > 45:
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return None
        if parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return f"{parsed}/32"

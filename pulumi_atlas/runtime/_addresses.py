"""Addresses in settings: which of them mean this machine only."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

__all__ = ["is_loopback_url", "is_this_machine"]


def is_this_machine(host: str) -> bool:
    """Whether the host is `localhost` or an address that never leaves this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str | None) -> bool:
    """Whether only this machine can reach the URL: it is None, or its host is loopback, or it makes no sense."""
    try:
        host = urlsplit(url).hostname if url else None
    except ValueError:
        return True
    return host is None or is_this_machine(host)

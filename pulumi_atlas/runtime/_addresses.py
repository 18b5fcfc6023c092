"""Addresses in settings: which of them mean this machine only."""

from __future__ import annotations

from urllib.parse import urlsplit

from pulumi_atlas.rules.sessions.opening import is_loopback

__all__ = ["is_loopback_url"]


def is_loopback_url(url: str | None) -> bool:
    """Whether only this machine can reach the URL: it is None, or its host is loopback, or it makes no sense."""
    try:
        host = urlsplit(url).hostname if url else None
    except ValueError:
        return True
    return host is None or is_loopback(host)

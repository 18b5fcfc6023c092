"""Which host a request may mean, and which pages may ask: decided from headers and settings alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from pulumi_atlas.runtime.settings import RuntimeSettings

__all__ = ["Hosts", "Origins", "host_name"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_SEEN = 256


def host_name(value: str) -> str | None:
    """The name of a Host header in lower case, without port, brackets and last dot; None when it is none."""
    text = value.strip().lower()
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") if bracket and port[:1] in ("", ":") else "?"
    else:
        name, _, port = text.partition(":")
    if not name or any(char in name for char in "/@\\?# ") or not (port == "" or (port.isascii() and port.isdigit())):
        return None
    return name.removesuffix(".")


class Hosts:
    """The names by which this companion may be called; whatever is called otherwise is not meant for it (DNS rebinding).

    Those of the settings, where there are any. Else those of loopback, of `public_url`, and where it listens.
    """

    def __init__(self, settings: RuntimeSettings, listen: str | None) -> None:
        self._names = frozenset(self._allowed(settings, listen))
        self._seen: set[bytes] = set()

    def allow(self, host: bytes) -> bool:
        """Whether the Host header's value is one of ours. Good ones are remembered, since each request asks."""
        if host in self._seen:
            return True
        name = host_name(host.decode("latin-1"))
        good = name in self._names
        if good and len(self._seen) < _MAX_SEEN:
            self._seen.add(host)
        return good

    @staticmethod
    def _allowed(settings: RuntimeSettings, listen: str | None) -> Iterable[str]:
        if settings.hosts:
            yield from (host_name(name) or name for name in settings.hosts)
            return
        yield from _LOOPBACK
        public = urlsplit(settings.public_url or "").hostname
        yield from (name.lower().strip("[]") for name in (public, listen) if name and not _is_any(name))


class Origins:
    """The web pages that may ask. A request that says it comes from another page is refused, whatever it wants."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self._allowed = frozenset(origin.lower().encode() for origin in settings.origins)

    def allow(self, origin: bytes) -> bool:
        return origin.lower() in self._allowed

    @staticmethod
    def answer(origin: bytes) -> list[tuple[bytes, bytes]]:
        """The headers that let the page read the answer."""
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"ETag, Retry-After, Location"),
        ]

    @staticmethod
    def preflight(origin: bytes) -> list[tuple[bytes, bytes]]:
        """The headers that let the page ask. Never credentials: there are no cookies here."""
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID"),
            (b"access-control-max-age", b"600"),
        ]


def _is_any(name: str) -> bool:
    """Whether that is no address but all of them."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_unspecified
    except ValueError:
        return False

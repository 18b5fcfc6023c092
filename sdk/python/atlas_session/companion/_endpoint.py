"""Where the companion is, and with which key to ask it."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field

from atlas_session._canonical import split
from atlas_session.errors import Malformed

__all__ = ["Endpoint", "endpoint"]

_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_KEY = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The companion's address, taken apart, and the key for it. `prefix`: path before ``/v1``, without a slash at its end."""

    secure: bool
    host: str
    port: int
    prefix: str
    key: str = field(repr=False)

    @property
    def url(self) -> str:
        """The base URL in its canonical spelling. It holds no secret."""
        default = 443 if self.secure else 80
        port = "" if self.port == default else f":{self.port}"
        return f"{'https' if self.secure else 'http'}://{self.host}{port}{self.prefix}"


def endpoint(base_url: str | None, key: str | None, *, allow_http: bool = False) -> Endpoint:
    """The endpoint of these, or of ``ATLAS_COMPANION_URL`` and ``ATLAS_COMPANION_KEY`` where they are None.

    Raises ValueError, without the key, when one is missing or cannot be used. `http` is for loopback, or with `allow_http`.
    """
    base_url = base_url if base_url is not None else os.environ.get("ATLAS_COMPANION_URL")
    key = key if key is not None else os.environ.get("ATLAS_COMPANION_KEY")
    if not base_url:
        raise ValueError("no companion: give base_url, or set ATLAS_COMPANION_URL")
    if not key:
        raise ValueError("no key for the companion: give key, or set ATLAS_COMPANION_KEY")
    if not isinstance(key, str) or _KEY.fullmatch(key) is None:
        raise ValueError("the companion's key is printable ASCII without spaces, up to 4096 characters")
    try:
        parts = split(base_url)
    except Malformed as error:
        raise ValueError(f"the companion's URL cannot be used: {error.detail}") from None
    prefix = parts.path.rstrip("/")
    if parts.scheme not in ("http", "https") or parts.query or "?" in base_url:
        raise ValueError("the companion's URL is http or https, without a query")
    if _PATH.fullmatch(prefix) is None or "." in prefix.split("/") or ".." in prefix.split("/"):
        raise ValueError("the path of the companion's URL is made of plain words")
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.host):
        raise ValueError(
            "the companion's URL must be https, or the key travels in the clear; allow_http=True allows it"
        )
    return Endpoint(parts.scheme == "https", parts.host, parts.port, prefix, key)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

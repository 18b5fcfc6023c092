"""Where the program behind the guard listens, as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Upstream", "parse_upstream"]

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


@dataclass(frozen=True, slots=True)
class Upstream:
    """`host` without brackets and `port`, or the `path` of a Unix socket. `secure`: TLS, with the machine's authorities."""

    host: str
    port: int
    secure: bool = False
    path: str | None = None

    @property
    def host_header(self) -> bytes:
        """As the upstream itself would be asked: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}").encode("ascii")

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


def parse_upstream(text: str) -> Upstream:
    """``http://host:port``, ``https://…`` or ``unix:/path``. Raises ValueError with a sentence; it never quotes a password."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise ValueError("expected is unix:/path, with the whole path of the socket")
        return Upstream("localhost", 80, path=path)
    wanted = ValueError("expected is http://host:port, https://host:port or unix:/path, and nothing after it")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wanted from None
    if parts.scheme not in ("http", "https") or not parts.hostname or _HOST.fullmatch(parts.hostname) is None:
        raise wanted
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None or port == 0:
        raise wanted
    secure = parts.scheme == "https"
    return Upstream(parts.hostname, port or (443 if secure else 80), secure)

"""The proxy as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Literal

import httpcore

from atlas_session.guard._proxy import _http, _websocket
from atlas_session.guard._proxy._answers import answer
from atlas_session.guard._proxy._duplex import DuplexBackend
from atlas_session.guard._proxy._headers import Seen
from atlas_session.guard._proxy._http import Scope, Send
from atlas_session.guard._proxy._upload import Receive
from atlas_session.guard._proxy._upstream import Upstream, parse_upstream

__all__ = ["CONNECT_TIMEOUT_S", "HostHeader", "ProxyApp", "seen_directly"]

CONNECT_TIMEOUT_S = 5.0
#: Shorter than what servers usually keep an idle connection for (2 to 5 s), so that they rarely close one as we use it.
_IDLE_S = 1.5

HostHeader = Literal["client", "upstream"]


class ProxyApp:
    """Passes HTTP and WebSockets on to one upstream.

    Args:
        upstream: ``http://host:port``, ``https://host:port`` or ``unix:/path``, or parsed already.
        host_header: Whether the upstream sees the visitor's Host or its own.
        connect_timeout_s: Seconds until 504. Nothing else has a time-out: an answer may take hours.
        look: Who the visitor is and what it asked for, of a scope; default: what the connection and Host say.

    Raises ValueError for an upstream that is none.
    """

    def __init__(
        self,
        upstream: str | Upstream,
        *,
        host_header: HostHeader = "client",
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        look: Callable[[Scope], Seen] | None = None,
    ) -> None:
        self.upstream = parse_upstream(upstream) if isinstance(upstream, str) else upstream
        self._host = self.upstream.host_header if host_header == "upstream" else None
        self._connect_timeout_s = connect_timeout_s
        self._look = look or seen_directly
        self._tls = ssl.create_default_context() if self.upstream.secure else None
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=None,  # one slow visitor never makes another one wait
            max_keepalive_connections=100,
            keepalive_expiry=_IDLE_S,
            uds=self.upstream.path,
            network_backend=DuplexBackend(),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        seen = self._look(scope)
        if scope["type"] == "websocket":
            await _websocket.forward(
                scope,
                receive,
                send,
                upstream=self.upstream,
                seen=seen,
                host=self._host,
                tls=self._tls,
                connect_timeout_s=self._connect_timeout_s,
            )
        elif scope["method"] in ("CONNECT", "TRACE"):
            await answer(send, 501, "not implemented", close=True)
        else:
            await _http.forward(
                scope,
                receive,
                send,
                pool=self._pool,
                upstream=self.upstream,
                seen=seen,
                host=self._host,
                connect_timeout_s=self._connect_timeout_s,
            )

    async def healthy(self) -> bool:
        """Whether the upstream takes a connection now."""
        upstream = self.upstream
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if upstream.path is not None:
                    _, writer = await asyncio.open_unix_connection(upstream.path)
                else:
                    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def aclose(self) -> None:
        """Close the connections that are kept for the next request."""
        await self._pool.aclose()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


def seen_directly(scope: Scope) -> Seen:
    """What the connection and the Host header say."""
    client = scope.get("client")
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return Seen(client[0] if client else None, scope.get("scheme", "http"), host)

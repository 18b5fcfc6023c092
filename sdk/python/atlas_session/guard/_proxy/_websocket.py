"""One WebSocket, passed on: the upstream is asked before the visitor is let in, then messages go both ways, one at a time.

Each leg has its own handshake, its own pings and no compression. A message is whole before it is passed on, so that it
may have at most `MAX_MESSAGE_BYTES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Sequence

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers as TextHeaders
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from atlas_session.guard._proxy._answers import answer_handshake
from atlas_session.guard._proxy._codes import Close, for_upstream, for_visitor
from atlas_session.guard._proxy._headers import (
    Headers,
    Seen,
    accept_headers,
    handshake_headers,
    host_of,
    response_headers,
)
from atlas_session.guard._proxy._http import Scope, Send, target_of
from atlas_session.guard._proxy._tasks import race, settle
from atlas_session.guard._proxy._upload import Receive
from atlas_session.guard._proxy._upstream import Upstream

__all__ = ["MAX_MESSAGE_BYTES", "forward"]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_PING_S = 20.0
_CLOSE_S = 5.0
_QUEUED_FRAMES = 4
_LOGGER = logging.getLogger("atlas_session.guard.websocket")
_LOGGER.setLevel(logging.INFO)  # at DEBUG the library writes down whole handshakes, cookies included
#: Older releases of websockets write headers as UTF-8.
_CODEC = "latin-1" if TextHeaders(x="\xe9").serialize().count(b"\xe9") else "utf-8"


class _Handshake(ClientProtocol):
    """A handshake with the visitor's Host, where it is wanted."""

    host: str

    def connect(self) -> Request:
        request = super().connect()
        del request.headers["Host"]
        request.headers["Host"] = self.host
        return request


async def forward(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    upstream: Upstream,
    seen: Seen,
    host: bytes | None,
    tls: ssl.SSLContext | None,
    connect_timeout_s: float,
) -> None:
    """Pass one WebSocket on until either side ends it; the other is then told (see `_codes`)."""
    if (await receive())["type"] != "websocket.connect":
        return
    asked = _Asked(scope, upstream, seen, host)

    async def shake_hands() -> None:
        await asked.ask(tls, connect_timeout_s)

    async def leave() -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass  # nobody sends anything before the handshake's end

    try:
        if not await race(shake_hands(), leave()):
            return
        if asked.refusal is not None:
            await _refuse(scope, send, asked.refusal)
        elif asked.connection is not None:
            await _accept(asked.connection, send)
            await _pass_on(asked.connection, receive, send)
    finally:
        if asked.connection is not None:
            asked.connection.transport.abort()


class _Asked:
    """An upstream that is asked for a WebSocket: afterwards there is a connection, or a refusal for the visitor."""

    def __init__(self, scope: Scope, upstream: Upstream, seen: Seen, host: bytes | None) -> None:
        self._scope, self._upstream, self._seen, self._host = scope, upstream, seen, host
        self.connection: ClientConnection | None = None
        self.refusal: tuple[int, str] | Response | None = None

    async def ask(self, tls: ssl.SSLContext | None, connect_timeout_s: float) -> None:
        try:
            passed = handshake_headers(self._scope["headers"], self._seen)
            text = [(name.decode("ascii"), value.decode(_CODEC)) for name, value in passed]
            host = (host_of(self._scope["headers"], self._seen) if self._host is None else self._host).decode("ascii")
            protocol = _protocol(self._scope, self._upstream, host)
            async with asyncio.timeout(connect_timeout_s):
                self.connection = await _connect(protocol, self._upstream, tls)
            await self.connection.handshake(TextHeaders(text), None)
            self.connection.start_keepalive()
        except UnicodeError:
            self.refusal = 400, "bad request"
        except TimeoutError:
            self.refusal = 504, "the program behind the guard cannot be reached in time"
        except InvalidStatus as error:
            self.refusal = error.response
        except (OSError, InvalidHandshake, EOFError, ConnectionClosed, ValueError) as error:
            _LOGGER.warning("the upstream refused a WebSocket: %s", type(error).__name__)
            self.refusal = 502, "the program behind the guard cannot be reached"


def _protocol(scope: Scope, upstream: Upstream, host: str) -> _Handshake:
    offered: Sequence[Subprotocol] = [Subprotocol(name) for name in scope.get("subprotocols") or ()]
    # The whole target stands in `path`: nothing of it is parsed or spelled anew.
    uri = WebSocketURI(upstream.secure, upstream.host, upstream.port, target_of(scope).decode("ascii"), "")
    protocol = _Handshake(uri, subprotocols=offered or None, max_size=MAX_MESSAGE_BYTES, logger=_LOGGER)
    protocol.host = host
    return protocol


async def _connect(protocol: ClientProtocol, upstream: Upstream, tls: ssl.SSLContext | None) -> ClientConnection:
    """An open connection. Not `websockets.connect`: that follows redirects and takes proxies from the environment."""

    def made() -> ClientConnection:
        # A program that computes for a minute answers no pings meanwhile; the ping only keeps the connection known.
        return ClientConnection(
            protocol, ping_interval=_PING_S, ping_timeout=None, close_timeout=_CLOSE_S, max_queue=_QUEUED_FRAMES
        )

    loop = asyncio.get_running_loop()
    if upstream.path is not None:
        return (await loop.create_unix_connection(made, upstream.path))[1]
    name = upstream.host if tls is not None else None
    return (await loop.create_connection(made, upstream.host, upstream.port, ssl=tls, server_hostname=name))[1]


async def _accept(connection: ClientConnection, send: Send) -> None:
    response = connection.response
    headers = accept_headers(_raw(response)) if response is not None else []
    await send({"type": "websocket.accept", "subprotocol": connection.subprotocol, "headers": headers})


async def _refuse(scope: Scope, send: Send, refusal: tuple[int, str] | Response) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
    elif not isinstance(refusal, Response):
        await answer_handshake(send, *refusal)
    elif not 200 <= refusal.status_code <= 599:
        await answer_handshake(send, 502, "the program behind the guard gave no proper answer")
    else:
        status, body = refusal.status_code, bytes(refusal.body or b"")
        headers = [pair for pair in response_headers(_raw(refusal), status) if pair[0] != b"content-length"]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})


def _raw(response: Response) -> Headers:
    return [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in response.headers.raw_items()]


async def _pass_on(connection: ClientConnection, receive: Receive, send: Send) -> None:
    """Messages both ways until one side ends; then the other is told."""
    down = asyncio.create_task(_to_visitor(connection, send))
    up = asyncio.create_task(_to_upstream(connection, receive))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if up.done() and not down.done():
            left = up.result()
            if left is not None:
                await connection.close(*left)
            else:
                connection.transport.abort()
            return
        ended = down.result()
        if ended is not None:
            with contextlib.suppress(OSError):  # the visitor left meanwhile
                await send({"type": "websocket.close", "code": ended.code, "reason": ended.reason})
    finally:
        await settle((up, down))


async def _to_visitor(connection: ClientConnection, send: Send) -> Close | None:
    """How the upstream ended, or None when the visitor left."""
    while True:
        try:
            message = await connection.recv()
        except ConnectionClosed as closed:
            received, sent = closed.rcvd, closed.sent
            return for_visitor(
                None if received is None else Close(received.code, received.reason),
                None if sent is None else Close(sent.code, sent.reason),
            )
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await send({"type": "websocket.send", kind: message})
        except OSError:
            return None


async def _to_upstream(connection: ClientConnection, receive: Receive) -> Close | None:
    """How the visitor ended. When the upstream ends, this waits: the other direction knows how."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return for_upstream(message)
        text = message.get("text")
        try:
            await connection.send(text if text is not None else message["bytes"])
        except ConnectionClosed:
            await connection.wait_closed()
            await asyncio.Event().wait()

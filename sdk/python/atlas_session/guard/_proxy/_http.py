"""One HTTP request, passed on and answered: streaming both ways, and never an answer that was cut and looks whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

import httpcore

from atlas_session.guard._proxy._answers import answer
from atlas_session.guard._proxy._duplex import EXCHANGE, Exchange
from atlas_session.guard._proxy._headers import BadFraming, Seen, request_framing, request_headers, response_headers
from atlas_session.guard._proxy._tasks import race, settle
from atlas_session.guard._proxy._upload import Receive, Upload, watch
from atlas_session.guard._proxy._upstream import Upstream

__all__ = ["Scope", "Send", "UpstreamLost", "forward", "target_of"]

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LOGGER = logging.getLogger("atlas_session.guard")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: An upstream that closes an idle connection as we use it has not begun to work on the request.
_STALE = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)


class UpstreamLost(Exception):
    """The upstream ended in the middle of its answer. Raised so that the server cuts the visitor's connection."""


def target_of(scope: Scope) -> bytes:
    """Path and query in the bytes that the visitor sent (less what the guard took out)."""
    path = scope.get("raw_path") or quote(scope["path"], safe="/%:@!$&'()*+,;=~").encode("ascii")
    query = scope.get("query_string", b"")
    return bytes(path + b"?" + query if query else path)


async def forward(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    pool: httpcore.AsyncConnectionPool,
    upstream: Upstream,
    seen: Seen,
    host: bytes | None,
    connect_timeout_s: float,
) -> None:
    """Pass one request on and its answer back.

    What goes wrong before the answer begins becomes 400 (cannot be passed on), 502 or 504. Afterwards UpstreamLost is
    raised. When the visitor leaves, the upstream's connection is closed and this returns.
    """
    try:
        framing = request_framing(scope["headers"])
        request = httpcore.Request(
            scope["method"],
            httpcore.URL(
                scheme="https" if upstream.secure else "http",
                host=upstream.host,
                port=upstream.port,
                target=target_of(scope),
            ),
            headers=request_headers(scope["headers"], seen, framing, host),
            extensions={"timeout": {"connect": connect_timeout_s}},
        )
    except (BadFraming, UnicodeError):
        await answer(send, 400, "bad request", close=True)
        return
    upload = Upload(framing.length if framing.kind == "length" else None) if framing.kind != "none" else None
    if upload is not None:
        request.stream = upload
    if not await race(_exchange(scope, send, pool, request, upload), watch(receive, upload)):
        _LOGGER.debug("the visitor left")


async def _exchange(
    scope: Scope,
    send: Send,
    pool: httpcore.AsyncConnectionPool,
    request: httpcore.Request,
    upload: Upload | None,
) -> None:
    exchange = Exchange()
    token = EXCHANGE.set(exchange)
    try:
        response = await _ask(pool, request, exchange, may_repeat=upload is None and scope["method"] in _SAFE)
    except httpcore.ConnectTimeout:
        await answer(send, 504, "the program behind the guard cannot be reached in time")
        return
    except httpcore.LocalProtocolError:
        await answer(send, 400, "bad request", close=True)
        return
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
        _LOGGER.warning("the upstream cannot be reached, or its answer not be read: %s", type(error).__name__)
        await answer(send, 502, "the program behind the guard cannot be reached")
        return
    finally:
        EXCHANGE.reset(token)
    sending = None
    if upload is not None and upload.incomplete and exchange.stream is not None:
        sending = asyncio.create_task(upload.send_rest(exchange.stream))
    try:
        await _answer_with(response, send)
    finally:
        if sending is not None:
            await settle([sending])
        await response.aclose()


async def _ask(
    pool: httpcore.AsyncConnectionPool, request: httpcore.Request, exchange: Exchange, *, may_repeat: bool
) -> httpcore.Response:
    """Send, and read the answer's head. A safe request is repeated once when an idle connection was closed under it."""
    try:
        return await pool.handle_async_request(request)
    except _STALE:
        if not (may_repeat and exchange.reused):
            raise
    return await pool.handle_async_request(request)


async def _answer_with(response: httpcore.Response, send: Send) -> None:
    if not 200 <= response.status <= 599:  # 101: nobody asked for another protocol
        await answer(send, 502, "the program behind the guard gave no proper answer")
        return
    headers = response_headers(response.headers, response.status)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    try:
        async for piece in response.aiter_stream():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise UpstreamLost(f"the upstream ended in the middle of its answer ({type(error).__name__})") from None
    await send({"type": "http.response.body", "body": b"", "more_body": False})

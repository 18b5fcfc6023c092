"""The proxy's own answers: one line of text that says nothing of what is inside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["answer", "answer_handshake"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def answer(send: Send, status: int, text: str, *, close: bool = False) -> None:
    """Send a whole answer to an HTTP request; `close`: the connection is not used again."""
    headers = _headers(text) + ([(b"connection", b"close")] if close else [])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": _body(text)})


async def answer_handshake(send: Send, status: int, text: str) -> None:
    """Refuse a WebSocket handshake; the server must know the extension ``websocket.http.response``."""
    await send({"type": "websocket.http.response.start", "status": status, "headers": _headers(text)})
    await send({"type": "websocket.http.response.body", "body": _body(text)})


def _body(text: str) -> bytes:
    return text.encode("utf-8") + b"\n"


def _headers(text: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(_body(text))),
        (b"cache-control", b"no-store"),
    ]

"""uvicorn's connection, with bounds that it has not: heads that come slowly or without end, and refusals as problems."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.problem import MEDIA_TYPE

__all__ = ["connection_class"]


def connection_class(bounds: Bounds) -> type[HttpToolsProtocol]:
    """The class of connections within these bounds."""
    return type("BoundedConnection", (_Connection,), {"bounds": bounds})


class _Connection(HttpToolsProtocol):
    """A head has `head_s` seconds and `head_bytes` bytes, from the connection's beginning or the first byte of the next."""

    bounds: Bounds
    _waiting: asyncio.TimerHandle | None = None
    _size = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._size = 0
        self._wait_for_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_is_there()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        told = {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "not a request that can be read",
        }
        body = json.dumps(told).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _wait_for_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.bounds.head_s, self._too_late)

    def _head_is_there(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_late(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.close()

    def _count(self, size: int) -> None:
        self._size += size + 4
        if self._size > self.bounds.head_bytes:
            raise ValueError("the head of the request is too long")

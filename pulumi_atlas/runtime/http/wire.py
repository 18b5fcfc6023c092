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
    """A request that has not arrived after `head_s` seconds is cut off before twice as many have passed, and a head of more
    than `head_bytes` bytes at once. Neither costs a request that comes as it should a timer of its own.
    """

    bounds: Bounds
    _looking: asyncio.TimerHandle | None = None
    _arriving: object = None  # what was on its way when we last looked
    _seen: object = None
    _size = 0  # bytes since the request that `_seen` stands for

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._looking = self.loop.call_later(self.bounds.head_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        if cycle is not self._seen:
            self._seen, self._size = cycle, 0
        self._size += len(data)
        super().data_received(data)
        if self._size > self.bounds.head_bytes and self.cycle is cycle and self._is_between:
            self.logger.warning("the head of a request is too long")
            self.send_400_response("")

    @property
    def _is_between(self) -> bool:
        """No request is being answered: a head may be arriving."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        """Is what was arriving last time still arriving? A request that is complete gives way to another `cycle`."""
        arriving: object = None
        if self._is_between:
            arriving = ("head", self.cycle) if self.timeout_keep_alive_task is None else None
        elif self.cycle.more_body:
            arriving = ("body", self.cycle)
        if arriving is not None and arriving == self._arriving and not self.transport.is_closing():
            self.transport.close()
        self._arriving = arriving
        self._looking = self.loop.call_later(self.bounds.head_s, self._look)

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

"""A network backend for httpcore that notices an answer before the request's body has been sent.

httpcore sends all of a request and then reads. An upstream that refuses an upload at once (413), or answers while it
still reads (a stream in both directions), would then wait for us while we wait for it. So while a body is on its way
the stream reads one piece ahead; when there is one, httpcore is told to stop writing (WriteError, upon which it reads
the answer, as for an upstream that closed early) and the rest of the body is sent beside it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import anyio  # noqa: F401 (httpcore's backend needs it, and would say so at the first request only)
import httpcore

from atlas_session.guard._proxy._tasks import settle

__all__ = ["EXCHANGE", "DuplexBackend", "DuplexStream", "Exchange"]

_READ_BYTES = 64 * 1024


class Exchange:
    """What one request learns of its connection: its stream, and whether others used it before."""

    def __init__(self) -> None:
        self.stream: DuplexStream | None = None
        self.reused = False


#: The exchange that the current task is busy with.
EXCHANGE: ContextVar[Exchange | None] = ContextVar("atlas_exchange", default=None)


class DuplexStream(httpcore.AsyncNetworkStream):
    """One connection. Only one exchange uses it at a time."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._used = False
        self._ahead: asyncio.Task[bytes] | None = None
        self._unfinished: asyncio.Task[None] | None = None

    @property
    def answered(self) -> bool:
        """Whether the upstream has sent something (or ended) since `read_ahead`."""
        return self._ahead is not None and self._ahead.done()

    def read_ahead(self, wake: Callable[[], None]) -> None:
        """Begin to read; call `wake` when there is something, be it the end."""
        if self._ahead is None:
            self._ahead = asyncio.create_task(self._inner.read(_READ_BYTES))
            self._ahead.add_done_callback(lambda _: wake())

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._ahead is None:
            return await self._inner.read(max_bytes, timeout)
        ahead = self._ahead
        try:
            return await ahead
        finally:
            self._ahead = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        exchange = EXCHANGE.get()
        if exchange is not None and exchange.stream is not self:
            exchange.stream, exchange.reused, self._used = self, self._used, True
        if self._ahead is None:
            await self._inner.write(buffer, timeout)
            return
        writing = asyncio.create_task(self._inner.write(buffer, timeout))
        try:
            await asyncio.wait({writing, self._ahead}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await settle([writing])
            raise
        if writing.done():
            writing.result()
            return
        self._unfinished = writing
        raise httpcore.WriteError("answered before all was sent")

    async def write_beside(self, buffer: bytes) -> None:
        """Write while httpcore reads, after what it could not finish writing."""
        if self._unfinished is not None:
            unfinished, self._unfinished = self._unfinished, None
            await unfinished
        await self._inner.write(buffer)

    async def aclose(self) -> None:
        tasks = [task for task in (self._ahead, self._unfinished) if task is not None]
        self._ahead = self._unfinished = None
        try:
            await settle(tasks)
        finally:
            await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return DuplexStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class DuplexBackend(httpcore.AsyncNetworkBackend):
    """httpcore's own backend, with our streams."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return DuplexStream(await self._inner.connect_tcp(host, port, timeout, local_address, socket_options))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        return DuplexStream(await self._inner.connect_unix_socket(path, timeout, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

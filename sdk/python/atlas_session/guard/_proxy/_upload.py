"""A request's body on its way from the visitor to the upstream: one piece at a time, taken when there is room for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpcore

from atlas_session.guard._proxy._duplex import EXCHANGE, DuplexStream

__all__ = ["Receive", "Upload", "watch"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Upload:
    """What the visitor sends, for one reader. The visitor's server is asked for the next piece when the last was taken.

    `length`: how many bytes were announced; None: it is sent in chunks.
    """

    def __init__(self, length: int | None) -> None:
        self._chunked = length is None
        self._left = length
        self._piece: bytes | None = None
        self._ended = False
        self._taken_last = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.wanted = asyncio.Event()

    async def put(self, piece: bytes, *, last: bool) -> None:
        """Hand over a piece; waits until the one before was taken."""
        await self._room.wait()
        self._room.clear()
        self._piece, self._ended = piece, last
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """For httpcore, once: the pieces. Raises WriteError when the upstream answers before the end (see `_duplex`).

        Raises LocalProtocolError when they are more or fewer bytes than were announced.
        """
        self.wanted.set()
        exchange = EXCHANGE.get()
        stream = None if exchange is None else exchange.stream
        while not self._taken_last:
            await self._something(stream)
            if self._piece is None:
                raise httpcore.WriteError("answered before all was sent")
            piece = self._take()
            if piece:
                yield piece

    async def send_rest(self, stream: DuplexStream) -> None:
        """Write what httpcore did not, while it reads the answer. Ends at the end, or when the upstream takes no more."""
        try:
            while not self._taken_last:
                await self._something(None)
                piece = self._take()
                if piece:
                    await stream.write_beside(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
            await stream.write_beside(b"0\r\n\r\n" if self._chunked else b"")
        except (httpcore.WriteError, httpcore.LocalProtocolError):
            pass  # it has its reasons; the answer says them

    @property
    def incomplete(self) -> bool:
        """Whether something is left to send."""
        return self.wanted.is_set() and not self._taken_last

    async def _something(self, stream: DuplexStream | None) -> None:
        """Wait for a piece, or for the upstream's answer."""
        while self._piece is None:
            if stream is not None:
                stream.read_ahead(self._wake.set)
                if stream.answered:
                    return
            await self._wake.wait()
            self._wake.clear()
        self._wake.clear()

    def _take(self) -> bytes:
        piece, self._piece = self._piece or b"", None
        self._taken_last = self._ended
        self._room.set()
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0 or (self._taken_last and self._left):
                raise httpcore.LocalProtocolError("a body of another length than was announced")
        return piece


async def watch(receive: Receive, upload: Upload | None) -> None:
    """Read what the visitor sends into `upload`, once it is wanted. Returns when the visitor leaves."""
    more = upload is not None
    if upload is not None:
        await upload.wanted.wait()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if upload is not None and more:
            more = message.get("more_body", False)
            await upload.put(message.get("body", b""), last=not more)

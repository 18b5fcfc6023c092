"""uvicorn's HTTP protocol with a bound on what a visitor can make us hold, and without upgrades that nobody asked us for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atlas_session.guard._proxy._room import Room

__all__ = ["HEAD_TIMEOUT_S", "MAX_HEAD_BYTES", "BoundedProtocol", "in_room"]

#: Until a request's head is whole, from the connection on, or from the first byte after an answer.
HEAD_TIMEOUT_S = 30.0

#: Request line and headers; and what is neither head nor body: trailers, and what may stand beside a chunk's size.
#: Up to one read (256 KiB) more may be accepted: this bounds memory, and is no exact rule.
MAX_HEAD_BYTES = 64 * 1024
_FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request's head does not end or does not come, and takes no trailer for a header.

    An upgrade to anything but WebSocket is not taken up, as a server may: the request is one of HTTP/1.1, and where its
    body ends is said by its head. (The parser takes all that follows for the other protocol, and then for a request.)
    """

    room: ClassVar[Room | None] = None

    _in_head = True
    _held = 0
    _patience: asyncio.TimerHandle | None = None
    _moved = False
    _is_deaf = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.room is not None and not self.room.admit(len(self.connections)):
            transport.write(_FULL)
            transport.close()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._moved = False, True
        if self._is_foreign():
            return
        super().on_headers_complete()
        self._wait_no_more()
        if self.parser.get_method() == b"CONNECT":
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        if not self._is_foreign():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.room is not None and self._is_waiting():
            self.room.wait(self)  # for so long as connections are kept

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self._is_deaf:
            return
        self._unset_keepalive_if_required()
        self._moved = False
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._refuse("Invalid HTTP request received.")
            return
        self._held = 0 if self._moved else self._held + len(data)
        if self._held > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse("Request header fields too large.")
        if self._is_waiting():
            self._wait()

    def _feed(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                self.parser.feed_data(left)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if not self._is_foreign():
                    self._leave()
                    return
                left = left[upgrade.args[0] :]
                self._begin_anew()

    def _leave(self) -> None:
        """No request follows a WebSocket's handshake, nor CONNECT."""
        self._is_deaf = True
        if self._should_upgrade():
            self.handle_websocket_upgrade()

    def _is_foreign(self) -> bool:
        """Whether the head asks for another protocol, and not for WebSocket."""
        asked = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        return asked and not self._should_upgrade()

    def _begin_anew(self) -> None:
        """Read the head again, without its Upgrade; what follows it is then read as it says."""
        line = b"%b %b HTTP/%b\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode("ascii"),
        )
        fields = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(AttributeError):  # as uvicorn does: a visitor may send more after `Connection: close`
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"".join([line, *fields, b"\r\n"]))

    def _refuse(self, text: str) -> None:
        """400, unless an answer has begun: then it is cut."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
        else:
            self.send_400_response(text)

    def _is_waiting(self) -> bool:
        """Whether the visitor is owed no answer: it is its turn, or it sends what nobody reads any more."""
        return not self._is_deaf and (self.cycle is None or self.cycle.response_complete)

    def _wait(self) -> None:
        """For the head, once: whatever comes that is none does not prolong it."""
        if self.room is not None:
            self.room.wait(self)
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _wait_no_more(self) -> None:
        if self.room is not None:
            self.room.leave(self)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def in_room(room: Room) -> type[BoundedProtocol]:
    """The protocol of a server that has so much room."""
    return type("BoundedProtocol", (BoundedProtocol,), {"room": room})

"""uvicorn's HTTP protocol with a bound on what a visitor can make us hold, and without upgrades that nobody asked us for."""

from __future__ import annotations

import contextlib

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["MAX_HEAD_BYTES", "BoundedProtocol"]

#: Request line and headers; and what is neither head nor body: trailers, and what may stand beside a chunk's size.
#: Up to one read (256 KiB) more may be accepted: this bounds memory, and is no exact rule.
MAX_HEAD_BYTES = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request's head does not end, and takes no trailer for a header.

    An upgrade to anything but WebSocket is not taken up, as a server may: the request is one of HTTP/1.1, and where its
    body ends is said by its head. (The parser takes all that follows for the other protocol, and then for a request.)
    """

    _in_head = True
    _held = 0
    _moved = False
    _is_deaf = False

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
        if self.parser.get_method() == b"CONNECT":
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        if not self._is_foreign():
            super().on_message_complete()

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
        if self._should_upgrade():
            self.handle_websocket_upgrade()
        else:
            self._is_deaf = True

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

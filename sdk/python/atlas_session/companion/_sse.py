"""Server-sent events, parsed as the WHATWG's HTML standard says (section 9.2.6), a piece of bytes at a time.

However the bytes are cut, the messages are the same. A message that the stream broke off in is not given.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Message", "Parser", "TooLong"]

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"[\r\n]")
_CR, _LF = 0x0D, 0x0A
_DIGITS = re.compile(r"[0-9]{1,9}")


class TooLong(ValueError):
    """A message, or a line of one, is longer than the parser keeps."""


class Message(NamedTuple):
    """A message: the last id that the stream gave, the event's type (``message`` where it has none), its data."""

    id: str
    event: str
    data: str


class Parser:
    """Feed it bytes, get messages.

    `last_event_id`: where the stream stands, as of the last blank line. `retry_ms`: what the server last asked for, or None.
    `limit`: the most bytes that one message may have.
    """

    def __init__(self, last_event_id: str = "", *, limit: int = 1 << 20) -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._limit = limit
        self._id = last_event_id
        self._event = ""
        self._data: list[str] = []
        self._size = 0
        self._rest = bytearray()
        self._begun = False
        self._after_cr = False

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that these bytes complete. Raises TooLong."""
        scan = len(self._rest)  # what was there before holds no line end
        self._rest += piece
        if not self._begun:
            if not self._begin():
                return []
            scan = 0
        messages: list[Message] = []
        start = 0
        while (found := _LINE_END.search(self._rest, scan)) is not None:
            end, scan = found.start(), found.end()
            after_cr, self._after_cr = self._after_cr, self._rest[end] == _CR
            if not (after_cr and end == start and self._rest[end] == _LF):  # else the second half of a CRLF
                self._line(bytes(self._rest[start:end]), messages)
            start = scan
        del self._rest[:start]
        self._check(len(self._rest))
        return messages

    def _check(self, line: int) -> None:
        if line + self._size > self._limit:
            raise TooLong(f"more than {self._limit:,} bytes in one event")

    def _begin(self) -> bool:
        """Take the byte order mark off the front. False while it cannot be told yet whether there is one."""
        if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
            return False
        if self._rest.startswith(_BOM):
            del self._rest[: len(_BOM)]
        self._begun = True
        return True

    def _line(self, line: bytes, messages: list[Message]) -> None:
        if not line:
            self._dispatch(messages)
            return
        self._check(len(line))
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(line)
        elif name == "event":
            self._event = value
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif name == "retry" and _DIGITS.fullmatch(value) is not None:
            self.retry_ms = int(value)

    def _dispatch(self, messages: list[Message]) -> None:
        self.last_event_id = self._id
        if self._data:
            messages.append(Message(self._id, self._event or "message", "\n".join(self._data)))
        self._event, self._data, self._size = "", [], 0

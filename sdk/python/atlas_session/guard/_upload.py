"""The body of a WSGI request, counted while it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["CountedInput"]

#: A larger read is made in pieces of this size, so that a long upload counts while it runs, not at its end.
_PIECE = 256 * 1024


class CountedInput:
    """As ``wsgi.input`` of PEP 3333; `note` is called for each piece that arrives."""

    def __init__(self, stream: Any, note: Callable[[], None]) -> None:
        self._stream = stream
        self._note = note

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and 0 <= size <= _PIECE:
            return self._noted(self._stream.read(size))
        left = None if size is None or size < 0 else size
        pieces = []
        while left is None or left > 0:
            piece = self._noted(self._stream.read(_PIECE if left is None else min(_PIECE, left)))
            if not piece:
                break
            pieces.append(piece)
            left = None if left is None else left - len(piece)
        return b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        return self._noted(self._stream.readline(*(() if size is None or size < 0 else (size,))))

    def readlines(self, hint: int | None = None) -> list[bytes]:
        lines, total = [], 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _noted(self, piece: bytes) -> bytes:
        if piece:
            self._note()
        return piece

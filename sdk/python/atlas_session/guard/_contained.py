"""A call of a WSGI application whose mistakes stay here: servers log them with the whole URL, and so with the grant in it."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["Contained"]

_log = logging.getLogger("atlas_session.guard")

_BODY = b"internal server error\n"
_HEADERS = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(_BODY))),
    ("Cache-Control", "no-store"),
]


class Contained:
    """One request. `call` gives what the server is to send.

    The server hears of the answer with its first piece: until then a mistake becomes a 500, and afterwards the connection
    is cut with a ConnectionResetError, which servers take for a visitor that has gone.
    """

    def __init__(self, start_response: Callable[..., Any], *, head: bool) -> None:
        self._start_response = start_response
        self._head = head
        self._waiting: tuple[Any, Any] | None = None  # status and headers
        self._begun = False
        self._write: Any = None
        self._pieces: Iterable[bytes] = ()

    def call(self, app: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> Iterable[bytes]:
        """What is a list or a file for the server to send goes out as it is."""
        wrapper = environ.get("wsgi.file_wrapper")
        try:
            self._pieces = app(environ, self._start)
            if isinstance(self._pieces, list | tuple) or (isinstance(wrapper, type) and type(self._pieces) is wrapper):
                self._begin()
                return self._pieces
        except Exception:  # noqa: BLE001 (whatever it is, the server would log the URL with it)
            return [self._failed()]
        return self

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._pieces:
                self._begin()
                yield piece
            self._begin()
        except Exception:  # noqa: BLE001 (as above)
            yield self._failed()

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            try:
                close()
            except Exception:  # noqa: BLE001 (as above)
                _log.exception("the application failed")

    def _start(self, status: Any, headers: Any, exc_info: Any = None) -> Callable[[bytes], Any]:
        """As ``start_response`` of PEP 3333."""
        if exc_info is None and self._waiting is not None:
            raise AssertionError("start_response was called twice")
        if self._begun:
            raise exc_info[1].with_traceback(exc_info[2])
        self._waiting = (status, headers)
        return self._written

    def _written(self, piece: bytes) -> None:
        self._begin()
        self._write(piece)

    def _begin(self) -> None:
        if self._begun:
            return
        if self._waiting is None:
            raise RuntimeError("the application has not called start_response")
        self._begun = True
        self._write = self._start_response(*self._waiting)

    def _failed(self) -> bytes:
        """The body of the answer. Raises ConnectionResetError where another one has begun."""
        _log.exception("the application failed")
        if self._begun:
            raise ConnectionResetError(errno.ECONNRESET, "the application failed") from None
        self._begun = True
        self._start_response("500 Internal Server Error", list(_HEADERS))
        return b"" if self._head else _BODY

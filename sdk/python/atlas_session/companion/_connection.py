"""One HTTP/1.1 connection to the companion, on which nothing waits without end."""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import ssl
import threading
from typing import Any

from atlas_session.companion._clock import Clock
from atlas_session.companion._endpoint import Endpoint

__all__ = ["Aborted", "Connection", "Ticket", "verifying"]


class Aborted(OSError):
    """Somebody aborted the request."""


class Connection:
    """A connection. `deadline`: by the monotonic clock, the end of the answer that is being read; None for a stream.

    Each read waits at most `read_s`, and none goes beyond the deadline, so that an answer that trickles in ends too.
    """

    def __init__(
        self, endpoint: Endpoint, *, connect_s: float, read_s: float, tls: ssl.SSLContext | None, clock: Clock
    ) -> None:
        host = endpoint.host.strip("[]")
        self._http = (
            http.client.HTTPSConnection(host, endpoint.port, timeout=connect_s, context=tls)
            if endpoint.secure
            else http.client.HTTPConnection(host, endpoint.port, timeout=connect_s)
        )
        self._http.response_class = self._response  # type: ignore[assignment]
        self._clock = clock
        self._sock: socket.socket | None = None
        self._answer: http.client.HTTPResponse | None = None
        self.read_s = read_s
        self.deadline: float | None = None

    def connect(self) -> None:
        self._http.connect()
        self._sock = self._http.sock

    def ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str | bytes]
    ) -> http.client.HTTPResponse:
        self._http.sock.settimeout(self.read_s)
        self._http.request(method, path, body, headers)
        self._answer = self._http.getresponse()
        return self._answer

    def is_stale(self) -> bool:
        """Whether the companion closed it, or sent something that nobody asked for, while it was kept."""
        try:
            poll = select.poll()
            poll.register(self._http.sock, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError, AttributeError, TypeError):
            return True

    def shut(self) -> None:
        """Wake whoever reads or writes on it, from another thread. It must still be closed."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # not SSLSocket's, which is not for two threads

    def close(self) -> None:
        self._http.close()
        if self._answer is not None:
            self._answer.close()

    def left_s(self) -> float:
        """Seconds that the next read may wait. Raises TimeoutError when there are none left."""
        if self.deadline is None:
            return self.read_s
        left = self.deadline - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        return min(self.read_s, left)

    def _response(self, sock: Any, *args: Any, **options: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_Timed(sock, self), *args, **options)  # type: ignore[arg-type]


class _Timed:
    """What HTTPResponse takes for a socket: it asks for one file to read from."""

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self._sock, self._connection = sock, connection

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedFile(self._sock, self._connection))


class _TimedFile(io.RawIOBase):
    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self._sock, self._connection = sock, connection
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open while it is read from

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._connection.left_s())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class Ticket:
    """What another thread holds of a request, to abort it; the connection that it is on is woken and not used again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self.aborted = False

    def hold(self, connection: Connection) -> None:
        """The request goes out on this connection. Raises Aborted when it is too late for that."""
        with self._lock:
            if self.aborted:
                raise Aborted("aborted")
            self._connection = connection

    def drop(self) -> None:
        """The request is over; its connection may serve another."""
        with self._lock:
            self._connection = None

    def abort(self) -> None:
        with self._lock:
            self.aborted = True
            if self._connection is not None:
                self._connection.shut()


def verifying(context: ssl.SSLContext | None) -> ssl.SSLContext:
    """The context, or the system's. Raises ValueError for one that does not verify whom it speaks to."""
    if context is None:
        return ssl.create_default_context()
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ValueError("the TLS context must verify certificates and host names")
    return context

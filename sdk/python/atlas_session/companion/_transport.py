"""Requests on connections: a few are kept open for the next request, and every failure is one of `errors`.

May be used from several threads. No proxy of the environment is used, and no redirect is followed.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar

from atlas_session import __version__
from atlas_session.companion._answers import Answer, unreachable
from atlas_session.companion._clock import Clock
from atlas_session.companion._connection import Connection, Ticket, verifying
from atlas_session.companion._endpoint import Endpoint
from atlas_session.companion._requests import Request
from atlas_session.companion.errors import BadAnswer, Unreachable

__all__ = ["ClientClosed", "Stream", "Transport"]

T = TypeVar("T")

#: The longest answer that is read, and connections that are kept, and for how many seconds.
MAX_ANSWER = 1 << 20
_MAX_KEPT, _KEPT_S = 8, 60.0
_PIECE = 1 << 16

#: How it shows that the other side closed a connection while it was kept.
_HUNG_UP = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class ClientClosed(RuntimeError):
    """The client was closed."""


class Transport:
    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_s: float,
        read_s: float,
        quiet_s: float,
        tls: ssl.SSLContext | None,
        clock: Clock,
    ) -> None:
        for name, value in (("connect", connect_s), ("read", read_s), ("quiet", quiet_s)):
            if not 0 < value <= 3600:
                raise ValueError(f"the {name} time-out is seconds, more than 0 and up to 3600")
        self.endpoint = endpoint
        self._connect_s, self._read_s, self._quiet_s = connect_s, read_s, quiet_s
        self._tls = verifying(tls) if endpoint.secure or tls is not None else None
        self._clock = clock
        self._headers = {"Authorization": f"Bearer {endpoint.key}", "User-Agent": f"atlas-session/{__version__}"}
        self._lock = threading.Lock()
        self._kept: list[tuple[Connection, float]] = []
        self._running: set[Ticket] = set()
        self._closed = threading.Event()
        self._pid = os.getpid()

    def send(self, request: Request, ticket: Ticket | None = None) -> Answer:
        """The answer, whatever its status. Raises Unreachable, or BadAnswer for one that is too long or not HTTP.

        A request that must not be repeated goes out on a new connection: a kept one may turn out to be closed.
        """
        ticket = ticket or Ticket()
        self._enter(ticket)
        try:
            kept = self._take() if request.safe else None
            if kept is not None:
                try:
                    return self._exchange(request, kept, ticket)
                except Unreachable as error:
                    if not isinstance(error.__cause__, _HUNG_UP) or ticket.aborted:
                        raise
            return self._exchange(request, self._new(request, ticket), ticket)
        except Unreachable:
            self.check_open()
            raise
        finally:
            self._leave(ticket)

    def open(self, request: Request, ticket: Ticket) -> tuple[Answer, Stream | None]:
        """A stream of bytes when the answer is 200 with one; else the answer alone. Errors as `send`."""
        self._enter(ticket)
        stream = None
        try:
            connection = self._new(request, ticket)
            try:
                response = _guard(request, lambda: self._ask(request, connection, ticket))
                answer = _answer(response, b"")
                if answer.status == 200 and answer.media_type == "text/event-stream":
                    connection.deadline, connection.read_s = None, self._quiet_s
                    stream = Stream(request, connection, response, lambda: self._leave(ticket))
                    return answer, stream
                return _answer(response, _guard(request, lambda: _body(request, response))), None
            finally:
                if stream is None:
                    _discard(connection, ticket)
        except Unreachable:
            self.check_open()
            raise
        finally:
            if stream is None:
                self._leave(ticket)

    def wait(self, seconds: float) -> None:
        """Let that much time pass. Raises ClientClosed as soon as the client is closed."""
        self._clock.wait(self._closed, seconds)
        self.check_open()

    def close(self) -> None:
        """Wake and fail what is under way, and close what is kept. May be called twice."""
        with self._lock:
            self._closed.set()
            kept, self._kept = self._kept, []
            running = list(self._running)
        for ticket in running:
            ticket.abort()
        for connection, _ in kept:
            connection.close()

    def check_open(self) -> None:
        """Raises ClientClosed when the client was closed."""
        if self._closed.is_set():
            raise ClientClosed("the companion client is closed")

    def _enter(self, ticket: Ticket) -> None:
        with self._lock:
            self.check_open()
            self._running.add(ticket)

    def _leave(self, ticket: Ticket) -> None:
        with self._lock:
            self._running.discard(ticket)

    def _exchange(self, request: Request, connection: Connection, ticket: Ticket) -> Answer:
        done = False
        try:
            response = _guard(request, lambda: self._ask(request, connection, ticket))
            body = _guard(request, lambda: _body(request, response))
            done = not response.will_close
            return _answer(response, body)
        finally:
            ticket.drop()
            if done and not ticket.aborted:
                self._keep(connection)
            else:
                connection.close()

    def _ask(self, request: Request, connection: Connection, ticket: Ticket) -> http.client.HTTPResponse:
        ticket.hold(connection)
        connection.read_s = self._read_s + request.held_s
        connection.deadline = self._clock.monotonic() + connection.read_s
        headers = {name: value.encode("utf-8") for name, value in (*self._headers.items(), *request.headers)}
        path = self.endpoint.prefix + request.path
        return connection.ask(request.method, path, request.body, dict(headers))

    def _new(self, request: Request, ticket: Ticket) -> Connection:
        connection = Connection(
            self.endpoint, connect_s=self._connect_s, read_s=self._read_s, tls=self._tls, clock=self._clock
        )
        try:
            ticket.hold(connection)
            connection.connect()
            ticket.hold(connection)  # aborted meanwhile?
        except (OSError, ValueError) as error:
            _discard(connection, ticket)
            hint = (
                "the companion's certificate is not trusted" if isinstance(error, ssl.SSLCertVerificationError) else ""
            )
            raise unreachable(f"{request}: no connection: {_said(error)}", sent=False, hint=hint) from error
        except BaseException:
            _discard(connection, ticket)
            raise
        return connection

    def _take(self) -> Connection | None:
        """A kept connection that is still good, the one used last."""
        with self._lock:
            if self._pid != os.getpid():  # they are those of the process that we were forked from
                for connection, _ in self._kept:
                    connection.close()  # our copy only
                self._kept, self._pid = [], os.getpid()
            while self._kept:
                connection, since = self._kept.pop()
                if self._clock.monotonic() - since <= _KEPT_S and not connection.is_stale():
                    return connection
                connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed.is_set() and len(self._kept) < _MAX_KEPT:
                self._kept.append((connection, self._clock.monotonic()))
                return
        connection.close()


class Stream:
    """The body of an answer that goes on. Must be closed."""

    def __init__(
        self, request: Request, connection: Connection, response: http.client.HTTPResponse, leave: Callable[[], None]
    ) -> None:
        self._request, self._connection, self._response, self._leave = request, connection, response, leave

    def read(self) -> bytes:
        """The bytes that have come, waiting for the first; none at the end. Raises Unreachable."""
        return _guard(self._request, lambda: self._response.read1(_PIECE))

    def close(self) -> None:
        self._leave()
        self._connection.close()


def _discard(connection: Connection, ticket: Ticket) -> None:
    ticket.drop()
    connection.close()


def _answer(response: http.client.HTTPResponse, body: bytes) -> Answer:
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _body(request: Request, response: http.client.HTTPResponse) -> bytes:
    """All of the body. It breaks off, is encoded, or is too long: one of the errors."""
    if (response.getheader("Content-Encoding") or "identity").lower() != "identity":
        raise BadAnswer(f"{request}: an encoded answer, which was not asked for", status=response.status)
    body = response.read(MAX_ANSWER + 1)
    if len(body) > MAX_ANSWER:
        raise BadAnswer(f"{request}: an answer of more than {MAX_ANSWER:,} bytes", status=response.status)
    if response.length:  # `read` with a size says nothing when the end is missing
        raise http.client.IncompleteRead(b"", response.length)
    return body


def _guard(request: Request, act: Callable[[], T]) -> T:
    """What `act` gives; what it raises, as one of ours."""
    try:
        return act()
    except (OSError, ValueError) as error:  # ValueError: a file that was closed under the reader
        raise unreachable(f"{request}: no answer: {_said(error)}", sent=True) from error
    except http.client.HTTPException as error:
        half = isinstance(error, http.client.BadStatusLine) and str(error).lstrip("'").startswith("HTTP/1.")
        if half or isinstance(error, http.client.IncompleteRead):
            raise unreachable(f"{request}: the answer broke off", sent=True) from None
        hint = "is this the companion's URL?"  # what was answered may repeat the key, and is not quoted nor kept as a cause
        raise BadAnswer(f"{request}: what answers does not speak HTTP", hint=hint) from None


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return getattr(error, "strerror", None) or type(error).__name__

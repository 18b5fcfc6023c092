"""One request to the companion and its answer: bounded in time and size, no redirects, certificates checked."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from atlas_session._canonical import split

__all__ = ["MAX_ANSWER", "REQUEST_S", "Answer", "NoAnswer", "Transport", "http_transport"]

#: How long one request may take in all, seconds.
REQUEST_S = 4.0
#: The longest answer that is read, bytes: the most that SPECIFICATION.md allows in section 9.
MAX_ANSWER = 1024 * 1024


class Answer(NamedTuple):
    """Header names are in lower case; of a header that came twice, the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """The companion could not be reached, did not answer in time, or not in HTTP. The text holds no credential."""


#: Method, path below the companion's URL, headers, body → answer. Raises NoAnswer.
Transport = Callable[[str, str, Mapping[str, str], bytes | None], Answer]


def http_transport(url: str, *, within_s: float = REQUEST_S) -> Transport:
    """Requests to the companion at `url`, each on a connection of its own."""
    parts = split(url)
    host, base = parts.host.strip("[]"), parts.path.rstrip("/")
    context = ssl.create_default_context() if parts.scheme == "https" else None

    def connection() -> http.client.HTTPConnection:
        if context is None:
            return http.client.HTTPConnection(host, parts.port, timeout=within_s)
        return http.client.HTTPSConnection(host, parts.port, timeout=within_s, context=context)

    def request(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        connected = connection()
        late = threading.Event()
        # A time-out of the socket is for each read; an answer that drips would keep us for ever.
        timer = threading.Timer(within_s, _cut, (connected, late))
        timer.daemon = True
        timer.start()
        try:
            connected.connect()
            if late.is_set():  # several addresses were tried, or its name was long in coming
                raise NoAnswer("too late")
            connected.request(method, base + path, body, dict(headers))
            return _read(connected.getresponse(), late)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer("too late" if late.is_set() else type(error).__name__) from None
        finally:
            timer.cancel()
            connected.close()

    return request


def _read(response: http.client.HTTPResponse, late: threading.Event) -> Answer:
    with response:
        body = response.read(MAX_ANSWER + 1)
        if len(body) > MAX_ANSWER:
            raise NoAnswer(f"more than {MAX_ANSWER} bytes")
        if late.is_set() or response.length:
            raise NoAnswer("it broke off")
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)


def _cut(connected: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    connection = connected.sock
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

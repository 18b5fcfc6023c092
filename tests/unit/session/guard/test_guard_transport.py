"""Requests to a companion on a real socket: bounded in time and size."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from atlas_session.guard._transport import MAX_ANSWER, NoAnswer, http_transport
from tests.unit.session.guard._kit import DEADLINE_S, Companion


@contextlib.contextmanager
def answering(answer: bytes, *, then_wait: bool = False, drip: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads one request, writes bytes, and waits for the client to go if it is to."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(DEADLINE_S)
            seen.append(connection.recv(65536))
            with contextlib.suppress(OSError):
                connection.sendall(answer)
                for byte in drip:
                    connection.sendall(bytes((byte,)))
                    if stopped.wait(0.02):
                        break
                if then_wait:
                    connection.recv(1)

    stopped = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        stopped.set()
        thread.join()
        listener.close()


def ok(body: bytes) -> bytes:
    return b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "x"\r\n\r\n%b' % (len(body), body)


def test_a_request_and_its_answer() -> None:
    with answering(ok(b"{}")) as (url, seen):
        got = http_transport(f"{url}/base/")("POST", "/v1/x", {"Authorization": "Bearer k"}, b"body")
    assert (got.status, got.headers["etag"], got.body) == (200, '"x"', b"{}")
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /base/v1/x HTTP/1.1\r\n") and b"\r\nAuthorization: Bearer k" in head
    assert body in (b"body", b"")  # it may come in a segment of its own


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (b"", {}),
        (b"nonsense\r\n\r\n", {}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", {}),
        (ok(b"x" * (MAX_ANSWER + 1)), {}),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER + 1), {}),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500, {}),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000, {}),
        (b"", {"then_wait": True}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", {"then_wait": True}),
        (b"HTTP/1.1 200 OK\r\nX: ", {"drip": b"y" * 10_000}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", {"drip": b"y" * 9000}),
    ],
)
def test_an_answer_that_is_none_or_never_ends(answer: bytes, options: dict[str, Any]) -> None:
    with answering(answer, **options) as (url, _), pytest.raises(NoAnswer):
        http_transport(url, within_s=0.3)("GET", "/", {}, None)


def test_the_longest_answer() -> None:
    assert MAX_ANSWER == 1024 * 1024  # SPECIFICATION.md, section 9
    with answering(ok(b"x" * MAX_ANSWER)) as (url, _):
        assert len(http_transport(url)("GET", "/", {}, None).body) == MAX_ANSWER


def test_redirects_are_answers() -> None:
    with answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (url, seen):
        assert http_transport(url)("GET", "/", {}, None).status == 302
    assert len(seen) == 1


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NoAnswer, match="ConnectionRefusedError"):
        http_transport(f"http://127.0.0.1:{port}")("GET", "/", {"Authorization": "Bearer k"}, None)


def test_a_companion_over_https_must_prove_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    real = ssl.create_default_context

    def noted() -> ssl.SSLContext:
        made.append(real())
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", noted)
    with answering(b"no TLS here\r\n") as (url, _), pytest.raises(NoAnswer):
        http_transport(url.replace("http:", "https:"))("GET", "/", {}, None)
    assert made[0].verify_mode == ssl.CERT_REQUIRED and made[0].check_hostname


def test_a_header_cannot_be_smuggled() -> None:
    with Companion() as companion, pytest.raises(NoAnswer):
        http_transport(companion.url)("GET", "/", {"If-None-Match": '"a"\r\nX: y'}, None)

"""Large bodies in flat memory, slow visitors, and what gunicorn logs: servers in processes of their own."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest

from atlas_session import sign_path, sign_url
from atlas_session._frame import b64url
from atlas_session.guard import WsgiGuard
from tests.unit.session.guard._kit import (
    DEADLINE_S,
    GUARD_KEY,
    KEY,
    OTHER_TOKEN,
    TOKEN,
    Companion,
    answer_of,
    bearer,
    get,
    settings,
    until,
)
from tests.unit.session.guard._served import _wsgi

MIB = 1024 * 1024
SIZE = 100 * MIB
#: Less than half of what buffering the body would take.
ROOM_MIB = 40

pytestmark = pytest.mark.slow

MODULE = "tests.unit.session.guard._served"
UVICORN = ["-m", "uvicorn", "--factory", f"{MODULE}:asgi", "--fd", "{fd}", "--no-proxy-headers"]
GUNICORN = ["-m", "gunicorn", f"{MODULE}:wsgi()", "--bind", "fd://{fd}", "--worker-class", "gthread", "--threads", "8",
            "--access-logfile", "-", "--error-logfile", "-", "--log-level", "info", "--no-control-socket"]  # fmt: skip
COMMANDS = {"uvicorn": UVICORN, "gunicorn": GUNICORN}


class Server:
    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self.log = log

    def ask(self, path: str) -> str:
        status, _, body = get(self.port, path, bearer())
        assert status == 200
        return body.decode()


@contextlib.contextmanager
def running(
    kind: str, root: Path, folder: Path, *, options: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server in a process of its own, with a log; ended by a signal, and killed if that does not do."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    log = folder / "server.log"
    environ = {**os.environ, "ATLAS_TOKEN_HASHES": TOKEN.hash, "ATLAS_URL_KEYS": f"k1:{b64url(KEY)}"}
    environ |= variables or {}
    environ["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "sdk" / "python")])
    command = [sys.executable, *[part.format(fd=listener.fileno()) for part in COMMANDS[kind]], *options]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=file, stderr=subprocess.STDOUT, pass_fds=[listener.fileno()]
        )
    try:
        server = Server(listener.getsockname()[1], log)
        until(
            lambda: process.poll() is not None or "listening at" in _text(log) or "running on" in _text(log), "a server"
        )
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        listener.close()
        process.terminate()
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _text(log: Path) -> str:
    return log.read_text().lower()


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Iterator[Server]:
    with running(request.param, root, tmp_path) as found:
        yield found


def upload(server: Server, size: int) -> bytes:
    head = (
        f"PUT /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {size}\r\n"
        f"Authorization: Bearer {TOKEN.token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S) as connection:
        connection.sendall(head.encode())
        piece = bytes(MIB)
        for _ in range(size // MIB):
            connection.sendall(piece)
        answer = b""
        while got := connection.recv(65536):
            answer += got
    return answer


def start_download(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
    target = sign_url(f"http://127.0.0.1:{server.port}/download", key=KEY, kid="k1", expires_in_s=60)
    path = target.partition(f":{server.port}")[2]
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n".encode())
    return connection


def drain(connection: socket.socket) -> int:
    total = 0
    while got := connection.recv(MIB):
        total += len(got)
    return total


def test_a_hundred_megabytes_each_way_in_flat_memory(server: Server) -> None:
    upload(server, MIB)
    before = int(server.ask("/peak"))
    assert str(SIZE).encode() in upload(server, SIZE)
    with start_download(server) as connection:
        assert drain(connection) >= SIZE
    assert int(server.ask("/peak")) - before < ROOM_MIB


def test_a_slow_visitor_keeps_nobody_waiting_and_nothing_is_hoarded(server: Server) -> None:
    server.ask("/produced")
    before = int(server.ask("/peak"))
    with start_download(server) as slow:
        assert b" 200 OK" in slow.recv(100)  # and then it reads no more
        for _ in range(20):
            server.ask("/produced")
        with start_download(server) as other:
            assert drain(other) >= SIZE
        assert int(server.ask("/peak")) - before < ROOM_MIB
        assert drain(slow) >= SIZE - 100


def test_a_visitor_that_sends_slowly_keeps_nobody_waiting(server: Server) -> None:
    head = (
        "PUT /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n"
        f"Authorization: Bearer {TOKEN.token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S) as slow:
        slow.sendall(head.encode() + b"ab")
        for _ in range(5):
            server.ask("/produced")
        slow.sendall(b"cd")
        answer = b""
        while got := slow.recv(65536):
            answer += got
    assert b" 200 OK" in answer and b"4" in answer.partition(b"\r\n\r\n")[2]


def test_a_refused_upload_is_not_read_into_memory(server: Server) -> None:
    server.ask("/produced")
    before = int(server.ask("/peak"))
    head = f"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\nAuthorization: Bearer {OTHER_TOKEN.token}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S) as connection:
        connection.sendall(head.encode())
        assert b" 401 " in connection.recv(65536)
        with contextlib.suppress(OSError):  # it may close at once
            for _ in range(100):
                connection.sendall(bytes(MIB))
    assert int(server.ask("/peak")) - before < ROOM_MIB


def test_the_access_log_holds_no_credential(server: Server) -> None:
    base = f"http://127.0.0.1:{server.port}"
    by_url = sign_url(f"{base}/upload?x=1", key=KEY, kid="k1", expires_in_s=60)
    by_path = sign_path(f"{base}/upload", key=KEY, kid="k1", expires_in_s=60)
    for url, headers, status in (
        (by_url, {}, 200),
        (by_path, {}, 200),
        (f"{base}/upload", {**bearer(), "Referer": by_url}, 200),
        (f"{base}/upload", bearer(OTHER_TOKEN.token), 401),
        (by_url, bearer(), 400),
        (f"{by_url}y", {}, 403),
        (by_path.replace("/upload", "x/upload"), {}, 403),
        (f"{base}/last", bearer(), 200),
    ):
        assert get(server.port, url.removeprefix(base), headers)[0] == status
    text = until(lambda: "/last" in server.log.read_text() and server.log.read_text(), "the access log")
    assert re.search(r'"GET /upload\?x=1 HTTP/1.1" 200', text) and re.search(r'"GET /upload HTTP/1.1" 200', text)
    secrets = [TOKEN.token[6:], OTHER_TOKEN.token[6:], "u1.k1", "p1.k1", by_url[-20:], by_path.split(".")[-1][:20]]
    assert not [secret for secret in secrets if secret in text], text


def test_workers_that_were_forked_each_have_their_own_link(root: Path, tmp_path: Path) -> None:
    """The application, and the guard with it, is made before the fork."""
    with Companion() as companion:
        companion.verifier = answer_of(settings(token_hashes=frozenset({OTHER_TOKEN.hash})), poll_s=1)
        variables = {
            "ATLAS_SESSION_ID": "s1",
            "ATLAS_COMPANION_URL": companion.url,
            "ATLAS_GUARD_KEY": GUARD_KEY,
        }
        with running(
            "gunicorn", root, tmp_path, options=["--preload", "--workers", "2"], variables=variables
        ) as server:
            new = bearer(OTHER_TOKEN.token)
            until(
                lambda: [get(server.port, "/upload", new)[0] for _ in range(20)] == [200] * 20, "the rotation in both"
            )
            until(lambda: companion.touches, "a report")
            companion.verifier = answer_of(settings(), revoked=True, poll_s=1)
            until(
                lambda: [get(server.port, "/upload", new)[0] for _ in range(20)] == [401] * 20, "the revocation in both"
            )
            assert get(server.port, "/upload", bearer())[0] == 401


# ---- wsgiref, which keeps no raw path


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_on_the_standard_librarys_server() -> None:
    from socketserver import ThreadingMixIn

    class Threading(ThreadingMixIn, WSGIServer):
        daemon_threads = False

    def app(environ: object, start_response: object) -> object:
        environ["wsgi.input"] = environ["wsgi.input"] if environ.get("CONTENT_LENGTH") else _Empty()  # type: ignore[index,attr-defined]
        return _wsgi(environ, start_response)

    server = Threading(("127.0.0.1", 0), _Quiet)
    server.set_app(WsgiGuard(app, settings()))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        port = server.server_port
        target = sign_url(f"http://127.0.0.1:{port}/upload", key=KEY, kid="k1", expires_in_s=60, now=time.time())
        path = target.partition(f":{port}")[2]
        assert get(port, "/upload", bearer())[0] == 200
        assert get(port, path)[0] == 200
        assert get(port, path.replace("upload", "download"))[0] == 403
        assert get(port, "/upload")[::2] == (401, b"access denied\n")
        assert get(port, "/upload", method="HEAD")[::2] == (401, b"")
        assert get(port, path, bearer())[0] == 400
        assert get(port, "/upload", {"Authorization": f"Bearer {TOKEN.token}\r\nAuthorization: Bearer x"})[0] == 400
        with start_download(Server(port, Path())) as connection:
            assert drain(connection) >= SIZE
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Empty:
    """What wsgiref gives for a request without a body would wait for ever."""

    def read(self, size: int = -1) -> bytes:
        return b""

"""The process: its one line, its signals, its exit codes, and bounds of the connection that only a real one shows."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.errors import ConfigError, Conflict
from pulumi_atlas.runtime.serve import host_and_port, listening

PROGRAM = """
import json, logging, sys
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.serve import serve
from pulumi_atlas.runtime.settings import RuntimeSettings
listen, store, bounds, stop_s = json.loads(sys.argv[1])
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
say = lambda line: print(line, flush=True)
try:
    code = serve(listen, store, "dev", RuntimeSettings(), bounds=Bounds(**bounds), stop_s=stop_s, say=say)
except AtlasError as error:
    print(f"{type(error).__name__}: {error}")
    code = 70
sys.exit(code)
"""
READY = re.compile(r"atlas runtime: ready on (http://127\.0\.0\.1:(\d+)) \(deployment dev, (\d+) sessions\)\n")


class Server:
    def __init__(self, folder: Path, *, listen: str = "127.0.0.1:0", stop_s: float = 20, **bounds: Any) -> None:
        self.store = folder / "sessions.db"
        what = json.dumps([listen, f"sqlite:///{self.store}", bounds, stop_s])
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, what], stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=folder
        )
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()
        found = READY.fullmatch(self.first)
        self.port = int(found[2]) if found else 0

    @property
    def key(self) -> str:
        return Path(f"{self.store}.admin-key").read_text().strip()

    def ask(self, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.connections.append(connection)
        connection.request(method, path, headers={"Authorization": f"Bearer {self.key}", **headers})
        return connection.getresponse()

    connections: list[http.client.HTTPConnection] = []

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def logged(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text()


@contextlib.contextmanager
def running(folder: Path, **options: Any) -> Iterator[Server]:
    server = Server(folder, **options)
    try:
        yield server
    finally:
        for connection in server.connections:
            connection.close()
        server.connections.clear()
        server.process.kill()
        server.process.wait(timeout=30)
        assert server.process.stdout is not None
        server.process.stdout.close()
        server.log.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_one_line_and_ends_when_told(number: int, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert READY.fullmatch(server.first), server.logged()
        file = Path(f"{server.store}.admin-key")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        ready = server.ask("GET", "/readyz")
        assert (ready.status, json.loads(ready.read())["status"]) == (200, "ready")
        assert server.ask("GET", "/v1/status").status == 200
        stream = server.ask("GET", "/v1/events")
        assert stream.status == 200
        assert server.end(number) == 0
        assert b"retry: " in stream.read()
        assert server.process.stdout is not None and server.process.stdout.read() == ""
        key, log = server.key, server.logged()
        assert key not in log and str(file) in log
    with running(tmp_path) as again:
        assert again.key == key
        assert again.ask("GET", "/v1/status").status == 200
        assert again.end() == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with (
        running(tmp_path, stop_s=1000, body_s=1000) as server,
        socket.create_connection(("127.0.0.1", server.port)) as stuck,
    ):
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\n"
        stuck.sendall(
            f"{head}Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert stuck.recv(100).startswith(b"HTTP/1.1 100")  # its body is waited for
        server.process.send_signal(signal.SIGTERM)
        while "stopping" not in server.logged():
            pass
        assert server.process.poll() is None
        assert server.end() == 8


def test_an_address_that_is_in_use(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        other = tmp_path / "other"
        other.mkdir()
        with running(other, listen=f"127.0.0.1:{server.port}") as second:
            assert second.first.startswith("Conflict: ") and "in use" in second.first
            assert second.process.wait(timeout=60) == 70
            assert not second.store.exists()
        assert server.end() == 0


def test_a_store_that_another_has(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        with running(tmp_path) as second:
            assert second.first.startswith("StoreBusy: ")
        assert server.ask("GET", "/readyz").status == 200
        assert server.end() == 0


@pytest.mark.parametrize("listen", ["", "8765", ":8765", "host:", "host:http", "host:65536", "host:-1", "[::1]"])
def test_addresses_that_are_none(listen: str) -> None:
    with pytest.raises(ConfigError):
        host_and_port(listen)


def test_addresses() -> None:
    assert host_and_port("127.0.0.1:0") == ("127.0.0.1", 0)
    assert host_and_port("[::1]:8765") == ("::1", 8765)
    with listening("127.0.0.1", 0) as door:
        door.listen()
        with pytest.raises(Conflict), listening("127.0.0.1", door.getsockname()[1]):
            pass
    with pytest.raises(ConfigError), listening("192.0.2.1", 0):
        pass


def test_heads_that_never_end_and_garbage(tmp_path: Path) -> None:
    with running(tmp_path, head_s=0.2, head_bytes=4000) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
            assert slow.recv(1) == b""
        for garbage in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sender:
                sender.sendall(garbage)
                answer = b""
                with contextlib.suppress(ConnectionResetError):
                    while piece := sender.recv(4096):
                        answer += piece
                assert answer.startswith(b"HTTP/1.1 400") and b"application/problem+json" in answer
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as kept:
            for _ in range(2):
                kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                while not answer.endswith(b"}"):  # its head and its body may come apart
                    answer += kept.recv(4096)
                assert answer.startswith(b"HTTP/1.1 200")
        assert server.ask("GET", "/healthz").status == 200
        assert server.end() == 0


def test_more_connections_than_one_process_takes(tmp_path: Path) -> None:
    with running(tmp_path, connections=1) as server:
        first = server.ask("GET", "/healthz")
        assert (first.status, first.read() != b"") == (200, True)
        second = server.ask("GET", "/healthz")
        assert (second.status, second.headers["content-type"]) == (503, "application/problem+json")
        assert server.end() == 0


def test_the_access_log_holds_no_query_and_no_key(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.ask("GET", "/v1/sessions?owner=somebody-s-secret").read()
        server.ask("GET", "/v1/nothing?token=atlas_secret").read()
        server.ask("GET", "/v1/sessions", Authorization="Bearer atlas_wrong-key").read()
        assert server.end() == 0
        log = server.logged()
        assert "GET /v1/sessions 200" in log and "GET /v1/nothing 404" in log
        for secret in ("somebody-s-secret", "atlas_secret", "atlas_wrong-key", server.key):
            assert secret not in log

"""The stand-in for curl, which pages need on a machine that has none, answers as curl does."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.console import put_curl


class Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer("in\n" if self.headers["Authorization"] == "Bearer me" else "")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode() + "\n")

    def _answer(self, text: str) -> None:
        body = (text or "out\n").encode()
        self.send_response(200 if text else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def door() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


CALLS: dict[str, tuple[list[str], str]] = {
    "plain": ([], "out\n"),
    "code only": (["-o", "/dev/null", "-w", "%{http_code}\\n"], "401\n"),
    "body and code": (["-w", "%{http_code}\\n"], "out\n401\n"),
    "header": (["-H", "Authorization: Bearer me"], "in\n"),
    "header and code": (["-H", "X-A: b", "-H", "Authorization: Bearer me", "-w", "%{http_code}\\n"], "in\n200\n"),
    "data": (["-d", "buy milk"], "buy milk\n"),
}


@pytest.mark.parametrize("what", CALLS)
def test_the_stand_in_answers_as_curl_does(what: str, door: str, tmp_path: Path) -> None:
    words, expected = CALLS[what]
    programs = [str(put_curl(tmp_path)), *filter(None, [shutil.which("curl")])]
    for program in programs:
        done = subprocess.run([program, "-s", *words, door], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, expected), (program, done.stderr)

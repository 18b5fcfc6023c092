"""The command behind the guard: it gets what it needs, ends with the guard and the guard with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.unit.session.proxy._process import (
    BEARER,
    DEADLINE_S,
    GUARD_KEY,
    HASH,
    TOKEN,
    URL_KEY,
    guard,
    ignores,
    is_gone,
    until,
)
from tests.unit.session.proxy._world import Answer, ask, run

pytestmark = pytest.mark.slow

#: Says who it is in a file, then serves one word on its PORT until it is told to end.
SERVER = """
import http.server, json, os, pathlib, signal, subprocess, sys
{before}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
{after}
here = pathlib.Path({here!r})
here.with_suffix(".part").write_text(json.dumps({{"pid": os.getpid(), "group": os.getpgrp(), "environ": dict(os.environ)}}))
here.with_suffix(".part").rename(here)
server.serve_forever()
"""


def server(tmp_path: Path, *, before: str = "", after: str = "") -> list[str]:
    return [sys.executable, "-c", SERVER.format(before=before, after=after, here=str(tmp_path / "here"))]


def told(tmp_path: Path) -> dict[str, object]:
    """What the command said of itself, when it is up."""
    until((tmp_path / "here").exists)
    return dict(json.loads((tmp_path / "here").read_text()))


def asked(port: int, request: bytes = b"GET / HTTP/1.1\r\n" + BEARER) -> Answer:
    found: list[Answer] = []

    async def test() -> None:
        found.append(await ask(port, request))

    run(test())
    return found[0]


def test_a_command_is_guarded_on_a_port_of_its_own(tmp_path: Path) -> None:
    with guard(tmp_path, [], server(tmp_path), {"PORT": "9", "PORT_RANGE": "1-2"}) as running:
        environ = told(tmp_path)["environ"]
        assert isinstance(environ, dict)
        assert environ["PORT"] not in ("9", str(running.port))
        assert environ["PORT_RANGE"] == "1-2"
        assert asked(running.port).body == b"ok"
        assert asked(running.port, b"GET / HTTP/1.1").status == 401


def test_the_command_has_none_of_the_secrets(tmp_path: Path) -> None:
    trio = {
        "ATLAS_SESSION_ID": "s-1",
        "ATLAS_COMPANION_URL": "http://127.0.0.1:9",
        "ATLAS_GUARD_KEY": GUARD_KEY,
        "ATLAS_PUBLIC_PATHS": "/open",
    }
    with guard(tmp_path, [], server(tmp_path), trio) as running:
        environ = told(tmp_path)["environ"]
        assert isinstance(environ, dict)
        assert not {"ATLAS_TOKEN_HASHES", "ATLAS_URL_KEYS", "ATLAS_GUARD_KEY"} & set(environ)
        assert not [value for value in environ.values() if HASH in value or URL_KEY in value or GUARD_KEY in value]
        assert environ["ATLAS_SESSION_ID"] == "s-1"
        family = [psutil.Process(running.process.pid), *psutil.Process(running.process.pid).children(recursive=True)]
        assert len(family) == 3
        for process in family:
            line = " ".join(process.cmdline())
            assert not [secret for secret in (HASH, URL_KEY, GUARD_KEY, TOKEN) if secret in line]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_the_command_cannot_read_them_in_the_guards_environment_either(tmp_path: Path) -> None:
    """Unless it may look into any process, as root on a machine of its own may: here both give that up first."""
    drop = "import ctypes, os, sys; [ctypes.CDLL(None).prctl(24, number, 0, 0, 0) for number in (19, 21, 38)]; "
    drop += "os.execv(sys.argv[1], sys.argv[1:])"  # PR_CAPBSET_DROP of CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_PERFMON
    read = "open(f'/proc/{os.getppid()}/environ', 'rb').read()"
    look = f"import os, sys\ntry: {read}\nexcept PermissionError: sys.exit(3)\nsys.exit(4)"
    with guard(tmp_path, [], [sys.executable, "-c", look], before=[sys.executable, "-c", drop]) as running:
        assert running.wait() == 3


def test_no_credential_is_in_the_log_or_with_the_program(tmp_path: Path) -> None:
    echo = 'Handler.do_GET.__globals__["Handler"].log_message = lambda self, *_: print(self.path, self.headers, flush=True)'
    grant = "u1.k1.1767225660.1767225600.0.GET.x.-.-." + "A" * 43
    shake = b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    shake += b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    with guard(tmp_path, [], server(tmp_path, before="", after=echo)) as running:
        told(tmp_path)
        assert asked(running.port).status == 200
        assert asked(running.port, f"GET /?atlas-access={grant} HTTP/1.1".encode()).status == 403
        assert asked(running.port, f"GET /atlas-access/{grant}/a HTTP/1.1".encode()).status == 403
        assert asked(running.port, f"GET /{TOKEN} HTTP/1.1".encode() + b"\r\nAuthorization: Bearer x").status == 401
        assert asked(running.port, b"GET /ws HTTP/1.1\r\n" + BEARER + shake).status == 200  # it speaks no WebSocket
        protocols = f"\r\nSec-WebSocket-Protocol: atlas-session, atlas-bearer.{TOKEN}".encode()
        assert asked(running.port, b"GET /ws HTTP/1.1" + protocols + shake).status == 200
        assert asked(running.port, b"GET /ws HTTP/1.1" + protocols + b"x" + shake).status == 401
        running.signal(signal.SIGTERM)
        running.wait()
    for secret in (TOKEN, TOKEN[6:], grant, grant[-43:], HASH, URL_KEY):
        assert secret not in running.output
    assert "/ws" in running.output
    assert "Traceback" not in running.output
    assert "ERROR" not in running.output


def test_a_visitor_cannot_say_who_it_is_without_a_trusted_proxy(tmp_path: Path) -> None:
    """Nor may the server in front of the guard believe it, as uvicorn does of 127.0.0.1 unless it is told not to."""
    echo = "Handler.log_message = lambda self, *_: print(self.headers, flush=True)"
    with guard(tmp_path, [], server(tmp_path, after=echo)) as running:
        told(tmp_path)
        lies = b"\r\nX-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https"
        assert asked(running.port, b"GET / HTTP/1.1\r\n" + BEARER + lies).status == 200
        assert "192.0.2.66" not in running.output
        assert "x-forwarded-for: 127.0.0.1" in running.output
        assert "x-forwarded-proto: http\n" in running.output


@pytest.mark.parametrize(("ends", "code"), [("sys.exit(0)", 0), ("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 137)])
def test_the_guard_ends_with_the_command_and_its_code(tmp_path: Path, ends: str, code: int) -> None:
    with guard(tmp_path, [], [sys.executable, "-c", f"import os, sys; {ends}"]) as running:
        assert running.wait() == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_the_commands_as_well_and_its_code_the_guards(tmp_path: Path, number: signal.Signals) -> None:
    handler = f"signal.signal({int(number)}, lambda *_: os._exit(42))"
    with guard(tmp_path, [], server(tmp_path, before=handler)) as running:
        pid = told(tmp_path)["pid"]
        running.signal(number)
        assert running.wait() == 42
        assert isinstance(pid, int)
        assert is_gone(pid)


def test_a_command_that_a_signal_ends_is_128_and_its_number(tmp_path: Path) -> None:
    with guard(tmp_path, [], server(tmp_path)) as running:
        told(tmp_path)
        running.signal(signal.SIGTERM)
        assert running.wait() == 143


def test_the_whole_group_gets_the_signal_and_none_of_it_is_left(tmp_path: Path) -> None:
    """The command's own child sees the signal; another one ignores it, and is killed when the command has ended."""
    script = "import pathlib, signal, sys, time; {}; pathlib.Path(sys.argv[1]).write_text('up'); time.sleep(600)"
    polite = script.format(
        "signal.signal(15, lambda *_: (pathlib.Path(sys.argv[1] + '-told').write_text('x'), sys.exit()))"
    )
    deaf = script.format(ignores(signal.SIGTERM).rstrip("; "))
    places = [tmp_path / "polite", tmp_path / "deaf"]
    spawn = "; ".join(
        f"p{n} = subprocess.Popen([sys.executable, '-c', {code!r}, {str(place)!r}])"
        for n, (code, place) in enumerate(zip((polite, deaf), places, strict=True))
    )
    wait = f"signal.signal(15, lambda *_: (p0.wait(), os._exit(5))); waiting = {[str(place) for place in places]!r}"
    wait += "\nwhile not all(os.path.exists(place) for place in waiting): pass"
    with guard(tmp_path, [], server(tmp_path, before=spawn, after=wait)) as running:
        group = told(tmp_path)["group"]
        family = psutil.Process(running.process.pid).children(recursive=True)
        assert len(family) == 4  # minder, command, its two children
        assert {os.getpgid(process.pid) for process in family} == {group}
        assert os.getpgid(running.process.pid) != group
        running.signal(signal.SIGTERM)
        assert running.wait() == 5
        until(lambda: all(is_gone(process.pid) for process in family))
    assert (tmp_path / "polite-told").exists()


def test_a_second_signal_kills(tmp_path: Path) -> None:
    with guard(tmp_path, [], server(tmp_path, before=ignores(signal.SIGTERM, signal.SIGINT))) as running:
        pid = told(tmp_path)["pid"]
        running.signal(signal.SIGTERM)
        until(lambda: "Shutting down" in running.output)
        assert isinstance(pid, int)
        assert not is_gone(pid)
        running.signal(signal.SIGTERM)
        assert running.wait() == 137
        until(lambda: is_gone(pid))


def test_a_guard_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    stubborn = ignores(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with guard(tmp_path, [], server(tmp_path, before=stubborn + child)) as running:
        told(tmp_path)
        family = psutil.Process(running.process.pid).children(recursive=True)
        assert len(family) == 3
        running.signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        until(lambda: all(is_gone(process.pid) for process in family))


def test_a_command_that_leaves_its_group_gets_the_signal_too(tmp_path: Path) -> None:
    with guard(
        tmp_path, [], server(tmp_path, before="os.setsid(); signal.signal(15, lambda *_: os._exit(6))")
    ) as running:
        told(tmp_path)
        running.signal(signal.SIGTERM)
        assert running.wait() == 6


def test_requests_in_flight_are_answered_before_the_end(tmp_path: Path) -> None:
    """A request that the program finishes after the signal arrives whole."""
    slow = (
        "import threading; go = threading.Event(); signal.signal(15, lambda *_: go.set())\n"
        "def do_GET(self):\n"
        "    self.send_response(200); self.send_header('Content-Length', '4'); self.end_headers(); self.wfile.write(b'be')\n"
        "    self.wfile.flush(); go.wait(); self.wfile.write(b'en'); self.wfile.flush()\n"
        "    threading.Thread(target=server.shutdown).start()\n"
        "Handler.do_GET = do_GET"
    )
    with guard(tmp_path, [], server(tmp_path, after=slow)) as running:
        told(tmp_path)
        with (
            socket.create_connection(("127.0.0.1", running.port), DEADLINE_S) as visitor,
            visitor.makefile("rb") as file,
        ):
            visitor.sendall(b"GET / HTTP/1.1\r\nHost: pod.example\r\n" + BEARER + b"\r\n\r\n")
            while file.readline() != b"\r\n":
                pass
            assert file.read(2) == b"be"
            running.signal(signal.SIGTERM)
            assert file.read(2) == b"en"
        assert running.wait() == 0


def test_without_a_command_a_signal_ends_well(tmp_path: Path) -> None:
    with guard(tmp_path, ["--upstream", "http://127.0.0.1:9"]) as running:
        assert asked(running.port).status == 502
        assert asked(running.port, b"GET /atlas-access/health HTTP/1.1").status == 503
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


def test_health_follows_the_program(tmp_path: Path) -> None:
    with guard(tmp_path, [], server(tmp_path)) as running:
        told(tmp_path)
        assert asked(running.port, b"GET /atlas-access/health HTTP/1.1").status == 200


def test_with_an_upstream_the_command_gets_that_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with guard(tmp_path, ["--upstream", f"http://127.0.0.1:{port}"], server(tmp_path), {"PORT": "9"}) as running:
        environ = told(tmp_path)["environ"]
        assert isinstance(environ, dict)
        assert environ["PORT"] == str(port)
        assert asked(running.port).body == b"ok"


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "says"),
    [
        ([], {}, 2, "give --upstream URL, or a command after --"),
        (["--"], {}, 2, "there is no command after --"),
        (["--upstream", "ftp://x"], {}, 2, "expected is http://host:port"),
        (["--upstream", "http://user:pass@x"], {}, 2, "expected is http://host:port"),
        (["--port", "65536", "--upstream", "http://x"], {}, 2, "a port is a number"),
        (["--upstream", "http://x"], {"PORT": "x"}, 2, "PORT: a port is a number"),
        (["--log-level", "debug", "--upstream", "http://x"], {}, 2, "invalid choice: 'debug'"),
        (["--log-level", "trace", "--upstream", "http://x"], {}, 2, "invalid choice: 'trace'"),
        (["--upstream", "http://x"], {"ATLAS_TOKEN_HASHES": ""}, 2, "nothing here verifies anybody"),
        (["--upstream", "http://x"], {"ATLAS_GENERATION": "z"}, 2, "ATLAS_GENERATION"),
        (["--", "no-such-command-here"], {}, 127, "there is no command"),
        (["--", os.devnull], {}, 126, "cannot be run"),
        (["--host", "192.0.2.1", "--upstream", "http://x"], {}, 1, "cannot listen on 192.0.2.1"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_a_code(
    arguments: list[str], environ: dict[str, str], code: int, says: str
) -> None:
    ended = _ended(["--port", "0", *arguments] if "PORT" not in environ else arguments, environ)
    assert ended.returncode == code
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "pass@" not in ended.stderr.replace("'http://user:pass@x'", "")


def test_every_problem_has_a_line() -> None:
    ended = _ended(["--upstream", "http://x"], {"ATLAS_GENERATION": "z", "ATLAS_ORIGINS": "nowhere"})
    assert ended.returncode == 2
    assert sorted(line.partition(":")[0] for line in ended.stderr.splitlines()) == ["ATLAS_GENERATION", "ATLAS_ORIGINS"]


@pytest.mark.parametrize("missing", ["httpcore", "uvicorn", "websockets", "httptools", "anyio"])
def test_without_the_extra_one_sentence_says_how_to_get_it(tmp_path: Path, missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from atlas_session.guard.__main__ import main; sys.exit(main())"
    )
    line = [sys.executable, "-c", code, "--upstream", "http://x"]
    ended = subprocess.run(
        line, env={**os.environ, "ATLAS_TOKEN_HASHES": HASH}, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stderr == f"'{missing}' is missing: pip install 'atlas-session[guard]'\n"


def test_check_config_shows_no_secret_and_starts_nothing() -> None:
    environ = {
        "ATLAS_SESSION_ID": "s-1",
        "ATLAS_COMPANION_URL": "https://companion.example",
        "ATLAS_GUARD_KEY": GUARD_KEY,
        "ATLAS_URL_KEYS": f"k1:{URL_KEY}",
        "ATLAS_TRUSTED_PROXIES": "10.0.0.0/8",
        "PORT": "9000",
    }
    for extra in ([], ["--json"]):
        ended = _ended(["--check-config", *extra, "--", "no-such-command", "--api-key=argument-secret"], environ)
        assert (ended.returncode, ended.stderr) == (0, "")
        for secret in (HASH, URL_KEY, GUARD_KEY, "argument-secret"):
            assert secret not in ended.stdout
    given = json.loads(ended.stdout)
    assert (given["listen"], given["command"], given["url_keys"], given["token_hashes"]) == (
        "0.0.0.0:9000",
        "no-such-command",
        ["k1"],
        1,
    )
    assert (given["guard_key"], given["trusted_proxies"]) == ("(set)", ["10.0.0.0/8"])


def test_help_names_the_exit_codes_and_needs_no_settings() -> None:
    ended = _ended(["--help"], {"ATLAS_TOKEN_HASHES": "nonsense"})
    assert ended.returncode == 0
    for word in ("exit codes", "126", "127", "128+n", "--upstream", "--check-config", "are not in"):
        assert word in ended.stdout


def _ended(arguments: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atlas_session.guard", *arguments],
        env={**os.environ, "ATLAS_TOKEN_HASHES": HASH, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )

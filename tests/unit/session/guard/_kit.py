"""Settings, requests and servers for the guard's tests."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import uvicorn

from atlas_session import mint_token, sign_path, sign_url
from atlas_session.guard import Guard, GuardSettings
from atlas_session.guard._decide import Verdict, decide
from atlas_session.guard._facts import Facts

DEADLINE_S = 20.0  # of what must happen; reaching it fails the test
NOW = 1_767_225_600
KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
TOKEN = mint_token(key=KEY, context=b"visitor")
OTHER_TOKEN = mint_token(key=KEY, context=b"another")
HOST = "pod.example"
GUARD_KEY = "guard-key-of-this-session"


def settings(**changes: Any) -> GuardSettings:
    given: dict[str, Any] = {"token_hashes": frozenset({TOKEN.hash}), "url_keys": {"k1": KEY}}
    return GuardSettings(**{**given, **changes})


def linked(url: str, **changes: Any) -> GuardSettings:
    """Settings with a companion at the URL."""
    return settings(session_id="s1", companion_url=url, guard_key=GUARD_KEY, **changes)


def bearer(token: str = TOKEN.token) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def signed(url: str, **options: Any) -> str:
    return sign_url(url, **{"key": KEY, "kid": "k1", "expires_in_s": 60, "now": NOW, **options})


def signed_path(url: str, **options: Any) -> str:
    return sign_path(url, **{"key": KEY, "kid": "k1", "expires_in_s": 60, "now": NOW, **options})


def facts(url: str, headers: Mapping[str, str | Sequence[str]] | None = None, **changes: Any) -> Facts:
    """A request for an absolute URL; a header may have several values, and a Host of None is not sent."""
    scheme, _, rest = url.partition("://")
    netloc, slash, target = rest.partition("/")
    path, _, query = f"{slash}{target}".partition("?")
    given: dict[str, Any] = {"host": netloc, **(headers or {})}
    lines = {
        name: [value] if isinstance(value, str) else list(value) for name, value in given.items() if value is not None
    }
    websocket = scheme in ("ws", "wss")
    offered = tuple(name.strip() for line in lines.get("sec-websocket-protocol", []) for name in line.split(","))
    known: dict[str, Any] = {
        "method": "GET",
        "path": path or "/",
        "query": query,
        "headers": lines,
        "scheme": scheme,
        "peer": "198.51.100.9",
        "websocket": websocket,
        "protocols": offered if websocket else (),
    }
    return Facts(**{**known, **changes})


def judged(request: Facts, chosen: GuardSettings | None = None, *, now: float = NOW, **options: Any) -> Verdict:
    chosen = chosen or settings()
    verifier = options.pop("verifier", chosen.verifier())
    return decide(request, chosen, verifier, now, options.pop("spend", None))


# ---- ASGI without a server


def scope_of(request: Facts) -> dict[str, Any]:
    from urllib.parse import unquote

    scope: dict[str, Any] = {
        "type": "websocket" if request.websocket else "http",
        "path": unquote(request.path),
        "raw_path": request.path.encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": [
            (name.encode(), value.encode("latin-1")) for name, all_ in request.headers.items() for value in all_
        ],
        "scheme": request.scheme,
        "client": (request.peer, 1234) if request.peer else None,
        "extensions": {},
    }
    if request.websocket:
        scope["subprotocols"] = list(request.protocols)
    else:
        scope["method"] = request.method
    return scope


class Echo:
    """An application that remembers the scopes it saw and answers with `headers` and a body."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.headers = list(headers)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"from the application"})


class Answered:
    """What came out of an ASGI application."""

    def __init__(self, messages: list[dict[str, Any]], scope: dict[str, Any]) -> None:
        self.messages = messages
        self.scope = scope
        first = messages[0] if messages else {}
        self.status = first.get("status")
        self.headers = [(name.decode(), value.decode()) for name, value in first.get("headers", [])]
        self.body = b"".join([message.get("body", b"") for message in messages[1:]])

    def header(self, name: str) -> str | None:
        found = [value for known, value in self.headers if known == name]
        return ", ".join(found) if found else None


def ask(guard: Any, request: Facts, incoming: Sequence[dict[str, Any]] = (), **scope: Any) -> Answered:
    """One request to an ASGI application."""
    full = {**scope_of(request), **scope}
    first = {"type": "websocket.connect"} if request.websocket else {"type": "http.request", "body": b""}
    waiting = list(incoming) or [first]
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    asyncio.run(guard(full, receive, send))
    return Answered(messages, full)


def guarded(app: Any = None, chosen: GuardSettings | None = None, **options: Any) -> Guard:
    return Guard(app or Echo(), chosen or settings(), **{"clock": lambda: NOW, **options})


# ---- real servers


def until(condition: Callable[[], Any], what: str = "it") -> Any:
    """Waits for what must come about."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.005)


@contextlib.contextmanager
def serving(app: Any, **options: Any) -> Iterator[int]:
    """A real uvicorn in a thread; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    given = {"log_config": None, "timeout_graceful_shutdown": 1, "proxy_headers": False, **options}
    server = uvicorn.Server(uvicorn.Config(app, **given))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        until(lambda: server.started, "the server")
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
        assert not thread.is_alive()


def raw_request(port: int, lines: bytes) -> bytes:
    """Sends bytes and reads until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(lines)
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def get(
    port: int, target: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, bytes, bytes]:
    """Status, head and body of one request on a connection of its own."""
    lines = [f"{method} {target} HTTP/1.1", "Connection: close"]
    given = {"Host": f"127.0.0.1:{port}", **(headers or {})}
    lines += [f"{name}: {value}" for name, value in given.items()]
    head, _, body = raw_request(port, ("\r\n".join(lines) + "\r\n\r\n").encode()).partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


class Lines(logging.Handler):
    """What was logged, as texts; every level, formatted."""

    def __init__(self, *names: str) -> None:
        super().__init__(level=logging.DEBUG)
        self.texts: list[str] = []
        self.names = names

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def __enter__(self) -> Lines:
        self._before = [(logging.getLogger(name), logging.getLogger(name).level) for name in self.names]
        for logger, _ in self._before:
            logger.addHandler(self)
            logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *error: object) -> None:
        for logger, level in self._before:
            logger.removeHandler(self)
            logger.setLevel(level)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


class Companion:
    """A companion on a real socket: `say` is what it answers to polls; it remembers what it was asked and told."""

    def __init__(self) -> None:
        self.verifier: dict[str, Any] = answer_of(settings())
        self.status = 200
        self.poll_headers: dict[str, str] = {}
        self.polls: list[dict[str, str]] = []
        self.touches: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self._changed = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with outer._changed:
                    etag = f'"{hash(json.dumps(outer.verifier, sort_keys=True))}"'
                    known = self.headers.get("If-None-Match") == etag
                    status = 304 if known and outer.status == 200 else outer.status
                    outer.polls.append({"path": self.path, "status": str(status)})
                    outer.keys.add(self.headers.get("Authorization", ""))
                    body = b"" if status == 304 else json.dumps(outer.verifier).encode()
                    self.reply(status, body, {"ETag": etag, **outer.poll_headers})
                    outer._changed.notify_all()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer._changed:
                    outer.touches.append({"path": self.path, **json.loads(body)})
                    self.reply(outer.status, b"{}", {})
                    outer._changed.notify_all()

            def reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Companion:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def answer_of(chosen: GuardSettings, **changes: Any) -> dict[str, Any]:
    """What a companion answers that knows the same as the settings."""
    from atlas_session._frame import b64url

    keys = {kid: b64url(key) for kid, key in chosen.url_keys.items()}
    known = {"generation": chosen.generation, "token_hashes": sorted(chosen.token_hashes), "url_keys": keys}
    return {**known, "revoked": False, "poll_s": 10, **changes}

"""A companion that keeps section 9 of the specification in memory, checks each request, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http.server
import inspect
import itertools
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from atlas_session.companion import AsyncCompanionClient, CompanionClient, Event, Session
from atlas_session.companion._clock import Clock

KEY = "backend-key-of-the-tests"
DEADLINE_S = 20.0
PAGE = 2

_ROUTE = re.compile(r"/v1/sessions/([A-Za-z0-9_-]{1,64})(?:/(touch|extend|pause|resume|rotate|events|signed-urls))?")
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "touch": {"source": str, "idle_s": (int, float), "count": int},
    "extend": {"seconds": int},
}
_NUMBERS = ("idle_ttl_s", "max_lifetime_s", "warn_before_s", "paused_ttl_s", "budget")
_TEXTS = ("template", "owner", "on_idle", "auth")
_LEASE: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(_NUMBERS, (int, float)),
    **dict.fromkeys(_TEXTS, str),
    **dict.fromkeys(("spec", "labels"), dict),
}
_SIGNED: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("path", "port", "url", "method", "address", "form"), str),
    **dict.fromkeys(("expires_in_s", "not_before"), int),
    **dict.fromkeys(("prefix", "single_use"), bool),
}
_WAIT = re.compile(r"wait=ready&timeout_s=[0-9]{1,3}(\.[0-9]+)?")


class FakeClock(Clock):
    """Time that passes only when somebody waits, and then at once. `sleeps`: the waits, in seconds."""

    def __init__(self, *, chance: float = 0.5) -> None:
        self.time, self.started, self.chance = 0.0, 1_800_000_000.0, chance
        self.sleeps: list[float] = []

    def wall(self) -> float:
        return self.started + self.time

    def monotonic(self) -> float:
        return self.time

    def random(self) -> float:
        return self.chance

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self._pass(seconds)
        return stop.is_set()

    async def sleep(self, seconds: float) -> None:
        self._pass(seconds)
        await asyncio.sleep(0)

    def _pass(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds


def until(condition: Callable[[], object]) -> None:
    """Until it holds; fails after a generous while."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


async def until_async(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.005)


class FakeCompanion:
    """`say` what goes wrong with the next requests; `requests` are those that came, as ``POST /v1/…``.

    `violations`: how requests broke the contract. `touches`, `asked`: the bodies of all touches, and of what opened a session or
    asked for a URL. `clock`: its unix time.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, prefix: str = "") -> None:
        self.key, self.prefix = KEY, prefix
        self.sessions: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, tuple[str, dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.touches: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.violations: list[str] = []
        self.connections = 0
        self.opened = 0
        self.clock = 1_800_000_000.0
        self.logs: dict[str, list[tuple[int, str, str]]] = collections.defaultdict(list)
        self.kept_from = 0
        self.changed = threading.Condition()
        self.closing = False
        self.plan: collections.deque[Misdeed] = collections.deque()
        self.always: Misdeed | None = None
        self._sockets: list[socket.socket] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.companion, self._server.tls = self, tls
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}{prefix}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Away, with all connections."""
        if self.closing:
            return
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self._server.shutdown()
        self.hang_up()
        self._server.server_close()
        self._thread.join()

    def hang_up(self) -> None:
        """Cut all connections."""
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def say(self, *misdeeds: Misdeed) -> None:
        self.plan.extend(misdeeds)

    def add(self, id: str = "s1", status: str = "ready", **fields: Any) -> str:
        self.sessions[id] = {
            "id": id,
            "status": status,
            "generation": 0,
            "urls": {"8888": "https://pod.example"},
            **fields,
        }
        return id

    def set(self, id: str, **fields: Any) -> None:
        """Change it, and tell those who follow its events when its status changed."""
        with self.changed:
            self.sessions[id].update(fields)
        if "status" in fields:
            self.emit(id, "status", self.sessions[id])

    def emit(self, id: str, event: str, data: Any) -> None:
        with self.changed:
            log = self.logs[id]
            log.append((len(log) + 1, event, data if isinstance(data, str) else json.dumps(data)))
            self.changed.notify_all()

    def behind(self, id: str, seen: int) -> list[tuple[int, str, str]]:
        """The events behind that one, waiting for some; none when the server goes."""
        log = self.logs[id]
        with self.changed:
            self.changed.wait_for(lambda: self.closing or len(log) > seen)
            return [] if self.closing else log[seen:]

    def connected(self, connection: socket.socket) -> None:
        self.connections += 1
        self._sockets.append(connection)


class Misdeed:
    """What goes wrong with one request. `done`: whether it takes effect first."""

    def __init__(self, do: Callable[[_Handler], None], *, done: bool = False) -> None:
        self.do, self.done = do, done


def answer(status: int, body: bytes | dict[str, Any] = b"", kind: str = "", **headers: str) -> Misdeed:
    """An answer instead of the right one. A dict is a problem document."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    kind = kind or ("application/problem+json" if isinstance(body, dict) else "application/json")
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Misdeed(lambda handler: handler.reply(status, data, kind, names))


def raw(data: bytes, *, done: bool = False) -> Misdeed:
    """These bytes, and the end."""

    def do(handler: _Handler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return Misdeed(do, done=done)


def lost(*, done: bool = True) -> Misdeed:
    """The request takes effect (or not), and the answer is lost."""
    return raw(b"", done=done)


def stuck() -> Misdeed:
    """No answer until the server goes."""

    def do(handler: _Handler) -> None:
        companion = handler.server.companion
        with companion.changed:
            companion.changed.wait_for(lambda: companion.closing)
        handler.close_connection = True

    return Misdeed(do)


class _Server(http.server.ThreadingHTTPServer):
    companion: FakeCompanion
    tls: ssl.SSLContext | None
    daemon_threads = False
    block_on_close = True

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.companion.connected(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle_any(self) -> None:
        companion = self.server.companion
        companion.requests.append(f"{self.command} {self.path}")
        companion.headers.append({name.lower(): value for name, value in self.headers.items()})
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        misdeed = companion.plan.popleft() if companion.plan else companion.always
        if misdeed is not None and not misdeed.done:
            misdeed.do(self)
            return
        if misdeed is not None:
            self.reply = lambda *_: None  # type: ignore[method-assign]
        try:
            self._serve(body)
        finally:
            self.__dict__.pop("reply", None)
        if misdeed is not None:
            misdeed.do(self)

    do_GET = do_POST = do_DELETE = do_PUT = handle_any

    def reply(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _json(self, status: int, value: Any) -> None:
        self.reply(status, json.dumps(value).encode(), "application/json; charset=utf-8")

    def _problem(self, status: int, title: str, **headers: str) -> None:
        body = json.dumps({"type": "about:blank", "title": title, "status": status}).encode()
        self.reply(status, body, "application/problem+json", headers)

    def _serve(self, body: bytes) -> None:
        companion = self.server.companion
        url = urlsplit(self.path)
        path = url.path.removeprefix(companion.prefix)
        self._check(path, body)
        if url.query and not (self.command == "GET" and path == "/v1/sessions") and not _WAIT.fullmatch(url.query):
            companion.violations.append(f"{self.command} of {self.path}")
        if self.headers.get("Authorization") != f"Bearer {companion.key}":
            self._problem(401, "no")
        elif path == "/v1/sessions":
            self._open(body) if self.command == "POST" else self._list(
                dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
            )
        elif (found := _ROUTE.fullmatch(path)) is None:
            self.reply(404, b"Not Found", "text/plain")
        elif found[1] not in companion.sessions:
            self._problem(404, "no such session")
        elif companion.sessions[found[1]].get("over") and found[2] != "events":
            self._problem(410, "ended")
        else:
            self._act(found[1], found[2], json.loads(body or b"{}"))

    def _check(self, path: str, body: bytes) -> None:
        """Note every way in which the request breaks the contract."""
        wrong = self.server.companion.violations
        headers = self.headers
        verb = path.rpartition("/")[2]
        expected = "DELETE GET" if _ROUTE.fullmatch(path) and "/" not in path[13:] else "POST"
        expected = {"events": "GET", "sessions": "GET POST"}.get(verb, expected)
        if self.command not in expected.split():
            wrong.append(f"{self.command} of {path}")
        if len(headers.get_all("Authorization") or []) != 1 or len(headers.get_all("Host") or []) != 1:
            wrong.append("not one Authorization, or not one Host")
        if body and headers.get("Content-Type") != "application/json":
            wrong.append("a body that does not say that it is JSON")
        if (headers.get("Accept-Encoding") or "identity") != "identity":
            wrong.append("asks for an encoding")
        if self.command == "POST":
            self._check_body(path, verb, body, wrong)
        elif body:
            wrong.append(f"{self.command} with a body")

    def _check_body(self, path: str, verb: str, body: bytes, wrong: list[str]) -> None:
        if verb in ("pause", "resume", "rotate"):
            if body:
                wrong.append(f"{verb} with a body")
            return
        told = json.loads(body)
        if verb == "sessions":
            if ("template" in told) == ("spec" in told) or not _fits(told, _LEASE):
                wrong.append(f"open with {told}")
            if not re.fullmatch(r"[!-~]{1,255}", self.headers.get("Idempotency-Key") or ""):
                wrong.append("open without an idempotency key")
            return
        if verb == "signed-urls":
            if ("path" in told) == ("url" in told) or "expires_in_s" not in told or not _fits(told, _SIGNED):
                wrong.append(f"signed-urls with {told}")
            return
        fields = _FIELDS[verb]
        if set(told) != set(fields) or not all(
            type(told[n]) is not bool and isinstance(told[n], k) for n, k in fields.items()
        ):
            wrong.append(f"{verb} with {told}")
        if verb == "touch" and not (
            told["idle_s"] >= 0 and told["count"] >= 1 and re.fullmatch("[a-z0-9_-]{1,32}", told["source"])
        ):
            wrong.append(f"touch with {told}")

    def _open(self, body: bytes) -> None:
        companion = self.server.companion
        name = self.headers["Idempotency-Key"]
        told = json.loads(body)
        if name in companion.secrets:
            first, made = companion.secrets[name]
            if first != body.decode():
                self._problem(409, "another body")
            else:
                self._json(201, made)
            return
        companion.opened += 1
        companion.asked.append(told)
        id = companion.add(f"s{companion.opened}", "requested", owner=told.get("owner"), template=told.get("template"))
        made = {**companion.sessions[id], "token": f"atlas_{'t' * 43}", "touch_token": f"atlas_{'u' * 43}", "new": 1}
        companion.secrets[name] = (body.decode(), made)
        self._json(201, made)

    def _list(self, query: dict[str, str]) -> None:
        if set(query) - {"owner", "status", "cursor"}:
            self.server.companion.violations.append(f"list by {sorted(query)}")
        rows = list(self.server.companion.sessions.values())
        rows = [row for row in rows if query.get("owner") in (None, row.get("owner"))]
        rows = [row for row in rows if query.get("status") in (None, row["status"])]
        start = int(query.get("cursor", "0"))
        more = str(start + PAGE) if start + PAGE < len(rows) else None
        self._json(200, {"sessions": rows[start : start + PAGE], "next_cursor": more})

    def _act(self, id: str, verb: str | None, told: dict[str, Any]) -> None:
        companion = self.server.companion
        row = companion.sessions[id]
        if verb == "events":
            self._events(id)
            return
        if verb == "signed-urls":
            companion.asked.append(told)
            self._json(200, {"url": f"{row['urls']['8888']}/atlas-access/…{told.get('path')}", "expires_at": 1})
            return
        if verb == "touch":
            companion.touches.append(told)
        if verb == "extend":
            row["deadline"] = row.get("deadline", companion.clock) + told["seconds"]
        if verb == "rotate":
            row["generation"] += 1
        if verb in ("pause", "resume"):
            row["status"] = {"pause": "pausing", "resume": "resuming"}[verb]
        if self.command == "DELETE":
            row["status"] = "terminating"
        shown = {**row, "a_field_of_tomorrow": {"x": 1}}
        if verb == "rotate":
            shown["token"] = f"atlas_{'r' * 43}"
        self._json(202 if verb in ("pause", "resume") or self.command == "DELETE" else 200, shown)

    def _events(self, id: str) -> None:
        companion = self.server.companion
        seen = int(self.headers.get("Last-Event-ID") or 0)
        if companion.sessions[id].get("over") and seen >= len(companion.logs[id]):
            self._problem(410, "ended, and nothing is left to tell")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b": hello\n\n")
        if seen < companion.kept_from:
            self._chunk(b"id: %d\nevent: gap\ndata: {}\n\n" % companion.kept_from)
            seen = companion.kept_from
        while fresh := companion.behind(id, seen):
            for number, event, data in fresh:
                final = event == "status" and json.loads(data).get("status") == "terminated"
                companion.sessions[id]["over"] = final
                self._chunk(f"id: {number}\r\nevent: {event}\r\ndata: {data}\r\n\r\n".encode())
                seen = number
                if event == "cut":  # a stream that breaks off in the middle of an event
                    self._chunk(b"id: 77\ndata: half")
                    self.close_connection = True
                    return
                if final:
                    self._chunk(b"")
                    return
        self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def _fits(told: dict[str, Any], fields: dict[str, type | tuple[type, ...]]) -> bool:
    """Whether it has no other fields than these, of these types; a bool is no number."""
    return not set(told) - set(fields) and all(
        isinstance(value, fields[name]) and (type(value) is not bool or fields[name] is bool)
        for name, value in told.items()
    )


class Face:
    """A client of either kind, driven alike."""

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self.kind = kind
        self._runner = asyncio.Runner()
        self.client: Any = (CompanionClient if kind == "sync" else AsyncCompanionClient)(url, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.kind == "sync":
            self.client.close()
        else:
            self._runner.run(self.client.aclose())
        self._runner.close()

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            result = getattr(self.client, verb)(*args, **options)
            return self._runner.run(_wait(result)) if inspect.isawaitable(result) else result

        return call

    def list_sessions(self, **options: Any) -> list[Session]:
        return self._all(self.client.list_sessions(**options), None)

    def events(self, *args: Any, most: int | None = None, **options: Any) -> list[Event]:
        """All of them, or the first so many."""
        return self._all(self.client.events(*args, **options), most)

    def _all(self, source: Any, most: int | None) -> list[Any]:
        if self.kind == "sync":
            with contextlib.closing(source):
                return list(itertools.islice(source, most))
        return self._runner.run(_collect(source, most))


async def _wait(result: Any) -> Any:
    return await result


async def _collect(source: Any, most: int | None) -> list[Any]:
    found: list[Any] = []
    async with contextlib.aclosing(source):
        async for item in source:
            found.append(item)
            if most is not None and len(found) >= most:
                break
    return found

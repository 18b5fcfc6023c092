"""A store in memory that can fail, a clock that is turned by hand, and sessions and events to put in."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import ssl
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.runtime.store.contract import Delivery, StoreUnavailable

T = TypeVar("T")

START = 1_700_000_000.0


def run(work: Coroutine[Any, Any, T]) -> T:
    """The test's one event loop; what hangs fails."""

    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await work

    return asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    """Let others go on until the condition holds; `run` bounds it."""
    rounds = 0
    while not condition():
        await asyncio.sleep(0 if rounds < 100 else 0.002)
        rounds += 1


def session(ident: str = "s1", **fields: Any) -> Session:
    lease: dict[str, Any] = {
        "idle_ttl_s": 900.0, "max_lifetime_s": None, "warn_before_s": 60.0, "on_idle": "terminate",
        "paused_ttl_s": 3600.0, "budget": None,
    }  # fmt: skip
    return Session(**({"id": ident, "state": "ready", "provider": "mock", "created_at": START} | lease | fields))


def event(session_id: str | None = "s1", kind: str = "status", **fields: Any) -> SessionEvent:
    data = {"state": "ready", "id": session_id} if kind in ("status", "warning") else {}
    return SessionEvent(
        **(
            {"at": START, "session_id": session_id, "kind": kind, "actor": "companion", "cause": "usable", "data": data}
            | fields
        )
    )


class TurnedClock:
    """Both clocks stand still until `turn`."""

    def __init__(self) -> None:
        self.wall, self.mono = START, 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = itertools.count()
        self.slept: list[float] = []
        self.asleep = asyncio.Event()

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.slept.append(seconds)
        heapq.heappush(self._sleepers, (self.mono + seconds, next(self._order), woken))
        self.asleep.set()
        if seconds > 0:
            await woken.wait()

    def turn(self, seconds: float) -> None:
        self.wall, self.mono = self.wall + seconds, self.mono + seconds
        while self._sleepers and self._sleepers[0][0] <= self.mono:
            heapq.heappop(self._sleepers)[2].set()

    async def sleeper(self) -> None:
        """Wait until somebody sleeps."""
        while not self._sleepers:
            self.asleep.clear()
            await self.asleep.wait()


class MemoryStore:
    """What the outbox needs of a store, by the words of the contract. `fails`: how many calls fail first."""

    def __init__(self) -> None:
        self.kept: list[SessionEvent] = []
        self.newest = 0
        self.sessions: dict[str, Session] = {}
        self.webhooks: tuple[str, ...] = ()
        self.outbox: dict[tuple[int, str], Delivery] = {}
        self.fails = 0
        self.calls: list[str] = []
        self.failing: set[str] = set()  # calls that fail until they are taken out

    def write(self, *events: SessionEvent) -> tuple[SessionEvent, ...]:
        numbered = []
        for one in events:
            self.newest += 1
            numbered.append(replace(one, number=self.newest))
            for name in self.webhooks:
                self.outbox[self.newest, name] = Delivery(numbered[-1], name, 0, one.at)
        self.kept += numbered
        return tuple(numbered)

    async def note(self, events: Sequence[SessionEvent]) -> tuple[SessionEvent, ...]:
        await self._reached("note")
        return self.write(*events)

    async def events(self, *, after: int, session_id: str | None = None, limit: int = 500) -> Sequence[SessionEvent]:
        await self._reached("events")
        found = [one for one in self.kept if one.number > after and session_id in (None, one.session_id)]
        return found[:limit]

    async def event_range(self) -> tuple[int, int]:
        await self._reached("event_range")
        return (self.kept[0].number if self.kept else self.newest + 1), self.newest

    async def get(self, session_id: str) -> Session | None:
        await self._reached("get")
        return self.sessions.get(session_id)

    async def set_webhooks(self, names: Collection[str]) -> None:
        await self._reached("set_webhooks")
        self.webhooks = tuple(names)
        self.outbox = {key: one for key, one in self.outbox.items() if key[1] in names}

    async def due(self, now: float, *, webhook: str | None = None, limit: int = 50) -> Sequence[Delivery]:
        await self._reached("due")
        found = [one for one in self.outbox.values() if one.due_at <= now and webhook in (None, one.webhook)]
        return sorted(found, key=lambda one: one.due_at)[:limit]

    async def next_due(self, *, webhook: str | None = None) -> float | None:
        await self._reached("next_due")
        return min((one.due_at for one in self.outbox.values() if webhook in (None, one.webhook)), default=None)

    async def delivered(self, event_number: int, webhook: str) -> None:
        await self._reached("delivered")
        self.outbox.pop((event_number, webhook), None)

    async def postponed(self, event_number: int, webhook: str, *, due_at: float, error: str) -> None:
        await self._reached("postponed")
        before = self.outbox[event_number, webhook]
        self.outbox[event_number, webhook] = replace(
            before, attempt=before.attempt + 1, due_at=due_at, last_error=error
        )

    async def _reached(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)
        if self.fails or name in self.failing:
            self.fails = max(0, self.fails - 1)
            raise StoreUnavailable("the disk is full")


@dataclass
class Got:
    """A request that arrived."""

    path: str
    headers: dict[str, str]
    body: str


class Receiver:
    """A webhook on loopback. `answers`: status and headers for each request in turn, the last one for all that follow."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[Got] = []
        self.answers: list[tuple[int, dict[str, str]]] = [(200, {})]
        self.held: threading.Event | None = None  # requests wait for it before they are answered
        self.endless = False
        self.names: list[str | None] = []  # that TLS clients asked for
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        if tls is not None:
            tls.sni_callback = lambda _, name, __: self.names.append(name)
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.02))
        self._thread.start()

    def close(self) -> None:
        if self.held is not None:
            self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                status, headers = outer.answers[min(len(outer.got), len(outer.answers) - 1)]
                outer.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                with contextlib.suppress(OSError):
                    self._answer(status, headers)

            do_GET = do_POST

            def _answer(self, status: int, headers: dict[str, str]) -> None:
                if outer.held is not None:
                    outer.held.wait(25)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "1000000000" if outer.endless else "2")
                self.end_headers()
                self.wfile.write(b"ok")
                if outer.endless:
                    self.wfile.flush()
                    self.rfile.read(1)  # until the other end closes

            def log_message(self, *_: object) -> None:
                return

        return Handler

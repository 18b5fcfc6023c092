"""Visitors who only sit there: they are waited for so long, and give way to others."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from atlas_session.guard._proxy._protocol import HEAD_TIMEOUT_S, BoundedProtocol, in_room
from atlas_session.guard._proxy._room import Complaints, Room, open_files, places
from atlas_session.guard._proxy._serve import _KEEP_ALIVE_S
from tests.unit.session.proxy._process import BEARER, guard
from tests.unit.session.proxy._world import (
    DEADLINE_S,
    OK,
    ask,
    complete,
    raw_upstream,
    read_body,
    read_head,
    responding,
    run,
    served,
    visitor,
)

HEAD = b"GET / HTTP/1.1\r\nHost: pod.example\r\n"
BEGUN = b"POST / HTTP/1.1\r\nHost: pod.example\r\nContent-Length: 9\r\n\r\na"


class Clock:
    """A loop whose timers are ours."""

    def __init__(self) -> None:
        self.now = 0.0
        self.read = 0  # bytes that a protocol was handed
        self.moved = asyncio.Event()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def create_task(self, work: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work)

    def call_later(self, delay: float, what: Callable[[], None]) -> Timer:
        timer = Timer(what)
        heapq.heappush(self._timers, (self.now + delay, next(self._numbers), timer))
        return timer

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2].fire()


class Timer:
    def __init__(self, what: Callable[[], None]) -> None:
        self._what: Callable[[], None] | None = what

    def fire(self) -> None:
        if self._what is not None:
            self._what()

    def cancel(self) -> None:
        self._what = None


def timed(clock: Clock) -> type[BoundedProtocol]:
    class Timed(BoundedProtocol):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.loop = clock  # type: ignore[assignment]

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            clock.moved.set()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            clock.read += len(data)
            clock.moved.set()

    return Timed


class App:
    """Answers at once, without a look at the body, what is not for /slow."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        if scope["path"] == "/slow":
            self.asked.set()
            await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def sitting(clock: Clock) -> AsyncIterator[tuple[asyncio.StreamReader, Callable[[bytes], Any]]]:
    """A visitor; what it sends has been read when `send` is done."""
    async with served(App(), protocol=timed(clock), timeout_keep_alive=_KEEP_ALIVE_S) as port:  # noqa: SIM117
        async with visitor(port) as (reader, writer):

            async def send(data: bytes) -> None:
                expected = clock.read + len(data)
                writer.write(data)
                async with asyncio.timeout(DEADLINE_S):
                    while clock.read < expected:
                        clock.moved.clear()
                        await clock.moved.wait()

            yield reader, send


async def ended(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


@pytest.mark.parametrize("start", [b"\r\n", b"GET", HEAD, HEAD + b"X: "])
@pytest.mark.parametrize("before", ["nothing", "an answer", "a refused body"])
def test_a_head_that_does_not_come_is_not_waited_for(start: bytes, before: str) -> None:
    async def test() -> None:
        clock = Clock()
        async with sitting(clock) as (reader, send):
            if before != "nothing":
                await send(complete(HEAD) if before == "an answer" else BEGUN)
                await read_head(reader)
                await send(b"a" * 8 if before == "a refused body" else b"\r\n")
            await send(start)
            clock.pass_by(HEAD_TIMEOUT_S)
            await ended(reader)

    run(test())


def test_after_an_answer_a_connection_is_kept() -> None:
    async def test() -> None:
        clock = Clock()
        async with sitting(clock) as (reader, send):
            for _ in range(2):
                await send(complete(HEAD))
                assert (await read_head(reader)).status == 200
                clock.pass_by(_KEEP_ALIVE_S - 1)
            clock.pass_by(1)
            await ended(reader)

    run(test())


def test_who_says_nothing_at_all_is_not_waited_for() -> None:
    async def test() -> None:
        clock = Clock()
        async with sitting(clock) as (reader, _):
            await clock.moved.wait()
            clock.pass_by(HEAD_TIMEOUT_S)
            await ended(reader)

    run(test())


def test_drops_do_not_prolong_it() -> None:
    async def test() -> None:
        clock = Clock()
        async with sitting(clock) as (reader, send):
            await send(BEGUN)
            await read_head(reader)
            for _ in range(5):
                await send(b"a")
                clock.pass_by(HEAD_TIMEOUT_S / 5)
            await ended(reader)

    run(test())


def test_an_answer_may_take_its_time_and_every_head_has_its_own() -> None:
    async def test() -> None:
        clock, app = Clock(), App()
        async with served(app, protocol=timed(clock)) as port, visitor(port) as (reader, writer):
            for _ in range(3):
                app.asked.clear()
                app.go.clear()
                writer.write(complete(b"GET /slow HTTP/1.1"))
                async with asyncio.timeout(DEADLINE_S):
                    await app.asked.wait()
                clock.pass_by(100 * HEAD_TIMEOUT_S)
                app.go.set()
                assert (await read_head(reader)).status == 200
                clock.pass_by(1)

    run(test())


def test_a_websocket_is_not_waited_for_any_more() -> None:
    async def test() -> None:
        clock = Clock()
        async with served(App(), protocol=timed(clock), ws_ping_interval=None) as port:  # noqa: SIM117
            async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as socket:
                clock.pass_by(100 * HEAD_TIMEOUT_S)
                await (await socket.ping())

    run(test())


def test_who_waits_longest_gives_way_and_who_is_answered_does_not() -> None:
    async def test() -> None:
        app = App()
        async with served(app, protocol=in_room(Room(3))) as port, contextlib.AsyncExitStack() as stack:
            busy, one, two = [await stack.enter_async_context(visitor(port)) for _ in range(3)]
            busy[1].write(complete(b"GET /slow HTTP/1.1"))
            await app.asked.wait()
            for reader, writer in (two, one):  # the second one has been idle for longer
                writer.write(complete(HEAD))
                await read_body(reader, await read_head(reader))
            assert (await ask(port, HEAD)).status == 200
            await ended(two[0])
            assert not one[0].at_eof()
            app.go.set()
            assert (await read_head(busy[0])).status == 200

    run(test())


def test_each_gives_way_once() -> None:
    class Cut:
        def __init__(self) -> None:
            self.cuts = 0
            self.transport: Any = self

        def abort(self) -> None:
            self.cuts += 1

    room, all_three = Room(1), [Cut(), Cut(), Cut()]
    for one in all_three:
        room.wait(one)
    room.wait(all_three[0])
    assert room.admit(1)
    assert room.admit(2)
    assert room.admit(3)
    assert [one.cuts for one in all_three] == [1, 1, 0]
    room.leave(all_three[2])
    assert not room.admit(2)


def test_when_all_are_answered_another_one_is_told_so() -> None:
    async def test() -> None:
        app = App()
        async with served(app, protocol=in_room(Room(1))) as port, visitor(port) as (reader, writer):
            writer.write(complete(b"GET /slow HTTP/1.1"))
            await app.asked.wait()
            async with visitor(port) as (other, _):
                assert (await read_head(other)).status == 503
                assert await other.read() == b""
            app.go.set()
            assert (await read_head(reader)).status == 200
            assert (await ask(port, HEAD)).status == 200

    run(test())


@pytest.mark.parametrize(
    ("files", "burst", "expected"), [(1 << 20, 2048, 522208), (1024, 128, 352), (128, 16, 16), (64, 8, 8), (10, 1, 8)]
)
def test_places_leave_files_for_the_upstream_and_ourselves(files: int, burst: int, expected: int) -> None:
    assert places(files, burst) == expected


def test_the_files_that_may_be_open_are_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < open_files() <= 1 << 20
    monkeypatch.setattr("resource.getrlimit", lambda _: (-1, -1))
    assert open_files() == 1 << 20


def test_one_complaint_a_minute() -> None:
    said: list[str] = []
    now = [5.0]
    complaints = Complaints(said.append, lambda: now[0])
    loop = asyncio.new_event_loop()
    for moment, expected in [(5.0, 1), (64.9, 1), (65.0, 2), (70.0, 2)]:
        now[0] = moment
        complaints(loop, {"message": "socket.accept() out of system resource", "exception": OSError()})
        assert len(said) == expected
    loop.close()


def test_other_exceptions_are_still_told(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.ERROR):
        Complaints(pytest.fail)(loop, {"message": "something else"})
    loop.close()
    assert "something else" in caplog.text


@pytest.mark.slow
def test_more_silent_visitors_than_files_shut_nobody_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with raw_upstream(responding(OK)) as upstream, contextlib.AsyncExitStack() as stack:
            few = ["/bin/sh", "-c", 'ulimit -n 128 && exec "$@"', "sh"]
            with guard(tmp_path, ["--upstream", f"http://127.0.0.1:{upstream}"], before=few) as running:
                for _ in range(140):
                    await stack.enter_async_context(visitor(running.port))
                for _ in range(20):
                    assert (await ask(running.port, HEAD + BEARER)).status == 200
                assert "too many files" not in running.output
                assert "out of system resource" not in running.output

    run(test())

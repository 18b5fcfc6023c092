"""Large bodies pass in flat memory: the guard is a process of its own, so that its memory is its own.

A body that was kept whole anywhere would show at once: 100 MB pass, and 40 MB are allowed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve

from tests.unit.session.proxy._process import BEARER, TOKEN, Running, guard
from tests.unit.session.proxy._world import OK, ask, complete, raw_upstream, read_head, run, visitor

pytestmark = pytest.mark.slow

SIZE = 100 * 1024 * 1024
ALLOWED = 40 * 1024 * 1024
PIECE = hashlib.sha512(b"piece").digest() * 1024  # 64 KiB


class Watched:
    """The most memory that the guard had since the beginning, less what it had then."""

    def __init__(self, running: Running) -> None:
        self._process = psutil.Process(running.process.pid)
        self._begin = self._process.memory_info().rss
        self.growth = 0

    def look(self) -> None:
        self.growth = max(self.growth, self._process.memory_info().rss - self._begin)


def request(line: bytes, *headers: bytes) -> bytes:
    return complete(b"\r\n".join([line, BEARER, *headers]))


async def at_a_stop(sent: Callable[[], int], sending: asyncio.Task[None], running: Running, watched: Watched) -> None:
    """Wait until the sender is done, or comes no further while the guard answers 20 others."""
    before, unchanged = -1, 0
    while not sending.done() and unchanged < 20:
        assert (await ask(running.port, b"GET / HTTP/1.1")).status == 401
        watched.look()
        unchanged, before = (unchanged + 1 if sent() == before else 0), sent()


def test_an_upload_of_100_mb_to_an_upstream_that_reads_late(tmp_path: Path) -> None:
    """The upstream reads nothing until the visitor can send no more, and then everything."""

    async def test() -> None:
        go, digest = asyncio.Event(), hashlib.sha256()
        sent = 0

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await read_head(reader)
            left = int(head.one("content-length") or 0)
            if left:
                await go.wait()
            while left:
                data = await reader.read(65536)
                digest.update(data)
                left -= len(data)
                if left % (1 << 20) < 65536:
                    watched.look()
            writer.write(OK)

        async def send(writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            for _ in range(SIZE // len(PIECE)):
                writer.write(PIECE)
                await writer.drain()
                sent += len(PIECE)

        async with raw_upstream(take) as upstream:
            with guard(tmp_path, ["--upstream", f"http://127.0.0.1:{upstream}"]) as running:
                await _warm(running.port)
                watched = Watched(running)
                async with visitor(running.port) as (reader, writer):
                    writer.write(request(b"POST / HTTP/1.1", b"Content-Length: %d" % SIZE))
                    sending = asyncio.create_task(send(writer))
                    await at_a_stop(lambda: sent, sending, running, watched)
                    go.set()
                    assert (await read_head(reader)).status == 200
                    await sending
        assert digest.digest() == hashlib.sha256(PIECE * (SIZE // len(PIECE))).digest()
        assert watched.growth < ALLOWED

    run(test())


def test_a_download_of_100_mb_to_a_visitor_who_reads_late(tmp_path: Path) -> None:
    """The visitor reads nothing until the upstream can write no more, and then everything."""

    async def test() -> None:
        giving: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()
        sent = 0

        async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            if (await read_head(reader)).line.startswith("GET /warm"):
                writer.write(OK)
                return
            task = asyncio.current_task()
            assert task is not None
            giving.set_result(task)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            while sent < SIZE:
                writer.write(PIECE)
                await writer.drain()
                sent += len(PIECE)

        async with raw_upstream(give) as upstream:
            with guard(tmp_path, ["--upstream", f"http://127.0.0.1:{upstream}"]) as running:
                await _warm(running.port)
                watched = Watched(running)
                async with visitor(running.port) as (reader, writer):
                    writer.write(request(b"GET / HTTP/1.1"))
                    await at_a_stop(lambda: sent, await giving, running, watched)
                    assert (await read_head(reader)).one("content-length") == str(SIZE)
                    digest, left = hashlib.sha256(), SIZE
                    while left:
                        data = await reader.read(65536)
                        digest.update(data)
                        left -= len(data)
                        if left % (1 << 20) < 65536:
                            watched.look()
        assert digest.digest() == hashlib.sha256(PIECE * (SIZE // len(PIECE))).digest()
        assert watched.growth < ALLOWED

    run(test())


@pytest.mark.parametrize("who", ["visitor", "upstream"])
def test_100_mb_of_messages_to_whoever_reads_late(tmp_path: Path, who: str) -> None:
    """256 KiB a message; the other end begins to read when the sender has come to a stop."""

    async def test() -> None:
        message, number = PIECE * 4, SIZE // (4 * len(PIECE))
        go, ended = asyncio.Event(), asyncio.Event()
        theirs: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
        sent = 0

        async def send_all(socket: Connection) -> None:
            nonlocal sent
            for _ in range(number):
                await socket.send(message)
                sent += 1

        async def take_all(socket: Connection) -> None:
            await go.wait()
            for _ in range(number):
                assert await socket.recv() == message
                watched.look()

        async def talk(socket: ServerConnection) -> None:
            theirs.set_result(socket)
            await ended.wait()

        async with serve(talk, "127.0.0.1", 0, compression=None, max_queue=1) as server:
            upstream = next(iter(server.sockets)).getsockname()[1]
            with guard(tmp_path, ["--upstream", f"http://127.0.0.1:{upstream}"]) as running:
                watched = Watched(running)
                url, headers = f"ws://127.0.0.1:{running.port}/", {"Authorization": f"Bearer {TOKEN}"}
                async with connect(url, additional_headers=headers, proxy=None, compression=None, max_queue=1) as mine:
                    ends: tuple[Connection, Connection] = (mine, await theirs)
                    sender, taker = ends if who == "visitor" else ends[::-1]
                    sending = asyncio.create_task(send_all(sender))
                    taking = asyncio.create_task(take_all(taker))
                    await at_a_stop(lambda: sent, sending, running, watched)
                    go.set()
                    await taking
                    await sending
                    ended.set()
        assert watched.growth < ALLOWED

    run(test())


async def _warm(port: int) -> None:
    """One request, so that what is loaded at the first one is not counted."""
    assert (await ask(port, request(b"GET /warm HTTP/1.1"))).status == 200

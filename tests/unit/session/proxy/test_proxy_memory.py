"""Large bodies pass in flat memory: the guard is a process of its own, so that its memory is its own.

A body that was kept whole anywhere would show at once: 100 MB pass, and 40 MB are allowed.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.unit.session.proxy._process import BEARER, HASH, TOKEN, Running, guard
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


def test_an_upload_of_100_mb(tmp_path: Path) -> None:
    """The upstream reads slower than the visitor sends: every buffer on the way is full all the time."""

    async def test() -> None:
        arrived, digest = asyncio.Event(), hashlib.sha256()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await read_head(reader)
            left = int(head.one("content-length") or 0)
            looked = left
            while left:
                data = await reader.read(65536)
                digest.update(data)
                left -= len(data)
                if looked - left > 1_000_000:
                    looked = left
                    watched.look()
            writer.write(OK)
            arrived.set()

        async with raw_upstream(take) as upstream:
            with guard(tmp_path, ["--upstream", f"http://127.0.0.1:{upstream}"]) as running:
                await _warm(running.port)
                watched = Watched(running)
                async with visitor(running.port) as (reader, writer):
                    writer.write(request(b"POST / HTTP/1.1", b"Content-Length: %d" % SIZE))
                    for _ in range(SIZE // len(PIECE)):
                        writer.write(PIECE)
                        await writer.drain()
                    assert (await read_head(reader)).status == 200
                await arrived.wait()
                watched.look()
        assert digest.digest() == hashlib.sha256(PIECE * (SIZE // len(PIECE))).digest()
        assert watched.growth < ALLOWED

    run(test())


def test_a_download_of_100_mb_to_a_visitor_who_reads_when_it_pleases(tmp_path: Path) -> None:
    """The visitor reads nothing until the upstream can write no more, and then everything."""

    async def test() -> None:
        full = asyncio.Event()
        sent = 0

        async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            if (await read_head(reader)).line.startswith("GET /warm"):
                writer.write(OK)
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            while sent < SIZE:
                writer.write(PIECE)
                sent += len(PIECE)
                if writer.transport.get_write_buffer_size():  # the system took no more
                    full.set()
                await writer.drain()

        async with raw_upstream(give) as upstream:
            with guard(tmp_path, ["--upstream", f"http://127.0.0.1:{upstream}"]) as running:
                await _warm(running.port)
                watched = Watched(running)
                async with visitor(running.port) as (reader, writer):
                    writer.write(request(b"GET / HTTP/1.1"))
                    await full.wait()
                    watched.look()
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


def test_100_mb_of_messages_to_whoever_reads_slowly(tmp_path: Path) -> None:
    """Both ways at once, 256 KiB a message; each end begins to read when its own writing has come to a stop."""

    async def test() -> None:
        message, number = PIECE * 4, SIZE // (4 * len(PIECE))

        async def send_all(socket: object) -> None:
            for _ in range(number):
                await socket.send(message)  # type: ignore[attr-defined]
                watched.look()

        async def talk(socket: ServerConnection) -> None:
            sending = asyncio.create_task(send_all(socket))
            for _ in range(number):
                assert await socket.recv() == message
            await sending

        async with serve(talk, "127.0.0.1", 0, compression=None, max_queue=1) as server:
            upstream = next(iter(server.sockets)).getsockname()[1]
            with guard(tmp_path, ["--upstream", f"http://127.0.0.1:{upstream}"]) as running:
                watched = Watched(running)
                url, headers = f"ws://127.0.0.1:{running.port}/", {"Authorization": f"Bearer {TOKEN}"}
                async with connect(
                    url, additional_headers=headers, proxy=None, compression=None, max_queue=1
                ) as socket:
                    sending = asyncio.create_task(send_all(socket))
                    for _ in range(number):
                        assert await socket.recv() == message
                    await sending
        assert watched.growth < ALLOWED

    run(test())


async def _warm(port: int) -> None:
    """One request, so that what is loaded at the first one is not counted."""
    assert HASH
    assert (await ask(port, request(b"GET /warm HTTP/1.1"))).status == 200

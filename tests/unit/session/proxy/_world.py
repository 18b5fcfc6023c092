"""Upstreams, the proxy on a socket and visitors, all in one event loop: tests decide by events, never by time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from uvicorn.server import ServerState

from atlas_session.guard._proxy._app import ProxyApp
from atlas_session.guard._proxy._protocol import BoundedProtocol

DEADLINE_S = 20.0  # of what must happen; reaching it fails the test
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(test: Coroutine[Any, Any, None]) -> None:
    """The test, with a deadline, in a loop of its own. What nobody awaited and failed there fails the test."""
    unseen: list[dict[str, Any]] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        async with asyncio.timeout(3 * DEADLINE_S):
            await test
        gc.collect()  # a task that failed unseen says so when it goes
        await asyncio.sleep(0)

    gc.freeze()  # what was there before is not looked at again: that would take longer than the test
    try:
        asyncio.run(bounded())
    finally:
        gc.unfreeze()
    assert unseen == []


@contextlib.asynccontextmanager
async def served(app: Any, *, protocol: Any = BoundedProtocol, **options: Any) -> AsyncIterator[int]:
    """An ASGI application on a free port, served as the guard is."""
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        ws_per_message_deflate=False,
        ws_max_size=64 * 1024 * 1024,
        **options,
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def proxied(upstream: int | str, **options: Any) -> AsyncIterator[int]:
    """The proxy in front of a port (or a URL); gives its port."""
    app = ProxyApp(f"http://127.0.0.1:{upstream}" if isinstance(upstream, int) else upstream, **options)
    try:
        async with served(app) as port:
            yield port
    finally:
        await app.aclose()


@contextlib.asynccontextmanager
async def raw_upstream(handler: Handler, path: Path | None = None) -> AsyncIterator[int]:
    """A server of bytes, on a free port or at `path`. Whatever its handler raises beyond a lost connection fails the test."""
    failures: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            failures.append(error)
        finally:
            tasks.discard(task)
            writer.close()

    if path is None:
        server = await asyncio.start_server(one, "127.0.0.1", 0)
    else:
        server = await asyncio.start_unix_server(one, path)
    try:
        yield 0 if path is not None else server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)  # a connection that was just taken gets its task
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise failures[0]


class Head(NamedTuple):
    """The first line and the headers of a message."""

    line: str
    headers: list[tuple[str, str]]

    @property
    def status(self) -> int:
        return int(self.line.split()[1])

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None


async def read_head(reader: asyncio.StreamReader) -> Head:
    async with asyncio.timeout(DEADLINE_S):
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = text.removesuffix("\r\n\r\n").split("\r\n")
    pairs = [item.partition(":") for item in rest]
    return Head(line, [(name, value.strip()) for name, _, value in pairs])


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked body; empty at its end. Raises IncompleteReadError when it is cut."""
    async with asyncio.timeout(DEADLINE_S):
        size = int((await reader.readuntil(b"\r\n")).strip(), 16)
        data = await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    return data


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while chunk := await read_chunk(reader):
        found += chunk
    return bytes(found)


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """As the head frames it."""
    if head.one("transfer-encoding") == "chunked":
        return await read_chunks(reader)
    async with asyncio.timeout(DEADLINE_S):
        return await reader.readexactly(int(head.one("content-length") or 0))


class Answer(NamedTuple):
    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


@contextlib.asynccontextmanager
async def visitor(port: int, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(port: int, request: bytes, *, without_body: bool = False) -> Answer:
    """Send bytes on a new connection, read one answer. `request` may leave out the end of the head and Host."""
    async with visitor(port) as (reader, writer):
        writer.write(complete(request))
        head = await read_head(reader)
        return Answer(head, b"" if without_body else await read_body(reader, head))


def complete(request: bytes) -> bytes:
    """The request with a Host and the end of its head, where they are missing."""
    if b"\r\n\r\n" not in request:
        request = request.rstrip(b"\r\n") + b"\r\n\r\n"
    if b"\r\nhost:" not in request.lower():
        line, _, rest = request.partition(b"\r\n")
        request = line + b"\r\nHost: pod.example\r\n" + rest
    return request


def responding(answer: bytes, seen: list[Head] | None = None, bodies: list[bytes] | None = None) -> Handler:
    """A handler that reads one request after the other and answers each with the same bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head_quietly(reader)
            if head is None:
                return
            body = await read_body(reader, head)
            if seen is not None:
                seen.append(head)
            if bodies is not None:
                bodies.append(body)
            writer.write(answer)
            await writer.drain()

    return handle


async def read_head_quietly(reader: asyncio.StreamReader) -> Head | None:
    try:
        return await read_head(reader)
    except asyncio.IncompleteReadError:
        return None


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

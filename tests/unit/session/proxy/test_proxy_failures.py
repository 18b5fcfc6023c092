"""What goes wrong between visitor and upstream: never a cut answer that looks whole, never one visitor waiting for another."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
from pathlib import Path

import httpcore
import pytest
from websockets.asyncio.client import connect
from websockets.utils import accept_key

from atlas_session.guard._proxy._app import ProxyApp
from atlas_session.guard._proxy._duplex import DuplexStream
from atlas_session.guard._proxy._tasks import race
from tests.unit.session.proxy._world import (
    DEADLINE_S,
    OK,
    Head,
    ask,
    complete,
    proxied,
    raw_upstream,
    read_body,
    read_chunk,
    read_head,
    read_head_quietly,
    responding,
    run,
    served,
    visitor,
)

SHAKE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection without a proper end."""
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_an_absent_upstream_is_502_and_says_nothing_of_itself() -> None:
    async def test() -> None:
        port_of_nobody = closed_port()
        async with proxied(port_of_nobody) as port:
            answer = await ask(port, b"GET /secret HTTP/1.1")
        assert answer.status == 502
        assert answer.head.one("cache-control") == "no-store"
        assert answer.head.one("content-type") == "text/plain; charset=utf-8"
        assert answer.body.count(b"\n") == 1
        for hidden in (str(port_of_nobody).encode(), b"127.0.0.1", b"secret", b"httpcore", b"rror"):
            assert hidden not in answer.body

    run(test())


def test_an_upstream_that_does_not_take_the_connection_is_504() -> None:
    async def test() -> None:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(3):  # the queue is full: the system answers no more
            one = socket.socket()
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(listening.getsockname())
            waiting.append(one)
        try:
            async with proxied(listening.getsockname()[1], connect_timeout_s=0.2) as port:
                answer = await ask(port, b"GET / HTTP/1.1")
                assert (answer.status, answer.head.one("cache-control")) == (504, "no-store")
                assert (await ask(port, b"GET / HTTP/1.1\r\n" + SHAKE)).status == 504
        finally:
            for one in (listening, *waiting):
                one.close()

    run(test())


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_an_upstream_that_does_not_speak_http_is_502(garbage: bytes) -> None:
    async def test() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(garbage)
            await writer.drain()

        async with raw_upstream(handle) as upstream, proxied(upstream) as port:
            assert (await ask(port, b"POST / HTTP/1.1\r\nContent-Length: 0")).status == 502

    run(test())


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_answer_that_was_cut_does_not_look_whole(framing: bytes, how: str) -> None:
    async def test() -> None:
        arrived = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            piece = b"abc" if b"Length" in framing else b"3\r\nabc\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + piece)
            await arrived.wait()
            if how == "reset":
                reset(writer)

        async with raw_upstream(handle) as upstream, proxied(upstream) as port, visitor(port) as (reader, writer):
            writer.write(complete(b"GET / HTTP/1.1"))
            head = await read_head(reader)
            assert (
                await read_chunk(reader) if head.all("transfer-encoding") else await reader.readexactly(3)
            ) == b"abc"
            arrived.set()
            rest = await asyncio.wait_for(reader.read(), DEADLINE_S)
            assert rest == b""  # and above all no "0\r\n\r\n"

    run(test())


def test_a_refused_upload_is_answered_before_it_was_sent() -> None:
    """The upstream says 413 and reads no further; the visitor has sent a part and waits."""

    async def test() -> None:
        done = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n")
            await done.wait()

        async with raw_upstream(handle) as upstream, proxied(upstream) as port, visitor(port) as (reader, writer):
            writer.write(complete(b"POST / HTTP/1.1\r\nContent-Length: 100000000") + b"x" * 1000)
            head = await read_head(reader)
            assert (head.status, await read_body(reader, head)) == (413, b"no\n")
            done.set()

    run(test())


def test_a_refusal_is_seen_while_the_upload_is_stuck() -> None:
    """As above, with more to send than any buffer takes."""

    async def test() -> None:
        done = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n")
            await done.wait()

        async with raw_upstream(handle) as upstream, proxied(upstream) as port, visitor(port) as (reader, writer):
            writer.write(complete(b"POST / HTTP/1.1\r\nContent-Length: 64000000"))
            writer.write(bytes(63_000_000))
            head = await read_head(reader)
            assert (head.status, await read_body(reader, head)) == (413, b"no\n")
            done.set()

    run(test())


class Blocked(httpcore.AsyncNetworkStream):
    """A connection that takes nothing until it is told to, and has something to read when it is told to."""

    def __init__(self) -> None:
        self.takes, self.has, self.written, self.closed = asyncio.Event(), asyncio.Event(), b"", False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await self.has.wait()
        return b"HTTP/1.1 413"

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self.takes.wait()
        self.written += buffer

    async def aclose(self) -> None:
        self.closed = True


def test_a_write_that_is_stuck_gives_way_to_an_answer_and_is_finished_beside_it() -> None:
    async def test() -> None:
        inner = Blocked()
        stream = DuplexStream(inner)
        woken = asyncio.Event()
        stream.read_ahead(woken.set)
        writing = asyncio.create_task(stream.write(b"one"))
        await asyncio.sleep(0)
        assert not stream.answered
        inner.has.set()
        await woken.wait()
        with pytest.raises(httpcore.WriteError):
            await writing
        assert await stream.read(100) == b"HTTP/1.1 413"
        beside = asyncio.create_task(stream.write_beside(b"two"))
        inner.takes.set()
        await beside
        assert inner.written == b"onetwo"
        await stream.aclose()
        assert inner.closed

    run(test())


def test_what_is_cancelled_again_and_again_is_cancelled_once_and_closes_what_it_opened() -> None:
    """Server, guard and a visitor's leaving may all cancel one request."""

    async def test() -> None:
        begun, closing, may_close, never = asyncio.Event(), asyncio.Event(), asyncio.Event(), asyncio.Event()
        closed = False

        async def work() -> None:
            nonlocal closed
            try:
                begun.set()
                await never.wait()
            finally:
                closing.set()
                await may_close.wait()
                closed = True

        async def other() -> None:
            await never.wait()

        request = asyncio.create_task(race(work(), other()))
        await begun.wait()
        request.cancel()
        await closing.wait()
        for _ in range(3):
            request.cancel()
            await asyncio.sleep(0)
        assert not request.done()
        may_close.set()
        await asyncio.wait({request})
        assert closed
        assert request.cancelled()

    run(test())


def test_a_race_says_who_won_and_raises_what_went_wrong() -> None:
    async def test() -> None:
        async def soon() -> None:
            pass

        async def never() -> None:
            await asyncio.Event().wait()

        async def wrong() -> None:
            raise LookupError

        assert await race(soon(), never())
        assert not await race(never(), soon())
        with pytest.raises(LookupError):
            await race(wrong(), never())
        with pytest.raises(LookupError):
            await race(never(), wrong())

    run(test())


def test_closing_ends_what_a_stream_was_busy_with() -> None:
    async def test() -> None:
        inner = Blocked()
        stream = DuplexStream(inner)
        stream.read_ahead(lambda: None)
        writing = asyncio.create_task(stream.write(b"one"))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait({writing})
        await stream.aclose()
        assert inner.closed
        assert asyncio.all_tasks() == {asyncio.current_task()} | {task for task in asyncio.all_tasks() if task.done()}

    run(test())


def test_a_visitor_who_leaves_ends_the_upstreams_request() -> None:
    async def test() -> None:
        seen, ended = asyncio.Event(), asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            seen.set()
            assert await reader.read() == b""
            ended.set()

        async with raw_upstream(handle) as upstream, proxied(upstream) as port:
            async with visitor(port) as (_, writer):
                writer.write(complete(b"GET /long-poll HTTP/1.1"))
                await asyncio.wait_for(seen.wait(), DEADLINE_S)
            await asyncio.wait_for(ended.wait(), DEADLINE_S)

    run(test())


def test_a_visitor_who_leaves_while_uploading_ends_the_upstreams_request_without_an_end() -> None:
    async def test() -> None:
        seen, ended = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            assert await read_chunk(reader) == b"part"
            seen.set()
            ended.set_result(await reader.read())

        async with raw_upstream(handle) as upstream, proxied(upstream) as port:
            async with visitor(port) as (_, writer):
                writer.write(complete(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked") + b"4\r\npart\r\n")
                await asyncio.wait_for(seen.wait(), DEADLINE_S)
            assert await asyncio.wait_for(ended, DEADLINE_S) == b""  # no last chunk: the upload does not look whole

    run(test())


def test_a_visitor_who_leaves_in_the_middle_of_an_answer_ends_it() -> None:
    async def test() -> None:
        ended = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            assert await reader.read() == b""
            ended.set()

        async with raw_upstream(handle) as upstream, proxied(upstream) as port:
            async with visitor(port) as (reader, writer):
                writer.write(complete(b"GET / HTTP/1.1"))
                await read_head(reader)
                assert await read_chunk(reader) == b"abc"
            await asyncio.wait_for(ended.wait(), DEADLINE_S)

    run(test())


def test_slow_visitors_make_nobody_wait() -> None:
    """20 visitors who read nothing, 20 who send half an upload: another one is served meanwhile."""

    async def test() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await read_head(reader)
            if head.line.startswith("GET /big"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()
            await read_body(reader, head)
            writer.write(OK)

        async with raw_upstream(handle) as upstream, proxied(upstream) as port, contextlib.AsyncExitStack() as stack:
            for number in range(40):
                reader, writer = await stack.enter_async_context(visitor(port, limit=1024))
                if number % 2:
                    writer.write(complete(b"GET /big HTTP/1.1"))
                    await read_head(reader)
                else:
                    writer.write(complete(b"POST /slow HTTP/1.1\r\nContent-Length: 9") + b"half")
            assert (await ask(port, b"GET /quick HTTP/1.1")).body == b"ok"

    run(test())


def test_a_connection_that_was_closed_while_idle_costs_a_safe_request_nothing() -> None:
    """The upstream answers, then closes without a word at the next request on that connection: asked once more."""

    async def test() -> None:
        lines: list[str] = []
        first = True

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal first
            mine, first = first, False
            lines.append((await read_head(reader)).line)
            writer.write(OK)
            await writer.drain()
            if mine:
                lines.append("stale " + (await read_head(reader)).line)
                return
            while True:
                lines.append((await read_head(reader)).line)
                writer.write(OK)

        async with raw_upstream(handle) as upstream, proxied(upstream) as port:
            assert (await ask(port, b"GET /1 HTTP/1.1")).status == 200
            assert (await ask(port, b"GET /2 HTTP/1.1")).status == 200
            assert lines == ["GET /1 HTTP/1.1", "stale GET /2 HTTP/1.1", "GET /2 HTTP/1.1"]

    run(test())


@pytest.mark.parametrize(
    "request_line", [b"POST / HTTP/1.1", b"DELETE / HTTP/1.1", b"PUT / HTTP/1.1\r\nContent-Length: 0"]
)
def test_what_is_not_safe_is_never_asked_twice(request_line: bytes) -> None:
    async def test() -> None:
        seen: list[Head] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await read_head(reader))
            if len(seen) == 1:
                writer.write(OK)
                await writer.drain()
                seen.append(await read_head(reader))

        async with raw_upstream(handle) as upstream, proxied(upstream) as port:
            assert (await ask(port, b"GET / HTTP/1.1")).status == 200
            assert (await ask(port, request_line)).status == 502
        assert len(seen) == 2

    run(test())


def test_a_safe_request_that_breaks_a_new_connection_is_not_asked_twice() -> None:
    async def test() -> None:
        seen: list[Head] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await read_head(reader))

        async with raw_upstream(handle) as upstream, proxied(upstream) as port:
            assert (await ask(port, b"GET / HTTP/1.1")).status == 502
        assert len(seen) == 1

    run(test())


def test_connections_to_the_upstream_are_used_again() -> None:
    async def test() -> None:
        opened = 0
        answer = responding(OK)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            await answer(reader, writer)

        async with raw_upstream(handle) as upstream, proxied(upstream) as port:
            for request in (
                b"GET / HTTP/1.1",
                b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                b"HEAD / HTTP/1.1",
            ) * 2:
                got = await ask(port, request, without_body=request[:4] == b"HEAD")
                assert got.status == 200
        assert opened == 2  # a HEAD is answered with a body here, which a connection does not survive

    run(test())


@pytest.mark.parametrize("method", [b"CONNECT pod.example:443", b"TRACE /"])
def test_methods_that_are_not_for_us_are_refused(method: bytes) -> None:
    async def test() -> None:
        seen: list[Head] = []
        async with raw_upstream(responding(OK, seen)) as upstream, proxied(upstream) as port:
            with contextlib.suppress(asyncio.IncompleteReadError):  # httptools ends the connection at CONNECT
                assert (await ask(port, method + b" HTTP/1.1")).status in (400, 501)
        assert seen == []

    run(test())


def test_a_unix_socket_as_upstream(tmp_path: Path) -> None:
    async def test() -> None:
        seen: list[Head] = []
        handler = responding(OK, seen)
        app = ProxyApp(f"unix:{tmp_path / 's'}", host_header="upstream")
        async with raw_upstream(handler, tmp_path / "s"):
            async with proxied(f"unix:{tmp_path / 's'}") as port:
                assert (await ask(port, b"GET /a HTTP/1.1")).body == b"ok"
            async with served(app) as port:
                await ask(port, b"GET /b HTTP/1.1")
            assert await app.healthy()
        assert not await app.healthy()
        await app.aclose()
        assert [head.one("host") for head in seen] == ["pod.example", "localhost"]

    run(test())


def test_an_upstream_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate is checked: 502 when the machine does not trust it; early answers work as without TLS."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes this test's certificate, and is not installed")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *line.split(), *names], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head_quietly(reader)
        if head is None:
            return
        if "upgrade" in (head.one("connection") or "").lower():
            accept = accept_key(head.one("sec-websocket-key") or "").encode()
            shake = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            writer.write(shake + accept + b"\r\n\r\n\x81\x02hi\x88\x00")
        else:
            writer.write(OK.replace(b"Content", b"Connection: close\r\nContent"))  # before the body was read
        await reader.read()

    async def test() -> None:
        server = await asyncio.start_server(handle, "localhost", 0, ssl=context, family=socket.AF_INET)
        upstream = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        async with proxied(upstream) as port:
            assert (await ask(port, b"GET / HTTP/1.1")).status == 502
            assert (await ask(port, b"GET / HTTP/1.1\r\n" + SHAKE)).status == 502
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with proxied(upstream) as port:
            assert (await ask(port, b"GET / HTTP/1.1")).body == b"ok"
            assert (await ask(port, b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\nhalf")).body == b"ok"
            async with connect(f"ws://127.0.0.1:{port}", proxy=None) as socket_:
                assert await socket_.recv() == "hi"
        server.close()
        await server.wait_closed()

    run(test())


def test_health_is_a_connection() -> None:
    async def test() -> None:
        async with raw_upstream(responding(OK)) as upstream:
            app = ProxyApp(f"http://127.0.0.1:{upstream}")
            assert await app.healthy()
        assert not await ProxyApp(f"http://127.0.0.1:{closed_port()}").healthy()
        await app.aclose()

    run(test())

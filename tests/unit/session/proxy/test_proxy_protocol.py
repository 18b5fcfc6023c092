"""What uvicorn's protocol would let a visitor do: trailers as headers, and a body that becomes a request by an upgrade."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atlas_session.guard import Guard, GuardSettings
from atlas_session.guard._proxy._app import ProxyApp
from atlas_session.guard._proxy._protocol import MAX_HEAD_BYTES, BoundedProtocol
from tests.unit.session.proxy._process import BEARER, HASH
from tests.unit.session.proxy._world import (
    DEADLINE_S,
    OK,
    Head,
    ask,
    proxied,
    raw_upstream,
    read_body,
    read_head,
    responding,
    run,
    served,
    visitor,
)

HOST = b"Host: pod.example\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /pub/smuggled HTTP/1.1\r\nHost: pod.example\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\nUpgrade: h2c\r\n"


@contextlib.asynccontextmanager
async def guarded(behind: int | Any, *, protocol: Any = BoundedProtocol, **environ: str) -> AsyncIterator[int]:
    """The guard before an application, or before the proxy to a port; gives its port."""
    settings = GuardSettings.from_env({"ATLAS_TOKEN_HASHES": HASH, **environ})
    app = ProxyApp(f"http://127.0.0.1:{behind}") if isinstance(behind, int) else behind
    async with served(Guard(app, settings), protocol=protocol) as port:
        yield port
    if isinstance(app, ProxyApp):
        await app.aclose()


async def until_read(port: int) -> None:
    """What was written before others were answered has been read."""
    assert (await ask(port, b"GET /other HTTP/1.1")).status == 200


async def until_ended(reader: asyncio.StreamReader) -> None:
    """Whatever is said, the connection ends: broken, where more was sent than was read."""
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            await reader.read()


@pytest.mark.parametrize("in_one_write", [True, False])
def test_a_trailer_is_no_header(in_one_write: bool) -> None:
    async def test() -> None:
        headers: list[list[tuple[bytes, bytes]]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["method"] == "POST":
                while (await receive())["more_body"]:
                    pass
                headers.append(list(scope["headers"]))
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        async with served(app) as port, visitor(port) as (reader, writer):
            writer.write(CHUNKED + b"X-A: 1\r\n\r\n1\r\na\r\n0\r\n")
            if not in_one_write:
                await until_read(port)
            writer.write(b"Authorization: Bearer x\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n")
            writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"X-B: 1\r\nContent-Length: 0\r\n\r\n")
            assert (await read_head(reader)).status == 200
            assert (await read_head(reader)).status == 200
        assert [[name for name, _ in one] for one in headers] == [
            [b"host", b"transfer-encoding", b"x-a"],
            [b"host", b"x-b", b"content-length"],
        ]

    run(test())


@pytest.mark.parametrize(
    "endless", [b"a: b\r\n", b"a", b"a: " + b"b" * 10_000 + b"\r\n"], ids=["fields", "a name", "long values"]
)
def test_trailers_that_do_not_end_are_ended(endless: bytes) -> None:
    async def test() -> None:
        async with raw_upstream(responding(OK)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                writer.write(CHUNKED + b"\r\n1\r\na\r\n0\r\n")
                await until_read(port)
                writer.write(endless * (2 * MAX_HEAD_BYTES // len(endless)))
                await until_ended(reader)

    run(test())


def test_a_size_that_does_not_end_is_ended() -> None:
    async def test() -> None:
        async with raw_upstream(responding(OK)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                writer.write(CHUNKED + b"\r\n1;a")
                await until_read(port)
                writer.write(b"a" * 2 * MAX_HEAD_BYTES)
                await until_ended(reader)

    run(test())


def test_what_is_wrong_with_a_body_does_not_stand_in_the_middle_of_an_answer() -> None:
    async def test() -> None:
        async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
            await reader.read()

        async with raw_upstream(begin) as upstream, proxied(upstream) as port, visitor(port) as (reader, writer):
            writer.write(CHUNKED + b"\r\n1\r\na\r\n")
            assert (await read_head(reader)).status == 200
            writer.write(b"no size\r\n")
            async with asyncio.timeout(DEADLINE_S):
                assert await reader.read() == b"ok"

    run(test())


def test_a_server_that_joins_trailers_later_does_not_change_what_was_judged() -> None:
    """Behind uvicorn's own protocol: what comes after the guard has let the request in is no header."""

    async def test() -> None:
        begun = asyncio.Event()
        names: list[bytes] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.set()
            while (await receive())["more_body"]:
                pass
            names.extend(name for name, _ in scope["headers"])
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        async with guarded(app, protocol=HttpToolsProtocol, ATLAS_PUBLIC_PATHS="/pub") as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                writer.write(CHUNKED.replace(b"/ ", b"/pub ") + b"\r\n")
                await begun.wait()
                writer.write(b"0\r\nX-Real-Ip: 192.0.2.66\r\n\r\n")
                assert (await read_head(reader)).status == 200
        assert names == [b"host", b"transfer-encoding"]

    run(test())


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("in_one_write", [True, False])
@pytest.mark.parametrize("ended", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
@pytest.mark.parametrize("admitted", [True, False])
def test_the_body_beside_an_upgrade_is_a_body(framing: str, in_one_write: bool, ended: bytes, admitted: bool) -> None:
    """Java's client asks for h2c with every first request, whatever its body."""

    async def test() -> None:
        seen: list[Head] = []
        bodies: list[bytes] = []
        head = b"POST /secret HTTP/1.1\r\n" + HOST + H2C + ended + (BEARER + b"\r\n" if admitted else b"")
        if framing == "length":
            head += b"Content-Length: %d\r\n\r\n" % len(SMUGGLED)
            body = SMUGGLED
        else:
            head += b"Transfer-Encoding: chunked\r\n\r\n"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
        async with raw_upstream(responding(OK, seen, bodies)) as upstream:  # noqa: SIM117
            async with guarded(upstream, ATLAS_PUBLIC_PATHS="/pub/,/other") as port, visitor(port) as (reader, writer):
                writer.write(head)
                if not in_one_write:
                    await until_read(port)
                writer.write(body)
                answer = await read_head(reader)
                assert answer.status == (200 if admitted else 401)
                await read_body(reader, answer)
                if not ended:
                    writer.write(b"GET /pub/next HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
                    await read_body(reader, await read_head(reader))
                assert await reader.read() == b""
        asked = [(one.line.split()[1], body) for one, body in zip(seen, bodies, strict=True)]
        expected = [("/secret", SMUGGLED)] if admitted else []
        expected += [] if ended else [("/pub/next", b"")]
        assert [pair for pair in asked if pair[0] != "/other"] == expected
        assert not [one for one in seen if one.one("upgrade") or one.one("connection")]

    run(test())


def test_requests_after_an_upgrade_that_was_not_taken_up_are_requests() -> None:
    async def test() -> None:
        seen: list[Head] = []
        async with raw_upstream(responding(OK, seen)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                one = b"GET /%d HTTP/1.1\r\n" + HOST + H2C + b"\r\n"
                writer.write(b"".join([one % number for number in range(2000)]))
                for _ in range(2000):
                    await read_body(reader, await read_head(reader))
        assert [head.line.split()[1] for head in seen] == [f"/{number}" for number in range(2000)]

    run(test())


@pytest.mark.parametrize("in_one_write", [True, False])
def test_nothing_follows_connect(in_one_write: bool) -> None:
    async def test() -> None:
        seen: list[Head] = []
        async with raw_upstream(responding(OK, seen)) as upstream:  # noqa: SIM117
            async with guarded(upstream, ATLAS_PUBLIC_PATHS="/pub/,/other") as port, visitor(port) as (reader, writer):
                writer.write(b"CONNECT /secret HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED))
                if not in_one_write:
                    await until_read(port)
                writer.write(SMUGGLED)
                answer = await read_head(reader)
                assert answer.status == 401
                await read_body(reader, answer)
                assert await reader.read() == b""
        assert [head.line for head in seen if "/other" not in head.line] == []

    run(test())


@pytest.mark.parametrize("pieces", [[b"abc"], [b"abc", b"def"], [b""]], ids=["short", "long", "empty"])
def test_a_body_of_another_length_than_was_said_is_the_visitors_fault(pieces: list[bytes]) -> None:
    """No server of ours hands one over; a proxy is an ASGI application, and others may."""

    async def test() -> None:
        sent: list[Any] = []
        left = list(pieces)

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "raw_path": b"/",
            "headers": [(b"host", b"pod.example"), (b"content-length", b"5")],
        }
        async with raw_upstream(responding(OK)) as upstream:
            app = ProxyApp(f"http://127.0.0.1:{upstream}")
            await app(scope, receive, send)
            await app.aclose()
        assert sent[0]["status"] == 400

    run(test())

"""WebSockets through the proxy, with the `websockets` library on both ends, and bare sockets where it would be too polite."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.http11 import Request, Response

from atlas_session.guard._proxy import _websocket
from atlas_session.guard._proxy._codes import Close, for_upstream, for_visitor
from tests.unit.session.proxy._world import (
    DEADLINE_S,
    Head,
    ask,
    complete,
    proxied,
    raw_upstream,
    read_body,
    read_head,
    run,
    visitor,
)

Talk = Callable[[ServerConnection], Awaitable[None]]
SHAKE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="


@contextlib.asynccontextmanager
async def behind(talk: Talk, **options: Any) -> AsyncIterator[int]:
    """The proxy's port, with a WebSocket server behind it."""
    async with serve(talk, "127.0.0.1", 0, max_size=None, **options) as server:  # noqa: SIM117
        async with proxied(next(iter(server.sockets)).getsockname()[1]) as port:
            yield port


def to(port: int, path: str = "/", **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None, **options)


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


async def forever(socket: ServerConnection) -> None:
    await socket.wait_closed()


@pytest.mark.parametrize(
    "message", ["text", "\U0001f600", "", b"bytes", b"", b"\xff\x00", "x" * 100_000, b"y" * 20_000_000]
)
def test_messages_come_back_as_they_went(message: str | bytes) -> None:
    async def test() -> None:
        async with behind(echo) as port, to(port) as socket:
            for _ in range(2):
                await socket.send(message)
                assert await socket.recv() == message

    run(test())


def test_a_message_in_fragments_arrives_whole() -> None:
    async def test() -> None:
        async with behind(echo) as port, to(port) as socket:
            await socket.send(["a", "b", "c"])
            assert await socket.recv() == "abc"

    run(test())


def test_the_upstream_sees_the_request_but_for_the_handshake_itself() -> None:
    async def test() -> None:
        seen: list[Request] = []

        async def note(socket: ServerConnection) -> None:
            assert socket.request is not None
            seen.append(socket.request)

        headers = {
            "Cookie": "a=1",
            "Origin": "https://app.example",
            "X-Forwarded-For": "6.6.6.6",
            "Proxy-Authorization": "x",
        }
        async with behind(note) as port, to(port, "/a%2Fb;c?d=%20&d=2", additional_headers=headers) as socket:
            await socket.wait_closed()
            assert socket.request is not None
            mine = socket.request.headers
        theirs = seen[0].headers
        assert seen[0].path == "/a%2Fb;c?d=%20&d=2"
        assert theirs["Cookie"] == "a=1"
        assert theirs["Origin"] == "https://app.example"
        assert theirs["Host"] == mine["Host"] == theirs["X-Forwarded-Host"]
        assert theirs.get_all("X-Forwarded-For") == ["127.0.0.1"]
        assert theirs["X-Forwarded-Proto"] == "http"
        assert theirs["User-Agent"] == mine["User-Agent"]
        assert theirs["Sec-WebSocket-Key"] != mine["Sec-WebSocket-Key"]  # each leg has its own
        assert "Sec-WebSocket-Extensions" in mine
        assert "Sec-WebSocket-Extensions" not in theirs
        assert "Proxy-Authorization" not in theirs

    run(test())


def test_nothing_is_compressed_on_either_leg() -> None:
    async def test() -> None:
        async with behind(echo, compression="deflate") as port, to(port, compression="deflate") as socket:
            assert socket.response is not None
            assert "Sec-WebSocket-Extensions" not in socket.response.headers

    run(test())


@pytest.mark.parametrize(
    ("offered", "known", "chosen"),
    [(["a", "b"], ["b"], "b"), (["a", "b"], ["b", "a"], "b"), (["a"], None, None), (None, None, None)],
)
def test_the_upstream_chooses_the_subprotocol(offered: Any, known: Any, chosen: str | None) -> None:
    async def test() -> None:
        select = None if known is None else lambda _, theirs: next((name for name in known if name in theirs), None)
        async with behind(echo, select_subprotocol=select) as port, to(port, subprotocols=offered) as socket:
            assert socket.subprotocol == chosen

    run(test())


def test_what_the_upstream_adds_to_its_acceptance_arrives() -> None:
    async def test() -> None:
        def add(_: ServerConnection, __: Request, response: Response) -> None:
            response.headers["Set-Cookie"] = "a=1"
            response.headers["Set-Cookie"] = "b=2"
            response.headers["Keep-Alive"] = "5"

        async with behind(echo, process_response=add) as port, to(port) as socket:
            assert socket.response is not None
            assert socket.response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
            assert "Keep-Alive" not in socket.response.headers
            assert len(socket.response.headers.get_all("Sec-WebSocket-Accept")) == 1

    run(test())


@pytest.mark.parametrize("status", [200, 302, 401, 404, 503])
def test_a_refusal_arrives_with_status_headers_and_body(status: int) -> None:
    async def test() -> None:
        def refuse(socket: ServerConnection, _: Request) -> Response:
            response = socket.respond(status, "not you\n")
            response.headers["X-Why"] = "because"
            response.headers["Location"] = "http://127.0.0.1:1/elsewhere"
            return response

        async with behind(forever, process_request=refuse) as port:
            answer = await ask(port, b"GET / HTTP/1.1\r\n" + SHAKE)
        assert (answer.status, answer.body) == (status, b"not you\n")
        assert answer.head.one("x-why") == "because"
        assert answer.head.one("location") == "http://127.0.0.1:1/elsewhere"  # and nobody went there

    run(test())


def test_an_absent_upstream_or_one_that_speaks_something_else_is_502() -> None:
    async def test() -> None:
        async with behind(forever) as port:
            pass
        async with proxied(port) as port:
            with pytest.raises(InvalidStatus) as refused:
                await to(port)
            assert refused.value.response.status_code == 502
            assert refused.value.response.headers["Cache-Control"] == "no-store"

        async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"nonsense\r\n\r\n")

        async with raw_upstream(garbage) as upstream, proxied(upstream) as port:
            assert (await ask(port, b"GET / HTTP/1.1\r\n" + SHAKE)).status == 502

    run(test())


def test_an_upstream_that_accepts_a_subprotocol_nobody_offered_is_refused() -> None:
    async def test() -> None:
        async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(
                b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: odd\r\n\r\n"
            )

        async with raw_upstream(odd) as upstream, proxied(upstream) as port:
            assert (await ask(port, b"GET / HTTP/1.1\r\n" + SHAKE)).status == 502

    run(test())


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "bye"), (1011, "broken"), (3000, "x"), (4999, "\xe9" * 50)]
)
@pytest.mark.parametrize("who", ["visitor", "upstream"])
def test_a_close_arrives_with_its_code_and_reason(who: str, code: int, reason: str) -> None:
    async def test() -> None:
        theirs: asyncio.Future[tuple[int | None, str | None]] = asyncio.get_running_loop().create_future()

        async def talk(socket: ServerConnection) -> None:
            if who == "upstream":
                await socket.send("last words")
                await socket.close(code, reason)
            await socket.wait_closed()
            theirs.set_result((socket.close_code, socket.close_reason))

        async with behind(talk) as port, to(port) as socket:
            if who == "visitor":
                await socket.close(code, reason)
            else:
                assert await socket.recv() == "last words"
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert (socket.close_code, socket.close_reason) == (code, reason)
            assert await asyncio.wait_for(theirs, DEADLINE_S) == (code, reason)

    run(test())


@pytest.mark.parametrize("who", ["visitor", "upstream"])
def test_a_close_without_a_code_arrives_as_a_normal_one(who: str) -> None:
    async def test() -> None:
        theirs: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        async def talk(socket: ServerConnection) -> None:
            if who == "upstream":
                _close_without_a_code(socket)
            await socket.wait_closed()
            theirs.set_result(socket.close_code)

        async with behind(talk) as port, to(port) as socket:
            if who == "visitor":
                _close_without_a_code(socket)
                assert await asyncio.wait_for(theirs, DEADLINE_S) == 1000
            else:
                await asyncio.wait_for(socket.wait_closed(), DEADLINE_S)
                assert socket.close_code == 1000

    run(test())


def _close_without_a_code(socket: ServerConnection | ClientConnection) -> None:
    socket.protocol.send_close()
    socket.transport.writelines(socket.protocol.data_to_send())


def test_an_upstream_that_vanishes_is_a_bad_gateway_to_the_visitor() -> None:
    async def test() -> None:
        async def vanish(socket: ServerConnection) -> None:
            await socket.recv()
            socket.transport.abort()

        async with behind(vanish) as port, to(port) as socket:
            await socket.send("go")
            with pytest.raises(ConnectionClosedError):
                await socket.recv()
            assert socket.close_code == 1014

    run(test())


def test_a_visitor_who_vanishes_is_no_proper_end_to_the_upstream() -> None:
    async def test() -> None:
        theirs: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        async def talk(socket: ServerConnection) -> None:
            await socket.wait_closed()
            theirs.set_result(socket.close_code)

        async with behind(talk) as port, to(port) as socket:
            socket.transport.abort()
            assert await asyncio.wait_for(theirs, DEADLINE_S) == 1006

    run(test())


def test_a_visitor_who_leaves_during_the_handshake_is_noticed() -> None:
    async def test() -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            asked.set()
            assert await reader.read() == b""
            ended.set()

        async with raw_upstream(never_answers) as upstream, proxied(upstream) as port:
            async with visitor(port) as (_, writer):
                writer.write(complete(b"GET / HTTP/1.1\r\n" + SHAKE))
                await asyncio.wait_for(asked.wait(), DEADLINE_S)
            await asyncio.wait_for(ended.wait(), DEADLINE_S)

    run(test())


def test_a_message_that_is_too_big_ends_both_legs_with_1009(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_websocket, "MAX_MESSAGE_BYTES", 1000)

    async def test() -> None:
        theirs: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        async def talk(socket: ServerConnection) -> None:
            await socket.send(b"x" * 1000)
            await socket.send(b"x" * 1001)
            await socket.wait_closed()
            theirs.set_result(socket.close_code)

        async with behind(talk) as port, to(port) as socket:
            assert len(await socket.recv()) == 1000
            with pytest.raises(ConnectionClosedError):
                await socket.recv()
            assert socket.close_code == 1009
            assert await asyncio.wait_for(theirs, DEADLINE_S) == 1009

    run(test())


def test_pings_are_answered_by_each_leg_itself() -> None:
    """The upstream answers no pings at all; the visitor's are answered, and nothing ends."""

    async def test() -> None:
        seen: list[bytes] = []

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _accept(await read_head(reader), writer)
            seen.append(await reader.readexactly(2))

        async with raw_upstream(deaf) as upstream, proxied(upstream) as port, to(port) as socket:
            await asyncio.wait_for(await socket.ping(b"mine"), DEADLINE_S)
            await socket.send("x")
        assert seen[0][0] & 0x0F == 1  # the first frame that it saw is the text, no ping

    run(test())


def test_an_upstream_that_does_not_read_stops_the_visitor_and_not_the_memory() -> None:
    """The visitor's messages fill what lies between until its own send waits; then all of them arrive."""

    async def test() -> None:
        message, number = b"x" * 1_000_000, 60
        go, all_of_them = asyncio.Event(), asyncio.Event()
        arrived = 0

        async def talk(socket: ServerConnection) -> None:
            nonlocal arrived
            await go.wait()
            async for _ in socket:
                arrived += 1
            all_of_them.set()

        async def send_all(socket: ClientConnection) -> None:
            for _ in range(number):
                await socket.send(message)
            await socket.close()

        async with behind(talk) as port, to(port) as socket:
            sending = asyncio.create_task(send_all(socket))
            # Other visitors are served meanwhile, and the sender is not done while nobody reads.
            async with to(port) as other:
                await asyncio.wait_for(await other.ping(), DEADLINE_S)
            assert not sending.done()
            go.set()
            await sending
            await asyncio.wait_for(all_of_them.wait(), DEADLINE_S)
        assert arrived == number

    run(test())


async def _accept(head: Head, writer: asyncio.StreamWriter) -> None:
    from websockets.utils import accept_key

    key = accept_key(head.one("sec-websocket-key") or "")
    writer.write(
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + key.encode()
        + b"\r\n\r\n"
    )


def test_a_handshake_that_no_library_would_send() -> None:
    """Too many headers, an old version, no key: refused before the upstream is asked."""

    async def test() -> None:
        seen: list[Head] = []

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await read_head(reader))

        async with raw_upstream(note) as upstream, proxied(upstream) as port:
            for request in (
                b"GET / HTTP/1.1\r\n" + SHAKE.replace(b"13", b"8"),
                b"GET / HTTP/1.1\r\n" + SHAKE.replace(b"Sec-WebSocket-Key", b"X"),
                b"POST / HTTP/1.1\r\n" + SHAKE,
            ):
                answer = await ask(port, request)
                assert 400 <= answer.status < 500 or answer.status == 426
        assert seen == []

    run(test())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"code": 4001, "reason": "x"}, Close(4001, "x")),
        ({"code": 1005, "reason": ""}, Close(1000)),
        ({"code": 1005}, None),
        ({"code": 1006}, None),
        ({"code": 1006, "reason": ""}, None),
        ({}, None),
        ({"code": 1012, "reason": None}, Close(1012)),
        ({"code": 999, "reason": "x"}, None),
        ({"code": 1015, "reason": ""}, None),
    ],
)
def test_codes_for_the_upstream(message: dict[str, Any], expected: Close | None) -> None:
    assert for_upstream(message) == expected


@pytest.mark.parametrize(
    ("received", "sent", "expected"),
    [
        (Close(4001, "x"), None, 4001),
        (Close(1005), None, 1000),
        (Close(1005), Close(1005), 1000),
        (Close(1005), Close(1009), 1009),
        (None, None, 1014),
        (None, Close(1009, "too big"), 1009),
        (Close(1009), Close(1009), 1009),
        (None, Close(1002), 1014),
        (None, Close(1007), 1014),
        (Close(1015), None, 1000),
    ],
)
def test_codes_for_the_visitor(received: Close | None, sent: Close | None, expected: int) -> None:
    assert for_visitor(received, sent).code == expected


def test_a_body_of_a_plain_request_is_none_of_ours() -> None:
    """An upgrade to something else is a plain request without its upgrade."""

    async def test() -> None:
        seen: list[Head] = []

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await read_head(reader)
            seen.append(head)
            await read_body(reader, head)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        async with raw_upstream(note) as upstream, proxied(upstream) as port:
            answer = await ask(
                port, b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA"
            )
            assert answer.body == b"ok"
        assert [name for name, _ in seen[0].headers if not name.startswith("x-forwarded")] == ["host"]

    run(test())

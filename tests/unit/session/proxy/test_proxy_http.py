"""What passes through the proxy, byte for byte: lines, headers, bodies."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.session.proxy._world import (
    OK,
    Head,
    ask,
    complete,
    proxied,
    raw_upstream,
    read_body,
    read_chunk,
    read_chunks,
    read_head,
    responding,
    run,
    visitor,
)


async def passed(
    request: bytes, answer: bytes = OK, *, without_body: bool = False, **options: object
) -> tuple[Head, object]:
    """What the upstream saw of a request, and the answer that the visitor got."""
    seen: list[Head] = []
    async with raw_upstream(responding(answer, seen)) as upstream, proxied(upstream, **options) as port:
        got = await ask(port, request, without_body=without_body)
    assert len(seen) == 1
    return seen[0], got


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a%2Fb/%41%zz/c;p=1",
        "/a//b/../c",
        "/x?",
        "/x?a=1&a=2&b=%20+",
        "/a'()*!$@:,~",
        "/%00",
        "/x?q=/?",
        "/x?a[]=1|2",
    ],
)
def test_the_target_is_passed_as_it_was_written(target: str) -> None:
    async def test() -> None:
        head, _ = await passed(f"GET {target} HTTP/1.1".encode())
        expected = "/x" if target == "/x?" else target  # ASGI cannot tell an empty query from none
        assert head.line == f"GET {expected} HTTP/1.1"

    run(test())


def test_a_target_with_the_whole_url_becomes_its_path() -> None:
    async def test() -> None:
        head, _ = await passed(b"GET http://other.example/a?b HTTP/1.1\r\nHost: pod.example")
        assert head.line == "GET /a?b HTTP/1.1"
        assert head.one("host") == "pod.example"

    run(test())


def test_headers_keep_their_order_their_values_and_their_duplicates() -> None:
    async def test() -> None:
        head, _ = await passed(
            b"GET / HTTP/1.1\r\nX-B: 1\r\nCookie: a=1\r\nX-A: \xe9 ,x\r\nX-B: 2\r\nAccept-Encoding: br\r\nX-B:"
        )
        mine = [(name.lower(), value) for name, value in head.headers if name.lower() in ("x-a", "x-b", "cookie")]
        assert mine == [("x-b", "1"), ("cookie", "a=1"), ("x-a", "\xe9 ,x"), ("x-b", "2"), ("x-b", "")]
        assert head.one("accept-encoding") == "br"
        assert {name.lower() for name, _ in head.headers} == {
            "host", "x-a", "x-b", "cookie", "accept-encoding", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
        }  # fmt: skip

    run(test())


def test_hop_by_hop_headers_stay_on_their_leg() -> None:
    async def test() -> None:
        head, answer = await passed(
            b"GET / HTTP/1.1\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
            b"Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Kept: 1",
            b"HTTP/1.1 200 OK\r\nConnection: X-Theirs, keep-alive\r\nX-Theirs: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n"
            b"X-Kept: 2\r\nContent-Length: 2\r\n\r\nok",
        )
        assert [name.lower() for name, _ in head.headers if not name.lower().startswith("x-forwarded")] == [
            "host",
            "x-kept",
        ]
        assert answer.head.headers == [("x-kept", "2"), ("content-length", "2")]

    run(test())


@pytest.mark.parametrize("named", ["Content-Length", "Host", "X-Forwarded-For"])
def test_connection_cannot_take_away_what_makes_the_message(named: str) -> None:
    async def test() -> None:
        bodies: list[bytes] = []
        seen: list[Head] = []
        async with raw_upstream(responding(OK, seen, bodies)) as upstream, proxied(upstream) as port:
            await ask(port, complete(f"POST / HTTP/1.1\r\nConnection: {named}\r\nContent-Length: 3".encode()) + b"abc")
        assert bodies == [b"abc"]
        assert seen[0].one("host") == "pod.example"
        assert seen[0].one("x-forwarded-for") == "127.0.0.1"

    run(test())


def test_who_the_visitor_is_said_by_the_proxy_alone() -> None:
    async def test() -> None:
        head, _ = await passed(
            b"GET / HTTP/1.1\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n"
            b"X-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-User: root\r\nX-Forwarded-Host: evil.example"
        )
        assert [pair for pair in head.headers if "6.6.6.6" in pair[1] or pair[1] in ("root", "evil.example")] == []
        assert head.one("x-forwarded-for") == "127.0.0.1"
        assert head.one("x-forwarded-proto") == "http"
        assert head.one("x-forwarded-host") == "pod.example"

    run(test())


def test_host_is_the_visitors_or_the_upstreams() -> None:
    async def test() -> None:
        head, _ = await passed(b"GET / HTTP/1.1\r\nHost: pod.example:8443")
        assert head.one("host") == "pod.example:8443"
        head, _ = await passed(b"GET / HTTP/1.1\r\nHost: pod.example", host_header="upstream")
        assert (head.one("host") or "").startswith("127.0.0.1:")
        assert head.one("x-forwarded-host") == "pod.example"

    run(test())


def test_set_cookie_twice_and_no_jar() -> None:
    async def test() -> None:
        answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
        seen: list[Head] = []
        async with raw_upstream(responding(answer, seen)) as upstream, proxied(upstream) as port:
            first = await ask(port, b"GET / HTTP/1.1")
            await ask(port, b"GET / HTTP/1.1")
        assert first.head.all("set-cookie") == ["a=1", "b=2"]
        assert [head.all("cookie") for head in seen] == [[], []]

    run(test())


def test_nothing_is_followed_or_decoded() -> None:
    async def test() -> None:
        answer = (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Encoding: gzip\r\n"
            b"Content-Length: 3\r\n\r\n\x1f\x8b\x00"
        )
        _, got = await passed(b"GET / HTTP/1.1", answer)
        assert got.status == 302
        assert got.head.one("location") == "http://127.0.0.1:1/x"
        assert got.head.one("content-encoding") == "gzip"
        assert got.body == b"\x1f\x8b\x00"

    run(test())


@pytest.mark.parametrize(
    ("method", "answer", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", "5000"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 5000\r\n\r\n', None),
    ],
)
def test_answers_without_a_body_have_none_and_the_connection_lives_on(
    method: str, answer: bytes, length: str | None
) -> None:
    async def test() -> None:
        seen: list[Head] = []
        async with raw_upstream(responding(answer, seen)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                for _ in range(2):
                    writer.write(complete(f"{method} / HTTP/1.1".encode()))
                    head = await read_head(reader)
                    assert head.line.split()[1] == answer.split()[1].decode()
                    assert head.one("content-length") == length
                    assert head.one("transfer-encoding") is None
        assert len(seen) == 2

    run(test())


def test_range_and_partial_content() -> None:
    async def test() -> None:
        head, got = await passed(
            b'GET / HTTP/1.1\r\nRange: bytes=2-3\r\nIf-Range: "x"',
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/9\r\nContent-Length: 2\r\n\r\ncd",
        )
        assert head.one("range") == "bytes=2-3"
        assert head.one("if-range") == '"x"'
        assert (got.status, got.head.one("content-range"), got.body) == (206, "bytes 2-3/9", b"cd")

    run(test())


@pytest.mark.parametrize(
    ("sent", "framing"),
    [
        (b"Content-Length: 5\r\n\r\nhello", ("content-length", "5")),
        (
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Trailer: 1\r\n\r\n",
            ("transfer-encoding", "chunked"),
        ),
        (b"Content-Length: 0\r\n\r\n", ("content-length", "0")),
    ],
)
def test_a_body_keeps_its_framing(sent: bytes, framing: tuple[str, str]) -> None:
    async def test() -> None:
        seen: list[Head] = []
        bodies: list[bytes] = []
        async with raw_upstream(responding(OK, seen, bodies)) as upstream, proxied(upstream) as port:
            for _ in range(2):
                assert (await ask(port, b"POST / HTTP/1.1\r\nHost: pod.example\r\n" + sent)).body == b"ok"
        for head in seen:
            assert {name: head.one(name) for name in ("content-length", "transfer-encoding") if head.all(name)} == dict(
                [framing]
            )
        assert bodies == [b"hello" if framing[1] != "0" else b""] * 2

    run(test())


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PROPFIND"])
def test_a_request_without_a_body_gets_none(method: str) -> None:
    async def test() -> None:
        head, _ = await passed(f"{method} / HTTP/1.1".encode())
        assert head.line.startswith(f"{method} ")
        assert head.all("content-length") == head.all("transfer-encoding") == []

    run(test())


def test_an_answer_in_chunks_and_one_that_ends_with_its_connection_arrive_whole() -> None:
    async def test() -> None:
        chunked = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n"
            b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n"
        )
        _, got = await passed(b"GET / HTTP/1.1", chunked)
        assert got.body == b"abcdefg"
        assert got.head.one("content-length") is None

        async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.0 200 OK\r\n\r\nabc")

        async with raw_upstream(until_closed) as upstream, proxied(upstream) as port:
            assert (await ask(port, b"GET / HTTP/1.1")).body == b"abc"

    run(test())


def test_interim_answers_are_read_over() -> None:
    async def test() -> None:
        _, got = await passed(b"GET / HTTP/1.1", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
        assert (got.status, got.body) == (200, b"ok")

    run(test())


def test_expect_continue_is_answered_when_the_upstream_is_there() -> None:
    async def test() -> None:
        arrived = asyncio.Event()
        may_read = asyncio.Event()

        async def upstream_handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await read_head(reader)
            assert head.all("expect") == []
            arrived.set()
            await may_read.wait()
            assert await read_body(reader, head) == b"hello"
            writer.write(OK)

        async with raw_upstream(upstream_handler) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                writer.write(complete(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5"))
                assert (await read_head(reader)).status == 100
                await arrived.wait()
                may_read.set()
                writer.write(b"hello")
                assert (await read_head(reader)).status == 200

    run(test())


def test_expect_continue_is_not_answered_when_the_upstream_is_away() -> None:
    async def test() -> None:
        async with proxied(await _free_port()) as port:
            answer = await ask(port, b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5")
            assert answer.status == 502  # and no 100 before it: ask() reads the first head

    run(test())


def test_events_arrive_one_by_one() -> None:
    """The upstream sends the next event only when the visitor has the one before: any buffering would be a deadlock."""

    async def test() -> None:
        arrived = asyncio.Queue[None]()

        async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number in range(5):
                data = b"data: %d\n\n" % number
                writer.write(b"%x\r\n%b\r\n" % (len(data), data))
                await arrived.get()
            writer.write(b"0\r\n\r\n")

        async with raw_upstream(events) as upstream, proxied(upstream) as port, visitor(port) as (reader, writer):
            writer.write(complete(b"GET /events HTTP/1.1"))
            assert (await read_head(reader)).one("content-type") == "text/event-stream"
            for number in range(5):
                assert await read_chunk(reader) == b"data: %d\n\n" % number
                arrived.put_nowait(None)
            assert await read_chunk(reader) == b""

    run(test())


def test_both_directions_at_once() -> None:
    """An upstream that answers each piece before the next is sent: the answer begins long before the request ends."""

    async def test() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while data := await read_chunk(reader):
                writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            writer.write(b"0\r\n\r\n")

        async with raw_upstream(echo) as upstream, proxied(upstream) as port, visitor(port) as (reader, writer):
            writer.write(complete(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked"))
            assert (await read_head(reader)).status == 200
            for number in range(5):
                writer.write(b"1\r\n%d\r\n" % number)
                assert await read_chunk(reader) == b"%d" % number
            writer.write(b"0\r\n\r\n")
            assert await read_chunks(reader) == b""

    run(test())


def test_a_large_echo_in_both_directions() -> None:
    """16 MB up and down at once: an upstream that writes before it reads on must not stop both."""

    async def test() -> None:
        size, piece = 16 * 1024 * 1024, bytes(range(256)) * 256

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            left = size
            while left:
                data = await reader.read(65536)
                left -= len(data)
                writer.write(data)
                await writer.drain()

        async def send(writer: asyncio.StreamWriter) -> None:
            for _ in range(size // len(piece)):
                writer.write(piece)
                await writer.drain()

        async with raw_upstream(echo) as upstream, proxied(upstream) as port, visitor(port) as (reader, writer):
            writer.write(complete(b"POST / HTTP/1.1\r\nContent-Length: %d" % size))
            sending = asyncio.create_task(send(writer))
            head = await read_head(reader)
            assert await read_body(reader, head) == piece * (size // len(piece))
            await sending

    run(test())


async def _free_port() -> int:
    """A port of this machine on which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    return int(port)

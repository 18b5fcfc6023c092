"""Requests whose end two readers could see in different places. httptools refuses most; the rest is refused or made plain.

What httptools 0.9 (llhttp) does by itself: it refuses Content-Length beside Transfer-Encoding, two of either (equal ones
too), a length with a sign or a list, codings that do not end in one "chunked", white space before a colon, folded lines,
bare LF and bare CR, names that are no token, control characters in values, and a chunk size that is no number. It passes
"gzip, chunked" (the proxy refuses that), headers with an underscore (the proxy drops them), and more than one space in
the request line (which then has one).
"""

from __future__ import annotations

import asyncio

import pytest

from atlas_session.guard._proxy._headers import BadFraming, request_framing
from atlas_session.guard._proxy._protocol import MAX_HEAD_BYTES
from tests.unit.session.proxy._world import (
    DEADLINE_S,
    OK,
    Head,
    ask,
    proxied,
    raw_upstream,
    read_head,
    responding,
    run,
    visitor,
)

HOST = b"Host: pod.example\r\n"
SHAKE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
SHAKE += b"AAAAAAAAAAAAAAAAAAAAAA==\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: pod.example\r\n\r\n"

REFUSED = [
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4, 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length : 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"X: 1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: 1\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Bad Name: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Bad\x00Name: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b": nameless\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"(x): 1\r\n\r\n",
    b"GET / x HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/3.7\r\n" + HOST + b"\r\n",
]


@pytest.mark.parametrize("request_bytes", REFUSED)
def test_what_can_be_read_in_two_ways_reaches_no_upstream_whole(request_bytes: bytes) -> None:
    """400, the connection ends, and neither a finished request nor the one behind it reaches the upstream."""

    async def test() -> None:
        whole: list[Head] = []
        async with raw_upstream(responding(OK, whole)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                writer.write(request_bytes + SMUGGLED)
                assert (await read_head(reader)).status == 400
                rest = await asyncio.wait_for(reader.read(), DEADLINE_S)
                assert b"HTTP/1.1" not in rest
        assert whole == []

    run(test())


def test_two_requests_in_one_write_are_two() -> None:
    async def test() -> None:
        seen: list[Head] = []
        bodies: list[bytes] = []
        async with raw_upstream(responding(OK, seen, bodies)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                writer.write(b"POST /1 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello" + SMUGGLED)
                for _ in range(2):
                    assert (await read_head(reader)).status == 200
                    assert await reader.readexactly(2) == b"ok"
        assert [head.line for head in seen] == ["POST /1 HTTP/1.1", "GET /smuggled HTTP/1.1"]
        assert bodies == [b"hello", b""]

    run(test())


def test_chunks_are_framed_anew() -> None:
    """What stands in chunk extensions and trailers does not reach the upstream."""

    async def test() -> None:
        raw = asyncio.get_running_loop().create_future()

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            raw.set_result(await reader.readuntil(b"0\r\n\r\n"))
            writer.write(OK)

        async with raw_upstream(note) as upstream, proxied(upstream) as port, visitor(port) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
            writer.write(b"0005;evil=1\r\nhello\r\n0\r\nX-Admin: 1\r\n\r\n")
            assert (await read_head(reader)).status == 200
            assert await raw == b"5\r\nhello\r\n0\r\n\r\n"

    run(test())


@pytest.mark.parametrize(
    "name",
    ["Content_Length", "Transfer_Encoding", "X_Forwarded_For", "SCRIPT_NAME", "Path_Info", "X_Mine", "Host_", "_"],
)
@pytest.mark.parametrize("upgrade", [b"", SHAKE], ids=["http", "handshake"])
def test_names_that_cgi_cannot_tell_apart(name: str, upgrade: bytes) -> None:
    """Some servers even take SCRIPT_NAME from a neighbour as the setting of that name, and serve another path."""

    async def test() -> None:
        seen: list[Head] = []
        async with raw_upstream(responding(OK, seen)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                writer.write(b"GET / HTTP/1.1\r\n" + HOST + upgrade + f"{name}: evil\r\nX-Mine: 1\r\n\r\n".encode())
                assert (await read_head(reader)).status == 200
        assert [value for _, value in seen[0].headers if value in ("evil", "1")] == ["1"]

    run(test())


@pytest.mark.parametrize(
    "start",
    [
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 20_000,
    ],
)
def test_a_head_that_does_not_end_is_ended(start: bytes) -> None:
    """Before anybody has judged the request, a visitor can make us hold so much and no more."""

    async def test() -> None:
        seen: list[Head] = []
        async with raw_upstream(responding(OK, seen)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                assert len(start) > MAX_HEAD_BYTES
                writer.write(start)
                assert (await read_head(reader)).status == 400
        assert seen == []

    run(test())


def test_the_bound_of_heads_counts_no_bodies_and_no_earlier_heads() -> None:
    async def test() -> None:
        async with raw_upstream(responding(OK)) as upstream, proxied(upstream) as port:  # noqa: SIM117
            async with visitor(port) as (reader, writer):
                for _ in range(4):
                    writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 30_000)
                    # What was written before others were answered has been read: the head comes in two pieces.
                    assert (await ask(port, b"GET / HTTP/1.1")).status == 200
                    writer.write(b"\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000))
                    assert (await read_head(reader)).status == 200
                    assert await reader.readexactly(2) == b"ok"

    run(test())


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"1"), (b"content-length", b"2")],
        [(b"content-length", b"1, 2")],
        [(b"content-length", b"")],
        [(b"content-length", b"1e3")],
        [(b"content-length", "\N{SUPERSCRIPT TWO}".encode("latin-1"))],
        [(b"content-length", b"1_000")],
        [(b"content-length", b"9" * 19)],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"identity")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"a b", b"")],
        [(b"", b"")],
        [(b"a\r\nb", b"")],
    ],
)
def test_framing_is_judged_again_whatever_the_server_let_through(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(BadFraming):
        request_framing(headers)

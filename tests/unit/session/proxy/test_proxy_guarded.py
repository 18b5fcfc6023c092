"""Guard and proxy together: what the upstream sees of a visitor who came in, and of one behind other proxies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from atlas_session.guard import Guard, GuardSettings
from atlas_session.guard._proxy._app import ProxyApp
from atlas_session.guard._proxy._serve import _listen, _look_with
from atlas_session.urls import sign_path, sign_url
from tests.unit.session.proxy._process import BEARER, HASH, TOKEN
from tests.unit.session.proxy._world import OK, Head, ask, raw_upstream, read_head, responding, run, served, visitor

KEY = b"u" * 32


@contextlib.asynccontextmanager
async def guarded(upstream: int, **environ: str) -> AsyncIterator[int]:
    settings = GuardSettings.from_env(
        {"ATLAS_TOKEN_HASHES": HASH, "ATLAS_URL_KEYS": "k1:" + "dXV1" * 10 + "dXU", **environ}
    )
    proxy = ProxyApp(f"http://127.0.0.1:{upstream}", look=_look_with(settings))
    async with served(Guard(proxy, settings, health=proxy.healthy)) as port:
        yield port
    await proxy.aclose()


async def seen_of(request: bytes, **environ: str) -> Head:
    seen: list[Head] = []
    async with raw_upstream(responding(OK, seen)) as upstream, guarded(upstream, **environ) as port:
        assert (await ask(port, request)).status == 200
    return seen[0]


def test_the_token_goes_no_further() -> None:
    async def test() -> None:
        head = await seen_of(b"GET /a?b=1 HTTP/1.1\r\nX-Mine: 1\r\n" + BEARER)
        assert head.line == "GET /a?b=1 HTTP/1.1"
        assert [name for name, _ in head.headers if not name.startswith("x-forwarded-")] == ["host", "x-mine"]

    run(test())


def test_a_signed_url_reaches_the_upstream_without_its_grant() -> None:
    async def test() -> None:
        now = int(time.time())
        url = sign_url("http://pod.example/a%2Cb?x=1&y=%20", key=KEY, kid="k1", expires_in_s=600, now=now)
        head = await seen_of(f"GET {url.removeprefix('http://pod.example')} HTTP/1.1".encode())
        assert head.line == "GET /a%2Cb?x=1&y=%20 HTTP/1.1"
        url = sign_path("http://pod.example/hls/a.m3u8", key=KEY, kid="k1", expires_in_s=600, now=now)
        head = await seen_of(f"GET {url.removeprefix('http://pod.example')} HTTP/1.1".encode())
        assert head.line == "GET /hls/a.m3u8 HTTP/1.1"

    run(test())


@pytest.mark.parametrize(
    ("environ", "sent", "expected"),
    [
        ({}, "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: x.example",
         ("127.0.0.1", "http", "pod.example")),
        (
            {"ATLAS_TRUSTED_PROXIES": "127.0.0.1"},
            "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: x.example",
            ("192.0.2.7", "https", "x.example"),
        ),
        ({"ATLAS_TRUSTED_PROXIES": "127.0.0.1"}, "X-Forwarded-Host: x.example:8443", (None, "http", "x.example:8443")),
        ({"ATLAS_TRUSTED_PROXIES": "127.0.0.1"}, "X-Forwarded-For: nonsense", (None, "http", "pod.example")),
        ({"ATLAS_PUBLIC_URL": "https://x.example"}, "X-A: 1", ("127.0.0.1", "https", "x.example")),
        ({"ATLAS_PUBLIC_URL": "https://x.example:8443"}, "X-A: 1", ("127.0.0.1", "https", "x.example:8443")),
    ],
)  # fmt: skip
def test_who_the_visitor_is_by_the_guards_rules(
    environ: dict[str, str], sent: str, expected: tuple[str | None, str, str]
) -> None:
    async def test() -> None:
        head = await seen_of(b"GET / HTTP/1.1\r\n" + BEARER + b"\r\n" + sent.encode(), **environ)
        names = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
        assert tuple(head.one(name) for name in names) == expected
        assert head.one("host") == "pod.example"

    run(test())


def test_a_browsers_websocket_shows_the_upstream_no_token() -> None:
    async def test() -> None:
        offered: list[str | None] = []

        async def talk(socket: ServerConnection) -> None:
            assert socket.request is not None
            offered.append(socket.request.headers.get("Sec-WebSocket-Protocol"))
            await socket.send("in")

        select = lambda _, names: "chat" if "chat" in names else None  # noqa: E731
        async with serve(talk, "127.0.0.1", 0, select_subprotocol=select) as server:
            upstream = next(iter(server.sockets)).getsockname()[1]
            async with guarded(upstream) as port:
                for mine, chosen in (
                    (["atlas-session"], "atlas-session"),
                    (["chat"], "chat"),
                    (["chat", "atlas-session"], "chat"),
                ):
                    protocols = [*mine, f"atlas-bearer.{TOKEN}"]
                    async with connect(f"ws://127.0.0.1:{port}", subprotocols=protocols, proxy=None) as socket:  # type: ignore[arg-type]
                        assert await socket.recv() == "in"
                        assert socket.subprotocol == chosen
        assert not [line for line in offered if line and TOKEN in line]

    run(test())


def test_an_upload_that_is_not_allowed_is_refused_before_it_is_sent() -> None:
    async def test() -> None:
        seen: list[Head] = []
        async with raw_upstream(responding(OK, seen)) as upstream, guarded(upstream) as port:
            answer = await ask(port, b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 100000000")
            assert answer.status == 401
        assert seen == []

    run(test())


def test_a_cut_answer_is_cut_through_the_guard_as_well() -> None:
    async def test() -> None:
        async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")

        async with raw_upstream(half) as upstream, guarded(upstream) as port:
            with pytest.raises(asyncio.IncompleteReadError):
                await ask(port, b"GET / HTTP/1.1\r\n" + BEARER)

    run(test())


def test_small_pieces_are_sent_at_once() -> None:
    """Without TCP_NODELAY on what it accepts, each answer would wait for the visitor's delayed acknowledgement."""

    async def test() -> None:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raw = writer.get_extra_info("socket")
            accepted.set_result(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with _listen("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(look, sock=listener), visitor(listener.getsockname()[1]):
                assert await accepted != 0

    run(test())


def test_health_follows_the_upstream() -> None:
    async def test() -> None:
        async with raw_upstream(responding(OK)) as upstream, guarded(upstream) as port:
            assert (await ask(port, b"GET /atlas-access/health HTTP/1.1")).status == 200
        async with guarded(upstream) as port:
            assert (await ask(port, b"GET /atlas-access/health HTTP/1.1")).status == 503

    run(test())

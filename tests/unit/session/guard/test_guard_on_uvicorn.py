"""The ASGI guard on a real uvicorn: what goes over the wire, what it logs, and what the companion changes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from atlas_session import sign_path, sign_url
from atlas_session.guard import Guard
from tests.unit.session.guard._kit import (
    DEADLINE_S,
    GUARD_KEY,
    KEY,
    OTHER_TOKEN,
    TOKEN,
    Companion,
    Lines,
    answer_of,
    bearer,
    get,
    linked,
    serving,
    settings,
    until,
)

SECRETS = (TOKEN.token[6:], OTHER_TOKEN.token[6:], "u1.k1", "p1.k1")
LOGS = ("uvicorn.access", "uvicorn.error", "atlas_session.guard")


def url_of(port: int, path: str, scheme: str = "http", **options: Any) -> str:
    """The target of a signed URL."""
    full = sign_url(f"{scheme}://127.0.0.1:{port}{path}", key=KEY, kid="k1", expires_in_s=60, **options)
    return full.partition(f":{port}")[2]


def path_of(port: int, path: str) -> str:
    return sign_path(f"http://127.0.0.1:{port}{path}", key=KEY, kid="k1", expires_in_s=60).partition(f":{port}")[2]


class App:
    """A small application of Starlette's; `went` says how its streams and sockets ended."""

    def __init__(self, folder: Path | None = None) -> None:
        self.went: list[str] = []
        self.folder = folder
        self.app = Starlette(
            routes=[
                Route("/file/{name}", self.file),
                Route("/echo/{rest:path}", self.echo, methods=["GET", "POST"]),
                Route("/events", self.events),
                WebSocketRoute("/live", self.live),
            ]
        )

    async def file(self, request: Any) -> Any:
        assert self.folder is not None
        return FileResponse(self.folder / request.path_params["name"])

    async def echo(self, request: Any) -> Any:
        body = await request.body()
        return PlainTextResponse(f"{request.url.path}?{request.url.query} {len(body)} {dict(request.headers)}")

    async def events(self, request: Any) -> Any:
        async def pieces() -> Any:
            yield b"data: hello\n\n"
            try:
                await asyncio.Event().wait()
            finally:
                self.went.append("events ended")

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def live(self, socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(Exception):
            async for text in socket.iter_text():
                await socket.send_text(f"{text}!")
        self.went.append("live ended")


# ---- HTTP


def test_who_comes_in_over_a_socket() -> None:
    with serving(Guard(App().app, settings())) as port:
        assert get(port, "/echo/a", bearer())[0] == 200
        assert get(port, url_of(port, "/echo/a?x=1"))[0] == 200
        assert get(port, path_of(port, "/echo/a"))[0] == 200
        status, head, body = get(port, "/echo/a")
        assert (status, body) == (401, b"access denied\n")
        assert (
            b'www-authenticate: bearer realm="atlas"\r\n' in head.lower() and b"cache-control: no-store" in head.lower()
        )
        assert get(port, url_of(port, "/echo/a"), bearer())[0] == 400
        assert get(port, "/echo/a", {"Authorization": f"Bearer {TOKEN.token}\r\nAuthorization: Bearer x"})[0] == 400
        assert get(port, url_of(port, "/echo/a").replace("echo", "echp"))[0] == 403
        assert get(port, "/echo/a", {**bearer(), "Host": "a b"})[0] == 400
        assert get(port, "/atlas-access/health")[::2] == (200, b"ok\n")
        assert get(port, f"http://127.0.0.1:{port}{url_of(port, '/echo/a')}")[0] == 200


def test_head_has_no_body_and_is_a_get() -> None:
    with serving(Guard(App().app, settings())) as port:
        for target, headers, status in (
            ("/echo/a", {}, 401),
            (url_of(port, "/echo/a"), {}, 200),
            ("/echo/a", bearer(), 200),
        ):
            got, head, body = get(port, target, headers, "HEAD")
            assert (got, body) == (status, b"") and b"content-length" in head.lower()
        assert get(port, url_of(port, "/echo/a"), {"Content-Length": "0"}, "POST")[0] == 403


def test_ranges_of_a_file_over_a_signed_url(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(100)))
    with serving(Guard(App(tmp_path).app, settings())) as port:
        target = url_of(port, "/file/a.bin")
        status, head, body = get(port, target, {"Range": "bytes=10-19"})
        assert (status, body) == (206, bytes(range(10, 20)))
        assert b"content-range: bytes 10-19/100" in head.lower() and b"referrer-policy: no-referrer" in head.lower()
        assert get(port, target, {"Range": "bytes=90-"})[2] == bytes(range(90, 100))
        assert get(port, target, {"Range": "bytes=500-"})[0] == 416


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_no_log_and_no_application_sees_a_credential(http: str) -> None:
    seen: list[str] = []
    with Lines(*LOGS) as lines, serving(Guard(App().app, settings()), http=http, log_level="info") as port:
        page = url_of(port, "/echo/page")
        requests: list[tuple[str, dict[str, str], int]] = [
            (page, {}, 200),
            (path_of(port, "/echo/in/path"), {}, 200),
            ("/echo/b", {**bearer(), "Referer": f"http://127.0.0.1:{port}{page}"}, 200),
            ("/echo/c", bearer(OTHER_TOKEN.token), 401),
            (f"{page}x", {}, 403),
            (page, bearer(), 400),
            (path_of(port, "/echo/").replace("/echo/", "/ecko/"), {}, 403),
            (f"/echo/d?access_token={TOKEN.token}", {}, 401),
        ]
        for target, headers, status in requests:
            got, head, body = get(port, target, headers)
            assert got == status
            seen.append((head + body).decode())
        until(lambda: len([line for line in lines.texts if "HTTP/1.1" in line]) == len(requests), "the access log")
    assert '"GET /echo/in/path HTTP/1.1" 200' in lines.text and "/echo/page HTTP/1.1" in lines.text
    for where in ("\n".join(seen), lines.text):
        assert not [secret for secret in SECRETS if secret in where], where


def test_under_starlettes_own_middleware() -> None:
    async def page(request: Any) -> Any:
        return PlainTextResponse(request.scope["atlas"]["how"])

    app = Starlette(routes=[Route("/a", page)], middleware=[Middleware(Guard, settings=settings())])
    with serving(app) as port:
        assert get(port, "/a", bearer())[::2] == (200, b"bearer")
        assert get(port, "/a")[0] == 401


# ---- WebSockets


def talk(port: int, target: str = "/live", **options: Any) -> Any:
    return connect(f"ws://127.0.0.1:{port}{target}", open_timeout=DEADLINE_S, close_timeout=DEADLINE_S, **options)


SUBPROTOCOLS = ["atlas-session", f"atlas-bearer.{TOKEN.token}"]


@pytest.mark.parametrize("ws", ["websockets-sansio", "auto"])
def test_websockets_come_in_by_header_subprotocol_and_url(ws: str) -> None:
    with Lines(*LOGS) as lines, serving(Guard(App().app, settings()), ws=ws, log_level="info") as port:
        for options in (
            {"additional_headers": bearer()},
            {"subprotocols": SUBPROTOCOLS},
            {"target": url_of(port, "/live", "ws")},
        ):
            with talk(port, **options) as client:  # type: ignore[arg-type]
                client.send("a")
                assert client.recv(DEADLINE_S) == "a!"
                assert client.subprotocol == ("atlas-session" if "subprotocols" in options else None)
        refused = [
            ({}, 401),
            ({"subprotocols": ["atlas-session", f"atlas-bearer.{OTHER_TOKEN.token}"]}, 401),
            ({"target": url_of(port, "/live", "http")}, 403),
            ({"target": url_of(port, "/live", "ws"), "additional_headers": bearer()}, 400),
            ({"additional_headers": bearer(), "origin": "https://evil.example"}, 403),
        ]
        for options, status in refused:
            with pytest.raises(InvalidStatus) as caught, talk(port, **options):  # type: ignore[arg-type]
                pass
            assert caught.value.response.status_code == status
            assert caught.value.response.body == b"access denied\n"
        with talk(port, additional_headers=bearer(), origin=f"http://127.0.0.1:{port}"):
            pass
    assert "WebSocket /live" in lines.text
    assert not [secret for secret in SECRETS if secret in lines.text], lines.text


def test_messages_are_activity_and_pings_are_not() -> None:
    guard = Guard(App().app, settings())
    with serving(guard) as port, talk(port, subprotocols=SUBPROTOCOLS) as client:
        for _ in range(3):
            assert client.ping().wait(DEADLINE_S)
        assert not guard.gate.activity.is_waiting
        client.send("a")
        client.send("b")
        assert [client.recv(DEADLINE_S), client.recv(DEADLINE_S)] == ["a!", "b!"]
        assert {source: burst.times for source, burst in guard.gate.activity.take().items()} == {"ws": 2}


# ---- a companion on a socket


def read_head(connection: socket.socket) -> bytes:
    got = b""
    while b"hello" not in got:
        piece = connection.recv(65536)
        assert piece
        got += piece
    return got


def test_revocation_ends_what_is_open_and_lets_nobody_in() -> None:
    app = App()
    with Companion() as companion, serving(Guard(app.app, linked(companion.url)), log_level="critical") as port:
        companion.verifier = answer_of(settings(), poll_s=1)
        with (
            talk(port, subprotocols=SUBPROTOCOLS) as by_token,
            talk(port, url_of(port, "/live", "ws")) as by_url,
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as stream,
        ):
            stream.sendall(f"GET {url_of(port, '/events')} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert b" 200 OK" in read_head(stream)
            # A rotation: another token and a higher generation. What the old ones opened is closed.
            companion.verifier = answer_of(settings(token_hashes=frozenset({OTHER_TOKEN.hash}), generation=1), poll_s=1)
            for client in (by_token, by_url):
                with pytest.raises(ConnectionClosed) as caught:
                    client.recv(DEADLINE_S)
                assert caught.value.rcvd is not None and caught.value.rcvd.code == 1008
            rest = b""
            while piece := stream.recv(65536):
                rest += piece
            assert not rest.endswith(b"0\r\n\r\n")  # cut off, not ended
        until(lambda: sorted(app.went) == ["events ended", "live ended", "live ended"])
        assert get(port, "/echo/a", bearer())[0] == 401
        assert get(port, url_of(port, "/echo/a"))[0] == 403
        assert get(port, "/echo/a", bearer(OTHER_TOKEN.token))[0] == 200
        assert get(port, url_of(port, "/echo/a", generation=1))[0] == 200
        companion.verifier = answer_of(settings(generation=1), revoked=True, poll_s=1)
        until(lambda: get(port, url_of(port, "/echo/a", generation=1))[0] == 403, "the revocation")
        assert get(port, "/atlas-access/health")[0] == 200
    assert companion.keys == {f"Bearer {GUARD_KEY}"}


def test_it_keeps_working_while_the_companion_is_away() -> None:
    with Companion() as companion:
        guard = Guard(App().app, linked(companion.url))
        companion.verifier = answer_of(settings(token_hashes=frozenset({OTHER_TOKEN.hash})), poll_s=1)
        with serving(guard) as port:
            until(lambda: get(port, "/echo/a", bearer(OTHER_TOKEN.token))[0] == 200, "the rotation")
            companion.status = 500
            until(lambda: companion.polls[-1]["status"] == "500", "a failed poll")
            assert get(port, "/echo/a", bearer(OTHER_TOKEN.token))[0] == 200
            companion.status = 200
            companion.verifier = answer_of(settings(), poll_s=1)
            until(lambda: get(port, "/echo/a", bearer())[0] == 200, "its return")


def test_activity_reaches_the_companion_and_nothing_is_polled_twice() -> None:
    with Companion() as companion:
        companion.verifier = answer_of(settings(), poll_s=1)
        with serving(Guard(App().app, linked(companion.url))) as port:
            for _ in range(5):
                assert get(port, "/echo/a", bearer())[0] == 200
                assert get(port, "/echo/a")[0] == 401
            until(lambda: companion.touches, "a report")
            until(lambda: [poll["status"] for poll in companion.polls].count("304") >= 2, "304")
        until(lambda: sum(touch["count"] for touch in companion.touches) == 5, "the last report")
    assert {poll["path"] for poll in companion.polls} == {"/v1/sessions/s1/verifier"}
    assert {(touch["path"], touch["source"]) for touch in companion.touches} == {("/v1/sessions/s1/touch", "http")}
    assert [poll["status"] for poll in companion.polls].count("200") == 1

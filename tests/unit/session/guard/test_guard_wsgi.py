"""What a WSGI application and its server see of a request, and what the visitor sees of the answer."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.validate import validator

import pytest

from atlas_session.guard import GuardConfigError, WsgiGuard
from tests.unit.session.guard._kit import (
    HOST,
    NOW,
    OTHER_TOKEN,
    TOKEN,
    Lines,
    bearer,
    facts,
    linked,
    settings,
    signed,
    signed_path,
)

URL = f"http://{HOST}/data/file.bin"


def environ_of(request: Any, **changes: Any) -> dict[str, Any]:
    """As gunicorn makes it."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.path + (f"?{request.query}" if request.query else ""),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.peer or "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(b""),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": ",".join(values) for name, values in request.headers.items()}
    return {key: value for key, value in {**environ, **changes}.items() if value is not None}


class Page:
    """An application that remembers what it saw."""

    def __init__(self, headers: Iterable[tuple[str, str]] = (("Content-Type", "text/plain"),)) -> None:
        self.seen: list[dict[str, Any]] = []
        self.headers = list(headers)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.seen.append(environ)
        start_response("200 OK", list(self.headers))
        return [b"from the ", b"application"]


class Got:
    def __init__(self, app: Any, request: Any, **changes: Any) -> None:
        self.environ = environ_of(request, **changes)
        self.started: list[Any] = []
        answered = app(self.environ, lambda *given: self.started.append(given))
        self.body = b"".join(answered)
        if hasattr(answered, "close"):
            answered.close()
        self.status = int(self.started[-1][0].split()[0])
        self.headers = self.started[-1][1]

    def header(self, name: str) -> str | None:
        return ", ".join([value for known, value in self.headers if known.lower() == name]) or None


def guarded(app: Any = None, chosen: Any = None, **options: Any) -> WsgiGuard:
    return WsgiGuard(app or Page(), chosen or settings(), **{"clock": lambda: NOW, **options})


# ---- what the application sees


def test_a_token_is_taken_away() -> None:
    app = Page()
    got = Got(guarded(app), facts(f"{URL}?a=1", bearer()))
    (seen,) = app.seen
    assert (got.status, got.body, seen is got.environ) == (200, b"from the application", True)
    assert "HTTP_AUTHORIZATION" not in seen
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["RAW_URI"]) == (
        "/data/file.bin",
        "a=1",
        "/data/file.bin?a=1",
    )
    assert seen["atlas.access"] == {"how": "bearer", "grant": None, "address": "198.51.100.9"}


@pytest.mark.parametrize("raw", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize("absolute", ["", f"http://{HOST}"])
def test_a_grant_is_taken_away(raw: str, absolute: str) -> None:
    app = Page()
    url = signed(f"http://{HOST}/a%3Bb/%C3%A9?z=1&y=2")
    request = facts(url, {"referer": url, "authorization": "Basic dTpw"})
    target = f"{absolute}{request.path}?{request.query}"
    got = Got(guarded(app), request, **{"RAW_URI": None, raw: target})
    (seen,) = app.seen
    assert got.status == 200
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/a;b/\xc3\xa9", "y=2&z=1")
    assert seen[raw] == "/a%3Bb/%C3%A9?y=2&z=1"
    assert "HTTP_REFERER" not in seen and seen["HTTP_AUTHORIZATION"] == "Basic dTpw"


def test_a_grant_before_the_path_is_taken_away() -> None:
    app = Page()
    got = Got(guarded(app), facts(f"{signed_path(f'http://{HOST}/hls/a.m3u8')}?t=1"))
    assert got.status == 200
    assert (app.seen[0]["PATH_INFO"], app.seen[0]["RAW_URI"]) == ("/hls/a.m3u8", "/hls/a.m3u8?t=1")
    assert app.seen[0]["atlas.access"]["how"] == "signed_path"


def test_where_the_server_keeps_no_raw_path_an_encoded_delimiter_is_refused() -> None:
    plain, encoded = signed(f"http://{HOST}/a;b"), signed(f"http://{HOST}/a%3Bb")
    assert Got(guarded(), facts(plain), RAW_URI=None).status == 200
    assert Got(guarded(), facts(encoded), RAW_URI=None).status == 403
    assert Got(guarded(), facts(encoded)).status == 200


def test_what_the_application_would_see_is_what_is_judged() -> None:
    guard = guarded(chosen=settings(public_paths=("/static/",)))
    assert Got(guard, facts(f"http://{HOST}/static/a"), PATH_INFO="/data").status == 401
    assert Got(guard, facts(signed(URL)), PATH_INFO="/other").status == 403
    assert Got(guard, facts(URL), PATH_INFO="/static/x\xff", RAW_URI="/static/a").status == 401


def test_a_visitor_does_not_say_where_the_application_is_mounted() -> None:
    """gunicorn takes SCRIPT_NAME from a header of that name, by default from a peer on loopback."""
    app = Page()
    guard = guarded(app, settings(public_paths=("/static/",)))
    public = facts(f"http://{HOST}/static/admin")
    below = signed(f"http://{HOST}/static/", prefix=True).partition("?")[2]
    for request in (public, facts(f"{URL}?{below}"), facts(signed(URL)), facts(URL, bearer())):
        for script in ("/static", "/data", "/"):
            with Lines("atlas_session.guard") as lines:
                assert Got(guard, request, SCRIPT_NAME=script, PATH_INFO="/admin").status == 400
            assert len(lines.texts) == 1 and lines.texts[0].startswith(
                "refused (SCRIPT_NAME is not the configured one)"
            )
    assert app.seen == [] and not guard.gate.activity.is_waiting
    mounted = guarded(app, settings(public_paths=("/app/static/",)), script_name="/app")
    assert Got(mounted, facts(f"http://{HOST}/app/static/a"), SCRIPT_NAME="/app", PATH_INFO="/static/a").status == 200
    assert Got(mounted, facts(f"http://{HOST}/app/static/a")).status == 400
    assert Got(mounted, facts(f"http://{HOST}/app/static/a"), SCRIPT_NAME="/app/static", PATH_INFO="/a").status == 400


@pytest.mark.parametrize("script", ["app", "/app/", "/", "/a\n", None, "/\u20ac"])
def test_a_script_name_that_no_server_gives(script: Any) -> None:
    with pytest.raises(GuardConfigError, match="script_name"):
        guarded(script_name=script)


def test_headers_that_lead_elsewhere_count_only_for_who_may_go_anywhere() -> None:
    app = Page()
    guard = guarded(app, settings(public_paths=("/static/",)))
    elsewhere = {
        "x-original-url": "/admin",
        "x-rewrite-url": "/admin",
        "x-original-uri": "/admin",
        "x-http-method-override": "DELETE",
        "x-http-method": "DELETE",
        "x-method-override": "DELETE",
        "x-script-name": "/static",
        "x-forwarded-prefix": "/static",
        "proxy": "http://evil.example",
    }
    keys = {f"HTTP_{name.upper().replace('-', '_')}" for name in elsewhere}
    for request in (facts(f"http://{HOST}/static/a", elsewhere), facts(signed(URL), elsewhere)):
        assert Got(guard, request).status == 200
        assert not keys & set(app.seen.pop())
    assert Got(guard, facts(URL, {**bearer(), **elsewhere})).status == 200
    assert keys - set(app.seen.pop()) == {"HTTP_PROXY"}


def test_below_script_name() -> None:
    app = Page()
    request = facts(signed(f"http://{HOST}/app/x"))
    below = guarded(app, script_name="/app")
    assert Got(below, request, SCRIPT_NAME="/app", PATH_INFO="/x").status == 200
    assert (app.seen[0]["SCRIPT_NAME"], app.seen[0]["PATH_INFO"]) == ("/app", "/x")
    assert app.seen[0]["RAW_URI"] == "/app/x"
    for script, info in (("/ap", "p/x"), ("/app/x", "")):
        Got(guarded(app, script_name=script), request, SCRIPT_NAME=script, PATH_INFO=info)
    assert [seen["PATH_INFO"] for seen in app.seen[1:]] == [""]
    outside = facts(signed_path(f"http://{HOST}/x"))
    in_front, rest = outside.path[:10], outside.path[10:]
    guard = guarded(app, script_name=in_front)
    with Lines("atlas_session.guard") as lines:
        assert Got(guard, outside, SCRIPT_NAME=in_front, PATH_INFO=rest).status == 403
    assert not guard.gate.activity.is_waiting
    assert lines.texts == ["refused (outside SCRIPT_NAME): GET /atlas-access from 198.51.100.9"]
    assert len(app.seen) == 2


def test_a_websockets_token_is_taken_away_and_lets_nobody_in() -> None:
    app = Page()
    offered = {"sec-websocket-protocol": f"chat, atlas-bearer.{TOKEN.token}"}
    assert Got(guarded(app), facts(URL, offered)).status == 401
    Got(guarded(app), facts(URL, {**offered, **bearer()}))
    assert app.seen[0]["HTTP_SEC_WEBSOCKET_PROTOCOL"] == "chat"


# ---- refusals, health, pages of other origins


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (facts(URL), 401),
        (facts(URL, bearer(OTHER_TOKEN.token)), 401),
        (facts(signed(URL), bearer()), 400),
        (facts(URL, {"authorization": [f"Bearer {TOKEN.token}"] * 2}), 400),
        (facts(URL, {**bearer(), "host": [HOST, HOST]}), 400),
        (facts(URL, {**bearer(), "host": None}), 400),
        (facts(signed(URL, now=NOW - 9999)), 403),
        (facts(signed_path(URL, now=NOW - 9999)), 403),
    ],
)
def test_refusals(request_: Any, status: int) -> None:
    app = Page()
    with Lines("atlas_session.guard") as lines:
        got = Got(guarded(app), request_)
    assert (got.status, got.body, app.seen) == (status, b"access denied\n", [])
    assert (got.header("cache-control"), got.environ["QUERY_STRING"]) == ("no-store", "")
    for where in (repr(got.environ), lines.text):
        assert not [word for word in (TOKEN.token[6:], OTHER_TOKEN.token[6:], "u1.", "p1.") if word in where]
    assert Got(guarded(app), facts(URL, method="HEAD")).body == b""


def test_health_and_preflight_reach_nobody() -> None:
    app = Page()
    guard = guarded(app, settings(origins=frozenset({"https://app.example"})))
    assert Got(guard, facts(f"http://{HOST}/atlas-access/health")).body == b"ok\n"
    asked = {"origin": "https://app.example", "access-control-request-method": "PUT"}
    assert Got(guard, facts(URL, asked, method="OPTIONS")).started == [
        (
            "204 No Content",
            [
                ("Access-Control-Allow-Origin", "https://app.example"),
                ("Access-Control-Allow-Methods", "PUT"),
                ("Access-Control-Max-Age", "600"),
                ("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
            ],
        )
    ]
    assert app.seen == [] and not guard.gate.activity.is_waiting
    got = Got(guard, facts(URL, {**bearer(), "origin": "https://app.example"}))
    assert got.header("access-control-allow-origin") == "https://app.example"


def test_a_signed_url_travels_no_further() -> None:
    got = Got(guarded(), facts(signed(URL)))
    assert (got.header("referrer-policy"), got.header("cache-control")) == ("no-referrer", "private")


# ---- PEP 3333


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (facts(URL, bearer()), 200),
        (facts(signed(URL)), 200),
        (facts(URL), 401),
        (facts(URL, method="HEAD"), 401),
        (facts(f"http://{HOST}/atlas-access/health"), 200),
    ],
)
def test_both_sides_keep_to_the_standard(request_: Any, status: int) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read(10)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"a", b"b"])

    for chosen in (settings(), linked("https://companion.example")):
        guard = guarded(validator(app), chosen, reporter=lambda gate: Idle())
        assert Got(validator(guard), request_).status == status


class Idle:
    def ensure_started(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Pieces:
    """An iterable with close()."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.closed = 0

    def __iter__(self) -> Any:
        return iter(self.pieces)

    def close(self) -> None:
        self.closed += 1


def streaming(pieces: Pieces) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return pieces

    return app


def test_a_streams_close_is_called() -> None:
    for chosen in (settings(), linked("https://companion.example")):
        pieces = Pieces([b"a", b"b"])
        assert Got(guarded(streaming(pieces), chosen, reporter=lambda gate: Idle()), facts(URL, bearer())).body == b"ab"
        assert pieces.closed == 1


def test_a_stream_ends_when_its_access_does() -> None:
    pieces = Pieces([b"a", b"b", b"c"])
    guard = guarded(streaming(pieces), linked("https://companion.example"), reporter=lambda gate: Idle())
    answered = guard(environ_of(facts(URL, bearer())), lambda *given: None)
    stream = iter(answered)
    assert next(stream) == b"a"
    guard.gate.replace(linked("https://companion.example", generation=1).verifier())
    assert next(stream) == b"b"
    guard.gate.replace(settings(token_hashes=frozenset()).verifier())
    with pytest.raises(ConnectionAbortedError):
        next(stream)
    answered.close()  # type: ignore[attr-defined]
    assert pieces.closed == 1


def test_an_application_may_change_its_mind_with_exc_info() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise LookupError("late")
        except LookupError:
            start_response("500 Oh", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"x"]

    got = Got(guarded(app), facts(URL, bearer()))
    assert [given[0] for given in got.started] == ["200 OK", "500 Oh"]
    assert got.started[1][2][0] is LookupError
    got = Got(guarded(app), facts(signed(URL)))
    assert [given[0] for given in got.started] == ["500 Oh"]  # the server heard of nothing before
    assert got.header("referrer-policy") == "no-referrer"


# ---- activity


def counted(body: bytes, use: Any) -> tuple[Any, dict[str, int]]:
    results = []

    def app(environ: Any, start_response: Any) -> Any:
        results.append(use(environ["wsgi.input"]))
        return Page()(environ, start_response)

    guard = guarded(app)
    Got(guard, facts(URL, bearer(), method="PUT"), **{"wsgi.input": io.BytesIO(body)})
    return results[0], {source: burst.times for source, burst in guard.gate.activity.take().items()}


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "use", "result", "times"),
    [
        (b"", lambda stream: stream.read(), b"", 0),
        (b"abc", lambda stream: stream.read(), b"abc", 1),
        (b"abc", lambda stream: stream.read(None), b"abc", 1),
        (b"abc", lambda stream: stream.read(0), b"", 0),
        (b"abc", lambda stream: [stream.read(2), stream.read(2), stream.read(2)], [b"ab", b"c", b""], 2),
        (b"x" * MIB, lambda stream: stream.read(), b"x" * MIB, 4),
        (b"x" * MIB, lambda stream: stream.read(MIB), b"x" * MIB, 4),
        (b"x" * MIB, lambda stream: len(stream.read(MIB - 1)), MIB - 1, 4),
        (b"x" * MIB, lambda stream: len(stream.read(2 * MIB)), MIB, 4),
        (b"a\nb\nc", lambda stream: list(stream), [b"a\n", b"b\n", b"c"], 3),
        (b"a\nb\nc", lambda stream: [stream.readline(), stream.readline(1)], [b"a\n", b"b"], 2),
        (b"a\nb\nc", lambda stream: stream.readlines(), [b"a\n", b"b\n", b"c"], 3),
        (b"a\nb\nc", lambda stream: stream.readlines(3), [b"a\n", b"b\n"], 2),
    ],
)
def test_a_body_is_counted_while_it_arrives(body: bytes, use: Any, result: Any, times: int) -> None:
    assert counted(body, use) == (result, {"http": 1, **({"upload": times} if times else {})})

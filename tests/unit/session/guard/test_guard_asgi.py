"""What an ASGI application and its server see of a request, and what the visitor sees of the answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.unit.session.guard._kit import (
    HOST,
    NOW,
    OTHER_TOKEN,
    TOKEN,
    Echo,
    Lines,
    ask,
    bearer,
    facts,
    guarded,
    scope_of,
    settings,
    signed,
    signed_path,
)

URL = f"http://{HOST}/data/file.bin"
WS = f"ws://{HOST}/live"
PROTOCOL = "sec-websocket-protocol"
OFFER = {PROTOCOL: f"atlas-session, chat,atlas-bearer.{TOKEN.token}"}


def names(scope: Any) -> set[bytes]:
    return {name for name, _ in scope["headers"]}


# ---- what the application sees


def test_a_token_is_taken_away() -> None:
    app = Echo()
    got = ask(guarded(app), facts(f"{URL}?a=1", {**bearer(), "accept": "*/*"}))
    (seen,) = app.scopes
    assert (got.status, got.body, seen is got.scope) == (200, b"from the application", True)
    assert names(seen) == {b"host", b"accept"}
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/data/file.bin", b"/data/file.bin", b"a=1")
    assert seen["atlas"] == {"how": "bearer", "grant": None, "address": "198.51.100.9"}
    assert TOKEN.token not in repr(seen) and TOKEN.hash not in repr(seen)


def test_a_header_name_in_capitals_is_the_same_header() -> None:
    app = Echo()
    headers = [
        (b"Host", HOST.encode()),
        (b"Authorization", f"Bearer {TOKEN.token}".encode()),
        (b"Referer", URL.encode()),
    ]
    assert ask(guarded(app), facts(URL), headers=headers).status == 200
    assert names(app.scopes[0]) == {b"Host", b"Referer"}


def test_a_grant_is_taken_away() -> None:
    app = Echo()
    url = signed(f"http://{HOST}/a%20b?z=1&y=%C3%A9")
    got = ask(guarded(app), facts(url, {"authorization": "Basic dTpw", "referer": url}))
    (seen,) = app.scopes
    assert got.status == 200
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/a b", b"/a%20b", b"y=%C3%A9&z=1")
    assert names(seen) == {b"host", b"authorization"}
    assert seen["atlas"]["how"] == "signed_url" and seen["atlas"]["grant"].path == "/a%20b"
    assert url.rpartition(".")[2] not in repr(seen)


def test_a_grant_before_the_path_is_taken_away() -> None:
    app = Echo()
    url = signed_path(f"http://{HOST}/hls/%C3%A9.m3u8")
    assert ask(guarded(app), facts(f"{url}?t=1")).status == 200
    (seen,) = app.scopes
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/hls/é.m3u8", b"/hls/%C3%A9.m3u8", b"t=1")


@pytest.mark.parametrize("name", ["referer", "x-original-url", "x-original-uri", "x-rewrite-url", "x-forwarded-uri"])
def test_headers_that_repeat_the_address_are_taken_away(name: str) -> None:
    app = Echo()
    for value, stays in (
        (signed(URL), False),
        (signed_path(URL), False),
        (signed(URL).replace("atlas", "%61tlas"), False),
        (f"{URL}?token={TOKEN.token}", False),
        (f"{URL}?a=%25%32%35%32%35", False),
        (f"{URL}?a=1", True),
    ):
        ask(guarded(app), facts(URL, {**bearer(), name: value}))
        assert (name.encode() in names(app.scopes.pop())) == stays, value


ELSEWHERE = [
    "x-original-url",
    "X-Rewrite-URL",
    "x-original-uri",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-script-name",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x_original_url",
    "X-HTTP_Method-Override",
]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_headers_that_lead_elsewhere_count_only_for_who_may_go_anywhere(name: str) -> None:
    app = Echo()
    guard = guarded(app, settings(public_paths=("/static/",)))
    for request, stays in (
        (facts(f"http://{HOST}/static/a", {name: "/admin"}), False),
        (facts(signed(URL), {name: "/admin"}), False),
        (facts(signed_path(URL), {name: ["/a", "/b"]}), False),
        (facts(URL, {**bearer(), name: "/admin"}), True),
    ):
        assert ask(guard, request).status == 200
        assert (name.encode() in names(app.scopes.pop())) == stays
    ask(guard, facts(signed(WS), {name: "/admin"}))
    assert name.encode() not in names(app.scopes.pop())


def test_a_header_that_becomes_a_proxy_setting_is_taken_away() -> None:
    app = Echo()
    ask(guarded(app), facts(URL, {**bearer(), "Proxy": "http://evil.example"}))
    ask(guarded(app), facts(signed(URL), {"proxy": "http://evil.example"}))
    assert [names(scope) for scope in app.scopes] == [{b"host"}] * 2


@pytest.mark.parametrize("raw", [b"/static/a", b"http://pod.example/static/a", None])
def test_the_application_sees_the_path_that_was_judged(raw: bytes | None) -> None:
    """Servers differ in what they make of a request that names the whole URL."""
    app = Echo()
    guard = guarded(app, settings(public_paths=("/static/",)))
    whole = f"http://{HOST}/static/a"
    for headers in ({}, bearer()):
        assert ask(guard, facts(whole, headers), path=whole, raw_path=raw).status == 200
        seen = app.scopes.pop()
        assert (seen["path"], seen["raw_path"]) == ("/static/a", b"/static/a")


def test_a_public_path_shows_no_credential() -> None:
    app = Echo()
    guard = guarded(app, settings(public_paths=("/static/",)))
    assert ask(guard, facts(f"http://{HOST}/static/a", bearer(OTHER_TOKEN.token))).status == 200
    assert ask(guard, facts(signed(f"http://{HOST}/static/a?v=1"))).status == 200
    assert [names(scope) for scope in app.scopes] == [{b"host"}] * 2
    assert app.scopes[1]["query_string"] == b"v=1"
    assert not guard.gate.activity.is_waiting


def test_without_a_raw_path_the_decoded_one_is_judged() -> None:
    app = Echo()
    request = facts(signed(f"http://{HOST}/a%20b"))
    assert ask(guarded(app), request, raw_path=None).status == 200
    assert ask(guarded(app), facts(signed(f"http://{HOST}/a%3Bb")), raw_path=None).status == 403  # or is it ';'?


def test_what_the_application_would_see_is_what_is_judged() -> None:
    """A middleware before the guard that rewrites the path and leaves the raw one as it was."""
    guard = guarded(Echo(), settings(public_paths=("/static/",)))
    assert ask(guard, facts(f"http://{HOST}/static/a"), path="/data").status == 401
    assert ask(guard, facts(signed(URL)), path="/other").status == 403


# ---- refusals


CAUSES = [
    facts(URL),
    facts(URL, bearer("wrong")),
    facts(URL, bearer(OTHER_TOKEN.token)),
    facts(signed(URL), bearer()),
    facts(f"{URL}?atlas-access=x"),
    facts(signed(URL, now=NOW - 9999)),
    facts(signed(URL, generation=5)),
    facts(f"http://{HOST}/atlas-access/x/y"),
    facts(URL, {"host": "a b"}),
]


@pytest.mark.parametrize("request_", CAUSES)
def test_every_refusal_reads_the_same(request_: Any) -> None:
    app = Echo()
    got = ask(guarded(app), request_)
    assert app.scopes == [] and got.status in (400, 401, 403)
    assert got.body == b"access denied\n"
    assert got.header("cache-control") == "no-store"
    assert got.header("location") is None and "set-cookie" not in dict(got.headers)
    assert (got.header("www-authenticate") is not None) == (got.status == 401 or "Bearer" in repr(request_.headers))


def test_a_refusal_of_head_has_no_body() -> None:
    got = ask(guarded(), facts(URL, method="HEAD"))
    assert (got.status, got.body, got.header("content-length")) == (401, b"", "14")


@pytest.mark.parametrize(
    "request_",
    [
        facts(signed(URL), bearer()),
        facts(signed(URL, now=NOW - 9999)),
        facts(signed_path(URL, now=NOW - 9999)),
        facts(signed_path(URL).replace("/atlas", "/%61tlas")),
        facts(signed_path(URL).replace("/atlas-access/", "/files/")),
        facts(f"http://{HOST}/reset/{TOKEN.token}"),
        facts(f"http://{HOST}/a?access_token={TOKEN.token}"),
        facts(URL, bearer(OTHER_TOKEN.token)),
        facts(URL, {"referer": signed(URL)}),
        facts(WS, {PROTOCOL: f"atlas-bearer.{OTHER_TOKEN.token}"}),
    ],
)
def test_a_refused_request_leaves_no_credential_in_any_log(request_: Any) -> None:
    with Lines("atlas_session.guard") as lines:
        got = ask(guarded(), request_)
    assert got.scope["query_string"] == b""
    secrets = [TOKEN.token[6:], OTHER_TOKEN.token[6:], "1767", "u1.k1", "p1.k1"]
    for where in (repr(got.scope), lines.text, repr(got.messages)):
        assert not [secret for secret in secrets if secret in where], where


def test_a_refusal_is_one_line_with_its_reason() -> None:
    with Lines("atlas_session.guard") as lines:
        ask(guarded(), facts(signed(URL, now=NOW - 9999) + "#\n", method="GE\nT"))
        ask(guarded(), facts(f"{URL}?secret=1", peer=None))
        ask(guarded(), facts(URL, bearer()))
    first, second = lines.texts
    assert first.startswith("refused (malformed: ")
    assert first.endswith("): GE\\nT /data/file.bin from 198.51.100.9")
    assert second == "refused (no_credential): GET /data/file.bin from an unknown address"


# ---- what the guard adds


def test_a_signed_url_travels_no_further() -> None:
    for url in (signed(URL), signed_path(URL)):
        got = ask(guarded(Echo([(b"referrer-policy", b"unsafe-url")])), facts(url))
        assert (got.header("referrer-policy"), got.header("cache-control")) == ("no-referrer", "private")
        kept = ask(guarded(Echo([(b"Cache-Control", b"max-age=60")])), facts(url))
        assert [value for name, value in kept.headers if name.lower() == "cache-control"] == ["max-age=60"]
    plain = ask(guarded(Echo([(b"x", b"y")])), facts(URL, bearer()))
    assert plain.headers == [("x", "y")]


def test_health_asks_the_one_who_knows() -> None:
    url = f"http://{HOST}/atlas-access/health"

    async def well() -> bool:
        return True

    async def ill() -> bool:
        return False

    async def broken() -> bool:
        raise OSError("no")

    for health, status in ((None, 200), (well, 200), (ill, 503), (broken, 503)):
        app = Echo()
        got = ask(guarded(app, health=health), facts(f"{url}?a=1", bearer("wrong")))
        assert (got.status, app.scopes, got.header("cache-control")) == (status, [], "no-store")
        assert (got.scope["path"], got.scope["query_string"]) == ("/atlas-access/health", b"")
    assert ask(guarded(), facts(url)).body == b"ok\n"


# ---- WebSockets


def test_the_applications_websocket_sees_no_token() -> None:
    app = Echo()
    got = ask(guarded(app), facts(WS, OFFER))
    (seen,) = app.scopes
    assert seen["subprotocols"] == ["atlas-session", "chat"]
    assert dict(seen["headers"])[PROTOCOL.encode()] == b"atlas-session, chat"
    assert got.messages == [{"type": "websocket.accept", "subprotocol": "atlas-session"}]


def test_nothing_on_offer_is_no_header() -> None:
    app = Echo()
    ask(guarded(app), facts(WS, {PROTOCOL: f"atlas-bearer.{TOKEN.token}"}))
    assert app.scopes[0]["subprotocols"] == [] and PROTOCOL.encode() not in names(app.scopes[0])


def test_a_server_that_lists_no_subprotocols() -> None:
    assert ask(guarded(), facts(WS, OFFER), subprotocols=[]).messages[0]["type"] == "websocket.accept"
    twice = facts(WS, {PROTOCOL: [f"atlas-bearer.{TOKEN.token}"] * 2})
    assert ask(guarded(), twice, subprotocols=[f"atlas-bearer.{TOKEN.token}"]).messages[0]["type"] == "websocket.close"


@pytest.mark.parametrize("chosen", [None, "chat"])
def test_an_application_may_choose_a_subprotocol(chosen: str | None) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": chosen})

    assert ask(guarded(app), facts(WS, OFFER)).messages[0]["subprotocol"] == (chosen or "atlas-session")
    (plain,) = ask(guarded(app), facts(WS, {PROTOCOL: f"chat, atlas-bearer.{TOKEN.token}"})).messages
    assert plain["subprotocol"] == chosen


def test_a_websocket_is_refused_before_it_is_accepted() -> None:
    app = Echo()
    request = facts(WS, {PROTOCOL: f"atlas-bearer.{OTHER_TOKEN.token}"})
    assert ask(guarded(app), request).messages == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    got = ask(guarded(app), request, extensions={"websocket.http.response": {}})
    assert [message["type"] for message in got.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert (got.status, got.body, app.scopes) == (401, b"access denied\n", [])
    assert ask(guarded(app), request, incoming=[{"type": "websocket.disconnect", "code": 1006}]).messages == []


# ---- activity


def talk(guard: Any, request: Any, *messages: dict[str, Any]) -> dict[str, int]:
    ask(guard, request, messages)
    return {source: burst.times for source, burst in guard.gate.activity.take().items()}


async def listening(scope: Any, receive: Any, send: Any) -> None:
    """Reads all there is."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass
    if scope["type"] == "http":
        await Echo()(scope, receive, send)


def test_requests_uploads_and_messages_are_activity() -> None:
    guard = guarded(listening)
    chunks = [{"type": "http.request", "body": body, "more_body": True} for body in (b"a", b"", b"b", b"c")]
    assert talk(guard, facts(URL, bearer())) == {"http": 1}
    assert talk(guard, facts(URL, bearer(), method="PUT"), *chunks) == {"http": 1, "upload": 3}
    assert talk(guard, facts(signed(URL))) == {"http": 1}
    said = [
        {"type": "websocket.connect"},
        *[{"type": "websocket.receive", "text": "x"}] * 2,
        {"type": "websocket.disconnect"},
    ]
    assert talk(guard, facts(WS, OFFER), *said) == {"ws": 2}
    assert talk(guard, facts(WS, OFFER), {"type": "websocket.connect"}) == {}


def test_what_is_refused_or_public_is_no_activity() -> None:
    guard = guarded(listening, settings(public_paths=("/static/",)))
    chunks = [{"type": "http.request", "body": b"a", "more_body": True}] * 2
    for request in (*CAUSES, facts(f"http://{HOST}/static/x"), facts(f"http://{HOST}/atlas-access/health")):
        assert talk(guard, request, *chunks) == {}


def test_a_source_can_be_switched_off() -> None:
    guard = guarded(listening, settings(sources=frozenset({"ws"})))
    assert talk(guard, facts(URL, bearer()), {"type": "http.request", "body": b"a"}) == {}


# ---- the rest of ASGI


def test_an_unknown_kind_of_connection_is_not_let_in() -> None:
    app = Echo()
    scope = {**scope_of(facts(URL, bearer())), "type": "webtransport"}
    with pytest.raises(ValueError, match="lets none in"):
        asyncio.run(guarded(app)(scope, None, None))  # type: ignore[arg-type]
    assert app.scopes == []


class Told:
    """A reporter that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def ensure_started(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")


def test_lifespan_passes_and_starts_and_stops_the_link() -> None:
    told, seen = Told(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], await receive()))
        await send("sent")

    async def receive() -> Any:
        return "received"

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    guard = guarded(app, reporter=lambda gate: told)
    asyncio.run(guard({"type": "lifespan"}, receive, send))
    assert (seen, sent, told.calls) == ([("lifespan", "received")], ["sent"], ["start", "stop"])
    ask(guarded(reporter=lambda gate: told), facts(URL))
    assert told.calls == ["start", "stop", "start"]


def test_the_guards_own_log_is_quiet_for_who_comes_in(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "atlas_session"):
        ask(guarded(), facts(URL, bearer()))
    assert caplog.records == []

"""The guard for any request at all: it never raises, and lets nobody in without a credential that holds."""

from __future__ import annotations

import asyncio
import io
import ipaddress
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from atlas_session import mint_token, sign_path, sign_url
from atlas_session._canonical import canonical_path, canonical_query
from atlas_session.guard import Guard, GuardSettings, WsgiGuard
from atlas_session.guard._decide import Admitted, Answered, Refused, decide
from atlas_session.guard._facts import Facts
from atlas_session.guard._stripping import readable_path, stripped

NOW = 1_767_225_600
KEY, STRANGE_KEY = bytes(range(32)), bytes(range(1, 33))
TOKEN, STRANGE_TOKEN = mint_token(key=KEY, context=b"a"), mint_token(key=KEY, context=b"b")
HOST = "pod.example"
SETTINGS = GuardSettings(
    token_hashes=frozenset({TOKEN.hash}),
    url_keys={"k1": KEY},
    origins=frozenset({"https://app.example"}),
    trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),),
    public_paths=("/static/", "/healthz"),
)


def _grant(key: bytes, **options: Any) -> str:
    return sign_url(f"http://{HOST}/data", key=key, kid="k1", expires_in_s=60, now=NOW, **options).partition("?")[2]


#: What an attacker may have: grants of another key, expired ones, ones for another path; another pod's token.
GRANTS = (
    _grant(STRANGE_KEY),
    _grant(KEY, generation=1),
    _grant(KEY, not_before=NOW - 9999),
    "atlas-access=",
    "atlas-access",
)
PATH_GRANT = sign_path(f"http://{HOST}/data/x", key=STRANGE_KEY, kid="k1", expires_in_s=60, now=NOW).partition(HOST)[2]

anything = st.text(st.characters(max_codepoint=0xFF), max_size=20)
pieces = st.sampled_from(
    ["/", "//", "..", ".", ";", "%2e", "%2F", "%5c", "%00", "%", "\\", "static", "data", "healthz", "atlas-access", "health",
     "%61tlas-access", "é", "?", "#", "@", ":", "http://", HOST, PATH_GRANT, "*", " ", "\r\n"]
)  # fmt: skip
paths = st.lists(pieces | anything, max_size=6).map("".join) | st.sampled_from(
    ["/data", "/static/a", "/", "", PATH_GRANT]
)
queries = st.lists(
    st.sampled_from([*GRANTS, "a=b", "%61tlas-access=x", "Atlas-Access=1", "&", "+", ";"]) | anything
).map("&".join)
values = (
    anything
    | st.sampled_from(
        [f"Bearer {STRANGE_TOKEN.token}", f"Bearer {TOKEN.hash}", "Bearer", "Basic eA==", HOST, f"{HOST}:80", "https", "ws",
         "10.0.0.1", "1.2.3.4, 10.0.0.2", "https://app.example", f"http://{HOST}", "null", "*", "PUT", "atlas-session",
         f"atlas-bearer.{STRANGE_TOKEN.token}", f"atlas-session, atlas-bearer.{STRANGE_TOKEN.token}"]
    )
)  # fmt: skip
headers = st.dictionaries(
    st.sampled_from(
        ["host", "authorization", "origin", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "referer",
         "sec-websocket-protocol", "access-control-request-method", "access-control-request-headers"]
    ),
    st.lists(values, min_size=1, max_size=3),
)  # fmt: skip
with_host = headers.map(lambda given: {"host": [HOST], **given})
requests = st.builds(
    Facts,
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", ""]) | anything,
    path=paths,
    query=queries,
    headers=headers | with_host,
    scheme=st.sampled_from(["http", "https", "ws", "wss", ""]) | anything,
    peer=st.sampled_from([None, "10.0.0.1", "1.2.3.4", "::1"]) | anything,
    websocket=st.booleans(),
    protocols=st.lists(values, max_size=3).map(tuple),
)


def spend(nonce: str, until: float) -> bool:
    return True


@given(requests)
def test_without_a_credential_nobody_comes_in(request: Facts) -> None:
    verdict = decide(request, SETTINGS, SETTINGS.verifier(), NOW, spend)
    assert isinstance(verdict, Admitted | Refused | Answered)
    if isinstance(verdict, Admitted):
        assert verdict.how == "public"
        assert verdict.path == (None if _own_path(request) == request.path else _own_path(request))
        assert canonical_path(_own_path(request)) == _own_path(request)
        assert _own_path(request) == "/healthz" or _own_path(request).startswith("/static/")


def _own_path(request: Facts) -> str:
    return request.path.partition(HOST)[2].removeprefix(":80") if "://" in request.path else request.path


@given(requests)
def test_when_access_is_revoked_nobody_comes_in(request: Facts) -> None:
    from dataclasses import replace

    gone = replace(SETTINGS.verifier(), revoked=True)
    assert not isinstance(decide(request, SETTINGS, gone, NOW, spend), Admitted)


@given(requests, st.sampled_from(["header", "query"]))
def test_a_second_credential_never_helps(request: Facts, first: str) -> None:
    """A token beside any grant, and a grant beside any Bearer: refused, unless it is no credential's business at all."""
    if first == "header":
        known = {**request.headers, "authorization": [f"Bearer {TOKEN.token}"]}
        query = f"{request.query}&{GRANTS[0]}"
    else:
        known = {**request.headers, "authorization": ["Bearer x"]}
        query = _grant(KEY)
    changed = Facts(request.method, request.path, query, known, request.scheme, request.peer, request.websocket)
    assert not isinstance(decide(changed, SETTINGS, SETTINGS.verifier(), NOW, spend), Admitted)


letters = st.characters(exclude_characters="/\\%?#\x7f", exclude_categories=["Cs"], min_codepoint=33)
segments = st.text(letters, min_size=1, max_size=8).filter(lambda text: not text.startswith("."))
signable_paths = st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/app/" + "/".join(parts))
words = st.text("abcXYZ019~_.-", max_size=5)
signable_queries = st.lists(st.tuples(words.filter(bool), words), max_size=4).map(
    lambda pairs: "&".join([f"{name}={value}" for name, value in pairs])
)


@given(signable_paths, signable_queries, st.booleans())
def test_what_was_signed_comes_in_and_the_application_sees_no_grant(path: str, query: str, in_path: bool) -> None:
    url = f"http://{HOST}{path}"
    if in_path:
        signed = sign_path(url, key=KEY, kid="k1", expires_in_s=60, now=NOW) + (f"?{query}" if query else "")
    else:
        signed = sign_url(url + (f"?{query}" if query else ""), key=KEY, kid="k1", expires_in_s=60, now=NOW)
    target, _, asked = signed.partition(HOST)[2].partition("?")
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    asgi = _scope(target, asked, [(b"host", HOST.encode())])
    asyncio.run(Guard(app, SETTINGS, clock=lambda: NOW)(asgi, _nothing, _nowhere))
    environ = _environ(target, asked, {"HTTP_HOST": HOST})
    WsgiGuard(lambda environ, start: seen.append(environ) or [], SETTINGS, clock=lambda: NOW)(environ, _start)  # type: ignore[func-returns-value]
    assert len(seen) == 2
    assert asgi["path"] == path and environ["PATH_INFO"] == path.encode().decode("latin-1")
    expected = query if in_path else canonical_query(query)
    assert asgi["query_string"].decode() == environ["QUERY_STRING"] == expected
    assert asgi["raw_path"].decode() == canonical_path(asgi["raw_path"].decode())
    assert "k1." not in repr(seen)


def _scope(path: str, query: str, given: list[tuple[bytes, bytes]], **changes: Any) -> dict[str, Any]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": given,
        "scheme": "http",
        "client": ("198.51.100.9", 1),
    }
    return {**scope, **changes}


def _environ(path: str, query: str, given: dict[str, str], **changes: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": f"{path}?{query}",
        "REMOTE_ADDR": "198.51.100.9",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **given,
        **changes,
    }


async def _nothing() -> dict[str, Any]:
    return {"type": "websocket.connect"}


async def _nowhere(message: Any) -> None:
    assert message["type"] in (
        "http.response.start",
        "http.response.body",
        "websocket.close",
        "websocket.http.response.start",
        "websocket.http.response.body",
    )


def _start(status: str, headers: Any, *exc_info: Any) -> None:
    assert status[:3].isdigit()
    assert not any("\n" in name + value or "\r" in name + value for name, value in headers if name != _ORIGIN)


_ORIGIN = "Access-Control-Allow-Origin"


@given(requests, st.binary(max_size=30) | st.none(), st.booleans(), st.text(max_size=20))
def test_no_request_makes_a_guard_raise(request: Facts, raw: bytes | None, denial: bool, path: str) -> None:
    reached: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["atlas"]["how"])

    def wsgi(environ: Any, start: Any) -> list[bytes]:
        reached.append(environ["atlas.access"]["how"])
        return []

    sent = [(name.encode(), value.encode("latin-1")) for name, lines in request.headers.items() for value in lines]
    scope = _scope(request.path, request.query, sent, method=request.method, scheme=request.scheme)
    scope |= {
        "client": (request.peer, 1) if request.peer else None,
        "extensions": {"websocket.http.response": {}} if denial else None,
    }
    if request.websocket:
        scope |= {"type": "websocket", "subprotocols": list(request.protocols)}
    asyncio.run(Guard(app, SETTINGS, clock=lambda: NOW)(scope, _nothing, _nowhere))
    scope = _scope(request.path, request.query, sent) | {"raw_path": raw, "path": path}
    asyncio.run(Guard(app, SETTINGS, clock=lambda: NOW)(scope, _nothing, _nowhere))
    given_ = {f"HTTP_{name.upper().replace('-', '_')}": ",".join(lines) for name, lines in request.headers.items()}
    for changes in ({}, {"PATH_INFO": path}, {"RAW_URI": request.path + path}, {"SCRIPT_NAME": path}):
        for script_name in ("", "/static", "/atlas-access"):
            mounted = {} if "SCRIPT_NAME" in changes else {"SCRIPT_NAME": script_name}
            environ = _environ(request.path, request.query, given_, REQUEST_METHOD=request.method, **changes, **mounted)
            WsgiGuard(wsgi, SETTINGS, clock=lambda: NOW, script_name=script_name)(environ, _start)
    assert set(reached) <= {"public"}


@given(paths, st.sampled_from([TOKEN.token, GRANTS[0], PATH_GRANT]), st.integers(0, 2), paths)
def test_what_is_written_to_a_log_holds_no_credential(before: str, secret: str, encoded: int, after: str) -> None:
    for _ in range(encoded):
        secret = secret.replace("a", "%61").replace(".", "%2E") if encoded == 1 else secret.replace("-", "%2D")
    for shown in (readable_path(before + secret + after), stripped("referer", before + secret + after) or ""):
        assert "k1." not in unquote(unquote(shown)) and TOKEN.token[6:] not in unquote(unquote(shown))

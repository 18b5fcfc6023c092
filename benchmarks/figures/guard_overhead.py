"""What the guard adds to a request, beside the least that a middleware of somebody else's parts would add."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from itsdangerous import URLSafeTimedSerializer

from atlas_session import mint_token, sign_url
from atlas_session.guard import Guard, GuardSettings
from benchmarks.project import Bench, MeasurementFailed
from benchmarks.row import Row, against

__all__ = ["measure"]

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

_KEY = bytes(range(32))
_HOST = "pod-7f3a-8000.example.net"
_PATH = "/stream/42/index.m3u8"
_QUERY = "quality=high&user=1234"
_LIFE_S = 86_400
_SERIALIZER = URLSafeTimedSerializer(_KEY, signer_kwargs={"digest_method": "sha256", "key_derivation": "hmac"})
_CREDENTIALS = Credentials("AKIDEXAMPLE", "a-secret-that-is-nobodys")


def measure(_bench: Bench, *, quick: bool) -> list[Row]:
    """CPU microseconds that each adds to a request to an application that does nothing; without a server, in turns."""
    repeats, requests = (3, 200) if quick else (15, 3000)
    return asyncio.run(_measure(repeats, requests))


async def _measure(repeats: int, requests: int) -> list[Row]:
    minted = mint_token()
    guard = Guard(_app, GuardSettings(token_hashes=(minted.hash,), url_keys={"k1": _KEY}))
    url = sign_url(f"http://{_HOST}{_PATH}?{_QUERY}", key=_KEY, kid="k1", expires_in_s=_LIFE_S)
    token = jwt.encode({"sub": "1234", "exp": int(time.time()) + _LIFE_S}, _KEY, algorithm="HS256")
    bearer = (guard, _scope(_QUERY, minted.token))
    signed = (guard, _scope(url.partition("?")[2]))
    dangerous = (_with_itsdangerous(_app), _scope(f"{_QUERY}&s={_SERIALIZER.dumps(f'{_PATH}?{_QUERY}')}"))
    json_web = (_with_jwt(_app), _scope(_QUERY, token))
    presigned = (_with_botocore(_app), _scope(_presigned().partition("?")[2]))

    async def row(name: str, ours: Any, counterpart: str, theirs: Any, aim: str | None) -> Row:
        added = await _added(ours, theirs, repeats, requests)
        return against(name, "us", added[0], counterpart, added[1], aim)

    return [
        await row("guard_bearer_jwt", bearer, "a middleware that decodes with PyJWT", json_web, None),
        await row("guard_bearer", bearer, "a middleware with itsdangerous' loads", dangerous, "ratio <= 1"),
        await row("guard_signed_url", signed, "a middleware with itsdangerous' loads", dangerous, "ratio <= 1"),
        await row("guard_url_botocore", signed, "a middleware that presigns with botocore", presigned, "ratio <= 0.2"),
    ]


async def _added(ours: Any, theirs: Any, repeats: int, requests: int) -> tuple[list[float], list[float]]:
    """Microseconds per request that each side adds to the bare application, measured beside it each time."""
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for side in (0, 1) if turn % 2 else (1, 0):
            app, scope = (ours, theirs)[side]
            bare = await _seconds(_app, scope, requests)
            found[side].append((await _seconds(app, scope, requests) - bare) / requests * 1e6)
    return found[0][1:], found[1][1:]  # the first turn warms caches


async def _seconds(app: App, scope: dict[str, Any], requests: int) -> float:
    statuses: set[int] = set()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    began = time.process_time()
    for _ in range(requests):
        await app({**scope, "headers": list(scope["headers"])}, receive, send)
    took = time.process_time() - began
    if statuses != {200}:
        raise MeasurementFailed(f"the requests were answered with {statuses}")
    return took


async def _app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def _scope(query: str, bearer: str | None = None) -> dict[str, Any]:
    """What a server makes of a browser's request."""
    names = {"host": _HOST, "user-agent": "Mozilla/5.0", "accept": "*/*", "accept-encoding": "gzip, deflate, br"}
    names |= {"accept-language": "en", "referer": f"http://{_HOST}/", "sec-fetch-mode": "cors"}
    headers = [(name.encode(), value.encode()) for name, value in names.items()]
    headers += [(b"authorization", f"Bearer {bearer}".encode())] if bearer else []
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "client": ("203.0.113.7", 50000),
        "server": ("127.0.0.1", 8000),
    }


# ---- the least that others' parts need: find the credential, check it, take it away; and what a URL that is a credential
# asks for: not to travel on in a Referer, nor to be kept in a shared cache


def _with_jwt(app: App) -> App:
    async def middleware(scope: dict[str, Any], receive: Any, send: Any) -> None:
        kind, _, token = dict(scope["headers"]).get(b"authorization", b"").decode().partition(" ")
        try:
            jwt.decode(token if kind.lower() == "bearer" else "", _KEY, algorithms=["HS256"])
        except jwt.PyJWTError:
            await _refuse(send)
            return
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
        await app(scope, receive, send)

    return middleware


def _with_itsdangerous(app: App) -> App:
    async def middleware(scope: dict[str, Any], receive: Any, send: Any) -> None:
        pairs = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
        query = _less(pairs, {"s"})
        try:
            target = _SERIALIZER.loads(dict(pairs).get("s", ""), max_age=_LIFE_S)
        except ValueError:
            target = None
        if target != f"{scope['path']}?{query}":
            await _refuse(send)
            return
        scope["query_string"] = query.encode()
        await app(_without_referer(scope), receive, _kept_private(send))

    return middleware


def _with_botocore(app: App) -> App:
    async def middleware(scope: dict[str, Any], receive: Any, send: Any) -> None:
        pairs = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
        expected = dict(parse_qsl(_presigned().partition("?")[2]))
        if set(dict(pairs)) != set(
            expected
        ):  # the second may have changed since, so that signatures cannot be compared
            await _refuse(send)
            return
        scope["query_string"] = _less(pairs, {name for name, _ in pairs if name.startswith("X-Amz-")}).encode()
        await app(_without_referer(scope), receive, _kept_private(send))

    return middleware


def _without_referer(scope: dict[str, Any]) -> dict[str, Any]:
    scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"referer" or b"s=" not in value]
    return scope


def _kept_private(send: Any) -> Any:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = {b"referrer-policy": b"no-referrer", b"cache-control": b"private"}
            message = {**message, "headers": list((headers | dict(message["headers"])).items())}
        await send(message)

    return sending


def _less(pairs: Iterable[tuple[str, str]], names: set[str]) -> str:
    return urlencode([pair for pair in pairs if pair[0] not in names])


def _presigned() -> str:
    request = AWSRequest("GET", f"http://{_HOST}{_PATH}?{_QUERY}")
    S3SigV4QueryAuth(_CREDENTIALS, "s3", "eu-west-1", expires=_LIFE_S).add_auth(request)
    return str(request.url)


async def _refuse(send: Any) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": []})
    await send({"type": "http.response.body", "body": b""})

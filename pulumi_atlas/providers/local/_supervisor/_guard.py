"""Who may speak to the endpoint: only those that hold a key, never a web page, and no body past the limit."""

from __future__ import annotations

import hmac
import json
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Guard", "Refused", "answer", "json_body", "refusal", "same_secret"]


_MOST_READ = 200_000_000


class Refused(Exception):
    """A request that is answered with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def answer(value: Any, status: int = 200) -> Response:
    """A JSON answer that no browser keeps or guesses the type of."""
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
    return Response(body, status, headers, media_type="application/json")


def refusal(error: Refused) -> Response:
    response = answer({"error": error.sentence}, error.status)
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if error.status == 413:
        response.headers["connection"] = "close"
    return response


def same_secret(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


class Guard:
    """Checks the `Host` of every request (a page that points its own name at 127.0.0.1 sends that name), the key of each
    route that is not a worker's, and that a POST says it is JSON (which a page cannot do without being asked first)."""

    def __init__(self, app: ASGIApp, *, port: int, keys: dict[str, str]) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._keys = keys  # path prefix → key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._check(scope)
        except Refused as error:
            await refusal(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._hosts:
            raise Refused(421, "this server answers only under its own address on this computer")
        key = next((key for prefix, key in self._keys.items() if scope["path"].startswith(prefix)), None)
        if key is None:
            return
        given = headers.get("authorization", "")
        if given[:7].lower() == "bearer ":
            given = given[7:]
        if not same_secret(given.strip(), key):
            raise Refused(401, "the endpoint's key is missing or wrong; send it as 'Authorization: Bearer <key>'")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if scope["method"] == "POST" and kind != "application/json" and (kind or has_body):
            raise Refused(415, "send JSON, with 'Content-Type: application/json'")


async def json_body(request: Request, limit: int, *, what: str = "the body") -> Any:
    """The request's JSON value. Raises Refused: 413 past `limit` bytes, 400 when it is no JSON."""
    content = await _content(request, limit)
    if content is None:
        raise Refused(413, f"{what} is larger than {limit // 1_000_000} MB")
    try:
        return json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"{what} is not valid JSON: {error}") from None


async def _content(request: Request, limit: int) -> bytes | None:
    """The body, or None when it is too large. What is too much is read and dropped up to a bound, because a sender that
    is cut off in mid-sentence does not hear why."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                parts.append(part)
            elif size > _MOST_READ:
                return None
            else:
                parts.clear()
    except ClientDisconnect:
        raise Refused(400, "the request broke off") from None
    return b"".join(parts) if size <= limit else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

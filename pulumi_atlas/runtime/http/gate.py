"""What stands in front of every route: host, page, route, caller, body. See the package for the drawing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http import body as bodies
from pulumi_atlas.runtime.http.body import Receive
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.common_touch import CommonTouch
from pulumi_atlas.runtime.http.doorkeeper import Doorkeeper
from pulumi_atlas.runtime.http.head import Head
from pulumi_atlas.runtime.http.origins import Hosts, Origins
from pulumi_atlas.runtime.http.problem import Refusal, refusal_of, rendered
from pulumi_atlas.runtime.http.roles import Route, route_of
from pulumi_atlas.runtime.http.touch import Touch

__all__ = ["SAFE", "Gate", "Observe", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[Scope, Receive, Send], Awaitable[None]]
_Headers = list[tuple[bytes, bytes]]

#: Every answer has these.
SAFE: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"Origin"),
)
_PROBES = frozenset({"/healthz", "/readyz"})
_ON_DUTY = frozenset({"/healthz", "/readyz", "/openapi.json", "/metrics"})


class Observe(Protocol):
    """Is told of each request after its answer: `route` is a name of the table, or "" when there was none."""

    def __call__(self, route: str, scope: Scope, status: int, seconds: float, caller: Caller | None, /) -> None: ...


class Gate:
    """The application that the server runs. `inner` gets only what may pass, with ``scope["atlas.caller"]``.

    `crowded`: whether there are more connections than one process takes.
    """

    def __init__(
        self,
        companion: Companion,
        inner: _App,
        *,
        doorkeeper: Doorkeeper,
        hosts: Hosts,
        origins: Origins,
        bounds: Bounds,
        touch: Touch,
        common: CommonTouch,
        observe: Observe,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._companion, self._inner, self._doorkeeper, self._bounds = companion, inner, doorkeeper, bounds
        self._hosts, self._origins, self._observe, self._crowded = hosts, origins, observe, crowded
        self._touch, self._common = touch, common

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            companion = self._companion
            usual = companion.ready and not companion.draining and not self._crowded()
            if usual and scope["method"] == "POST" and scope["path"].endswith("/touch"):
                found = await self._common(scope, receive, send)
                if found is None:
                    return
                receive = found
            await _Exchange(self, scope, send).run(receive)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._inner(scope, receive, send)

    def page_that_asks(self, scope: Scope, head: Head) -> bytes | None:
        """The origin that may read the answer. Raises Refusal for a host that is not ours, or a page that may not ask."""
        host = head.get(b"host")
        if scope["path"] not in _PROBES and (host is None or not self._hosts.allow(host)):
            raise Refusal(421, "the request names another host than this companion's", slug="host")
        origin = head.get(b"origin")
        if origin is not None and not self._origins.allow(origin):
            raise Refusal(403, "pages of this origin may not ask", slug="origin")
        return origin

    def on_duty(self, path: str) -> None:
        """Raises Refusal while the companion has not begun, or has too much to do."""
        if self._crowded():
            raise Refusal(503, "there are too many connections", slug="busy", close=True)
        if path not in _ON_DUTY and not self._companion.ready and not self._companion.draining:
            raise Refusal(503, "the companion is starting", slug="starting", retry_after_s=1)

    async def receive_body(self, head: Head, route: Route, receive: Receive) -> Receive:
        """Read and check it, where there is one; gives it again. Raises Refusal."""
        if not head.has_body:
            return receive
        most = min(self._bounds.body_bytes, self._companion.settings.max_body_bytes)
        if head.length > most:
            raise bodies.too_large(most)
        if not head.is_json:
            raise Refusal(
                415, "a body is application/json", slug="not-json-type", headers=[(b"accept", b"application/json")]
            )
        body = await bodies.read(receive, most=most, within_s=self._bounds.body_s)
        if body and bodies.parse(body) not in ({}, None) and not route.body:
            raise Refusal(422, "this takes no body", slug="invalid")
        return bodies.replayed(body, receive)


class _Broken(Exception):
    """An answer that cannot be completed: the server cuts the connection."""


class _Exchange:
    """One request and its answer."""

    __slots__ = ("_began", "_caller", "_gate", "_origin", "_route", "_scope", "_send", "_status")

    def __init__(self, gate: Gate, scope: Scope, send: Send) -> None:
        self._gate, self._scope, self._send = gate, scope, send
        self._origin: bytes | None = None
        self._caller: Caller | None = None
        self._route = ""
        self._status = 0
        self._began = time.perf_counter()

    async def run(self, receive: Receive) -> None:
        """Answer it. Nothing but a cancellation leaves; what fails after the answer has begun cuts the connection."""
        try:
            await self._pass(receive)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is answered as a problem)
            if self._status:
                raise _Broken(f"the answer broke off: {type(error).__name__}") from None
            await self._refuse(refusal_of(error))
        finally:
            seconds = time.perf_counter() - self._began
            self._gate._observe(self._route, self._scope, self._status, seconds, self._caller)

    async def _pass(self, receive: Receive) -> None:
        gate, scope = self._gate, self._scope
        path: str = scope["path"]
        head = Head(scope["headers"])
        self._origin = gate.page_that_asks(scope, head)
        if self._origin is not None and head.get(b"access-control-request-method") and scope["method"] == "OPTIONS":
            await self._answer(204, Origins.preflight(self._origin), b"")
            return
        route, session_id = self._find(path)
        self._route = route.name
        gate.on_duty(path)
        self._caller = await gate._doorkeeper.caller(head, route, session_id)
        if gate._companion.draining and route.name == "POST /v1/sessions":
            raise Refusal(503, "the companion is stopping", slug="stopping")
        _check_query(scope["query_string"], route)
        if session_id is not None and route.path.endswith("/touch"):
            await self._answer(200, *await gate._touch(session_id, head, receive))
            return
        receive = await gate.receive_body(head, route, receive)
        scope["atlas.caller"] = self._caller
        await gate._inner(scope, receive, self._passed)

    def _find(self, path: str) -> tuple[Route, str | None]:
        routes, session_id = route_of(path)
        if not routes:
            raise Refusal(404, "there is no such path", slug="no-such-path")
        route = routes.get(self._scope["method"])
        if route is None:
            allow = ", ".join(sorted(routes)).encode()
            raise Refusal(405, f"this path takes {allow.decode()}", headers=[(b"allow", allow)])
        return route, session_id

    async def _refuse(self, refusal: Refusal) -> None:
        status, headers, body = rendered(refusal, self._scope["path"])
        await self._answer(status, headers, b"" if self._scope["method"] == "HEAD" else body)

    async def _answer(self, status: int, headers: _Headers, body: bytes) -> None:
        self._status = status
        await self._send({"type": "http.response.start", "status": status, "headers": self._headed(headers)})
        await self._send({"type": "http.response.body", "body": body})

    async def _passed(self, message: MutableMapping[str, Any]) -> None:
        """The inner application's answer, with what every answer has."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            own = [(name, value) for name, value in message.get("headers", ()) if name not in _OURS]
            message["headers"] = self._headed(own)
        await self._send(message)

    def _headed(self, headers: _Headers) -> _Headers:
        headers = [*headers, *SAFE]
        if self._origin is not None and not any(name == _ALLOWED for name, _ in headers):
            headers += Origins.answer(self._origin)
        if self._gate._companion.draining and _CLOSE not in headers:
            headers.append(_CLOSE)
        return headers


_OURS = frozenset(name for name, _ in SAFE) | {b"connection"}
_ALLOWED = b"access-control-allow-origin"
_CLOSE = (b"connection", b"close")


def _check_query(query: bytes, route: Route) -> None:
    """A parameter that is not known, or is there twice, is a mistake: ignored, it would answer another question."""
    if not query:
        return
    seen: set[str] = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=None):
        if name not in route.query or name in seen:
            what = "is there twice" if name in seen else "is not known here"
            hint = f"known: {', '.join(sorted(route.query))}" if route.query else "this takes none"
            errors = [{"path": f"query.{name}", "message": what, "hint": hint}]
            raise Refusal(422, "a parameter of the query is wrong", slug="invalid", errors=errors)
        seen.add(name)

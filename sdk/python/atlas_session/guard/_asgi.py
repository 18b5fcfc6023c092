"""The guard as ASGI middleware."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from atlas_session.guard._answers import answer
from atlas_session.guard._decide import Admitted, Answered, Refused
from atlas_session.guard._exchange import Exchange
from atlas_session.guard._facts import Facts
from atlas_session.guard._gate import Gate, Reporter
from atlas_session.guard._link import reporter_for
from atlas_session.guard._scope import App, Receive, Scope, Send, admit, bytes_of, facts_of, hide
from atlas_session.guard._settings import GuardSettings
from atlas_session.guard._socket import POLICY_VIOLATION, Socket

__all__ = ["Guard", "Health"]

#: Says whether the pod's program is well.
Health = Callable[[], Awaitable[bool]]


class Guard:
    """Lets in who has a token or a signed URL, and shows the application nothing of either.

    Args:
        app: An ASGI application. ``scope["atlas"]`` tells it how the visitor came in: ``how``, ``grant``, ``address``.
        settings: Default: from the environment (`GuardSettings.from_env`).
        clock: Gives unix seconds.
        reporter: Makes what reports to the companion; default: a thread, where the settings name a companion.
        health: Asked for ``/atlas-access/health``; False, or an exception, answers 503.

    Raises GuardConfigError when the settings verify nobody. An open WebSocket or request ends when its token is revoked
    or the generation rises (under asyncio); it may outlive the URL that let it in.
    """

    def __init__(
        self,
        app: App,
        settings: GuardSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        reporter: Callable[[Gate], Reporter] = reporter_for,
        health: Health | None = None,
    ) -> None:
        self.app = app
        self.settings = GuardSettings.from_env() if settings is None else settings
        self.gate = Gate(self.settings, clock=clock)
        self._reporter = reporter(self.gate)
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            raise ValueError(f"the guard knows no connection of the type {kind!r}, and lets none in")
        self._reporter.ensure_started()
        scope["headers"] = list(scope["headers"])  # servers that take trailers for headers add to theirs
        facts = facts_of(scope)
        verdict = self.gate.judge(facts)
        if not isinstance(verdict, Admitted):
            hide(scope, facts)
            await self._answer(verdict, facts, scope, receive, send)
            return
        admit(scope, verdict, facts)
        if not facts.websocket:
            self.gate.note("http", verdict)
        talk = Socket if facts.websocket else Exchange
        await talk(self.gate, verdict, facts, receive, send).run(self.app, scope)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._reporter.ensure_started()
        try:
            await self.app(scope, receive, send)
        finally:
            self._reporter.stop()

    async def _answer(
        self, verdict: Refused | Answered, facts: Facts, scope: Scope, receive: Receive, send: Send
    ) -> None:
        asks_for_health = isinstance(verdict, Answered) and verdict.what == "health"
        healthy = not asks_for_health or await self._is_healthy()
        status, headers, body = answer(verdict, facts, self.settings, healthy=healthy)
        prefix = ""
        if facts.websocket:
            if (await receive())["type"] != "websocket.connect":
                return
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})
                return
            prefix = "websocket."
        await send({"type": f"{prefix}http.response.start", "status": status, "headers": bytes_of(headers)})
        await send({"type": f"{prefix}http.response.body", "body": body})

    async def _is_healthy(self) -> bool:
        if self._health is None:
            return True
        try:
            return await self._health()
        except Exception:  # noqa: BLE001 (whatever is wrong with it, it is not well)
            return False

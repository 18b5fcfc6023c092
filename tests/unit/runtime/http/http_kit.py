"""A companion without workers behind its HTTP side, with a key of each kind, and sessions in whatever state is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from pulumi_atlas.client.core import Core
from pulumi_atlas.models.session import Session
from pulumi_atlas.rules.clock import Clock, SystemClock
from pulumi_atlas.runtime.access import KeyRingFile, guard_again
from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http.app import make_app
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.gate import Gate
from pulumi_atlas.runtime.http.keys import minted
from pulumi_atlas.runtime.http.wire import connection_class
from pulumi_atlas.runtime.ledger import Change
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import Scope
from pulumi_atlas.testing.sessions import MemoryStore

T = TypeVar("T")

HOST = "companion.example"
URL = f"http://{HOST}"
SPEC: dict[str, Any] = {"provider": "mock", "image": "me/notebook:3", "ports": ["8888/http"]}
TEMPLATES: dict[str, Any] = {
    "notebook": {"spec": SPEC, "idle_ttl_s": 600},
    "signed": {"spec": SPEC, "auth": "signed_url"},
    "operators": {"spec": SPEC, "for_backends": False},
    "here": {"spec": {"provider": "local", "command": ["sleep", "1"]}},
}
PATH_TO: dict[str, tuple[Any, ...]] = {
    "requested": (),
    "provisioning": ("provisioning",),
    "ready": ("provisioning", "ready"),
    "pausing": ("provisioning", "ready", "pausing"),
    "paused": ("provisioning", "ready", "pausing", "paused"),
    "terminating": ("provisioning", "ready", "terminating"),
    "irrevocable": ("provisioning", "ready", "terminating", "irrevocable"),
    "terminated": ("provisioning", "ready", "terminating", "terminated"),
    "failed": ("provisioning", "terminating", "failed"),
}


def run(work: Coroutine[Any, Any, T]) -> T:
    """The test's one event loop; what hangs fails."""

    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


class Stage:
    """`keys`: the text of a key of each scope, and of one that is revoked."""

    def __init__(self, companion: Companion, app: Gate, store: MemoryStore, keys: dict[str, str]) -> None:
        self.companion, self.app, self.store, self.keys = companion, app, store, keys

    async def session(self, state: str = "ready", *, template: str = "notebook", owner: str | None = None) -> Opened:
        """A session that went through all states up to this one."""
        from pulumi_atlas.models.session import SessionRequest

        opening = await self.companion.open(SessionRequest(template=template, owner=owner), actor="operator")
        await self.lead(opening.session.id, state)
        session = await self.companion.get(opening.session.id)
        guard = guard_again(self.companion.keyring.ring, session, self.companion.clock.now())
        assert guard is not None
        return Opened(session, opening.token, opening.touch_token, guard)

    async def lead(self, ident: str, state: str) -> None:
        for step in PATH_TO[state]:
            await self.lead_on(ident, step)

    async def lead_on(self, ident: str, step: Any) -> None:
        """One state further."""
        urls = {"8888": "https://pod.example:8888"}
        fields: dict[str, Any] = {"urls": urls, "pod_id": "p1"} if step == "ready" else {}
        fields |= {"ended_at": self.companion.clock.now()} if step in ("terminated", "failed") else {}
        change = Change("companion", "usable", to=step, fields=fields)
        await self.companion.ledger.change(ident, lambda session: change)

    @contextlib.asynccontextmanager
    async def client(self, key: str | None = None, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the application itself. `key`: a scope's name, or a key's text."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        presented = {} if key is None else {"Authorization": f"Bearer {self.keys.get(key, key)}"}
        async with httpx.AsyncClient(transport=transport, base_url=URL, headers={**presented, **headers}) as client:
            yield client

    @contextlib.asynccontextmanager
    async def served(self, bounds: Bounds | None = None) -> AsyncIterator[str]:
        """The application on a real port; its URL."""
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=0, http=connection_class(bounds or Bounds()), ws="none", lifespan="off",
            log_config=None, access_log=False, timeout_graceful_shutdown=5, timeout_keep_alive=5,
        )  # fmt: skip
        server = _Quiet(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            self.companion.draining = True
            self.companion.feed.close()
            server.should_exit = True
            await serving


class Opened:
    """A session and all that lets somebody in."""

    def __init__(self, session: Session, token: str | None, touch: str, guard: str) -> None:
        self.session, self.id, self.token, self.touch, self.guard = session, session.id, token, touch, guard


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def staged(
    folder: Path,
    *,
    clock: Clock | None = None,
    bounds: Bounds | None = None,
    observe: Callable[..., None] | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """A stage. Unknown keys are not waited for, unless `bounds` says otherwise."""
    store = MemoryStore()
    chosen = RuntimeSettings(**({"public_url": URL, "templates": TEMPLATES, "hosts": (HOST, "127.0.0.1")} | settings))
    clock = clock or SystemClock()
    companion = Companion(
        store=store, settings=chosen, keyring=KeyRingFile.load(folder / "ring"), core=Core(environ={}, cwd=folder),
        clock=clock, name="stage",
    )  # fmt: skip
    companion.ledger.listeners.remove(companion.worker.notice)  # nothing happens to sessions by itself
    companion.custody = await store.open(name="stage", now=clock.now())
    companion.ready = True
    app = make_app(companion, bounds=bounds or Bounds(keys_again_s=0.0), observe=observe)
    keys = {}
    scopes: tuple[Scope, ...] = ("admin", "backend", "read", "metrics")
    for scope in (*scopes, "revoked"):
        made, text = minted("admin" if scope == "revoked" else scope, scope, clock.now())
        await store.add_key(made)
        keys[scope] = text
        if scope == "revoked":
            await store.revoke_key(made.id, now=clock.now())
    try:
        yield Stage(companion, app, store, keys)
    finally:
        companion.feed.close()


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of an answer, which is one by every rule."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(told)
    assert told["status"] == status
    assert told["instance"] == response.request.url.path
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    return told


logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

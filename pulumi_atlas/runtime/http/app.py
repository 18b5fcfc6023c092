"""The whole application: the gate in front, FastAPI behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute

from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http import access_log, events, keys, operations, probes, sessions
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.doorkeeper import Doorkeeper
from pulumi_atlas.runtime.http.events import Streams
from pulumi_atlas.runtime.http.gate import Gate, Observe, Scope
from pulumi_atlas.runtime.http.known_keys import KnownKeys
from pulumi_atlas.runtime.http.origins import Hosts, Origins
from pulumi_atlas.runtime.http.probes import Render
from pulumi_atlas.runtime.http.roles import ROUTES

__all__ = ["make_app"]


def make_app(
    companion: Companion,
    *,
    listen: str | None = None,
    bounds: Bounds | None = None,
    render: Render = lambda: (b"", "text/plain"),
    observe: Observe | None = None,
    crowded: Callable[[], bool] = lambda: False,
) -> Gate:
    """The application of this companion, for one event loop.

    `listen`: the host that it listens on. `render`: its metrics. `observe` is told of each request beside the access log.
    `crowded`: whether there are too many connections.
    """
    bounds = bounds or Bounds()
    known = KnownKeys(companion.store, companion.ledger.clock, bounds)
    doorkeeper = Doorkeeper(companion, known)
    inner = _framework()
    routers = (
        sessions.routes(companion),
        events.routes(companion, bounds, Streams(bounds), doorkeeper.still),
        operations.routes(companion),
        keys.routes(companion, known),
        probes.routes(companion, render),
    )
    _check(routers)
    for router in routers:
        inner.include_router(router)
    return Gate(
        companion,
        inner,
        doorkeeper=doorkeeper,
        hosts=Hosts(companion.settings, listen),
        origins=Origins(companion.settings),
        bounds=bounds,
        observe=_both(observe),
        crowded=crowded,
    )


class _Bare(FastAPI):
    """FastAPI without its own error pages: whatever is raised reaches the gate."""

    def build_middleware_stack(self) -> Any:
        return AsyncExitStackMiddleware(self.router)


def _framework() -> FastAPI:
    return _Bare(
        title="pulumi_atlas companion",
        summary="Sessions: pods rented for one user for a while.",
        version=version("pulumi-atlas"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )


def _check(routers: Iterable[APIRouter]) -> None:
    """The table of who may do what names each route, and no other."""
    there = {
        f"{method} {route.path}"
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    wanted = {route.name for route in ROUTES} - {"GET /openapi.json"}
    if there != wanted:
        raise RuntimeError(f"routes without a row in the table of roles, or the reverse: {sorted(there ^ wanted)}")


def _both(observe: Observe | None) -> Observe:
    if observe is None:
        return access_log.write
    second = observe

    def told(route: str, scope: Scope, status: int, seconds: float, caller: Caller | None, /) -> None:
        second(route, scope, status, seconds, caller)
        access_log.write(route, scope, status, seconds, caller)

    return told

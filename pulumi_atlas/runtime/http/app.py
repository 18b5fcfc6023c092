"""The whole application: the gate in front, FastAPI behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute

from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http import access_log, events, keys, operations, probes, sessions
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.common_touch import CommonTouch
from pulumi_atlas.runtime.http.doorkeeper import Doorkeeper
from pulumi_atlas.runtime.http.events import StillMay, Streams
from pulumi_atlas.runtime.http.gate import SAFE, Gate, Observe, Scope
from pulumi_atlas.runtime.http.known_keys import KnownKeys
from pulumi_atlas.runtime.http.openapi import with_roles
from pulumi_atlas.runtime.http.origins import Hosts, Origins
from pulumi_atlas.runtime.http.roles import ROUTES
from pulumi_atlas.runtime.http.touch import Touch

__all__ = ["make_app", "published"]


def make_app(
    companion: Companion,
    *,
    listen: str | None = None,
    bounds: Bounds | None = None,
    observe: Observe | None = None,
    crowded: Callable[[], bool] = lambda: False,
) -> Gate:
    """The application of this companion, for one event loop.

    `listen`: the host that it listens on. `observe` is told of each request beside the access log. `crowded`: whether there
    are too many connections.
    """
    bounds = bounds or Bounds()
    known = KnownKeys(companion.store, companion.ledger.clock, bounds)
    doorkeeper = Doorkeeper(companion, known)
    hosts = Hosts(companion.settings, listen)
    roles = next(route.roles for route in ROUTES if route.path.endswith("/touch"))
    common = CommonTouch(companion, known, hosts, roles=roles, safe=SAFE)
    inner = _framework(companion, bounds, known, doorkeeper.still, common.tell)
    return Gate(
        companion,
        inner,
        doorkeeper=doorkeeper,
        hosts=hosts,
        origins=Origins(companion.settings),
        bounds=bounds,
        touch=Touch(companion, bounds),
        common=common,
        observe=_both(observe),
        crowded=crowded,
    )


def published() -> dict[str, Any]:
    """The document of the API, without a companion: only the shapes of the routes matter for it."""
    nobody = cast(Any, None)
    return _framework(nobody, Bounds(), nobody, nobody, nobody).openapi()


class _Bare(FastAPI):
    """FastAPI without its own error pages: whatever is raised reaches the gate."""

    def build_middleware_stack(self) -> Any:
        return AsyncExitStackMiddleware(self.router)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = with_roles(super().openapi())
        return self.openapi_schema


def _framework(
    companion: Companion,
    bounds: Bounds,
    known: KnownKeys,
    still_may: StillMay,
    tell: Callable[[], None],
) -> FastAPI:
    inner = _Bare(
        title="pulumi_atlas companion",
        summary="Sessions: pods rented for one user for a while.",
        version=version("pulumi-atlas"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    routers = (
        sessions.routes(companion),
        events.routes(companion, bounds, Streams(bounds), still_may),
        operations.routes(companion),
        keys.routes(companion, known),
        probes.routes(companion, tell),
    )
    _check(routers)
    for router in routers:
        inner.include_router(router)
    return inner


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

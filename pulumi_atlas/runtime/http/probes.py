"""Is it alive, may it be asked, and how much of what is there: for whoever watches over the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse, Response

from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http.answers import answer, caller_of, problems
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.shapes import Health
from pulumi_atlas.runtime.metrics import CONTENT_TYPE

__all__ = ["routes"]

Asking = Annotated[Caller, Depends(caller_of)]
_UNREADY: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "It has not begun, or is stopping"}}


def routes(companion: Companion, tell: Callable[[], None]) -> APIRouter:
    """The router, for this companion. `tell` brings its figures up to date."""
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", response_model=Health)
    async def healthz() -> Response:
        """The process is there, and its loop turns."""
        return answer({"status": "alive", "reasons": []})

    @router.get("/readyz", response_model=Health, responses=_UNREADY)
    async def readyz() -> Response:
        """It may be asked. While sessions are not ended for some reason, it still may: `reasons` says why."""
        if companion.draining:
            return answer({"status": "stopping", "reasons": ["it is stopping"]}, 503, {"Retry-After": "5"})
        if not companion.ready:
            return answer({"status": "starting", "reasons": ["it has not begun yet"]}, 503, {"Retry-After": "1"})
        return answer({"status": "ready", "reasons": _frozen(companion)})

    @router.get("/metrics", response_class=PlainTextResponse, responses=problems())
    async def figures(caller: Asking) -> Response:
        """For Prometheus."""
        tell()
        return Response(companion.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return router


def _frozen(companion: Companion) -> list[str]:
    """Why no session is ended now."""
    found = companion.status().get("frozen") or ()
    return [found] if isinstance(found, str) else [str(one) for one in found]

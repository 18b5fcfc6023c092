"""What an operator looks at, and does."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http.answers import answer, caller_of, fitting, problems
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.shapes import Confirmed, IrrevocableList, OrphanList, Plan, Status, TemplateList

__all__ = ["routes"]

Asking = Annotated[Caller, Depends(caller_of)]


def routes(companion: Companion) -> APIRouter:
    """The router, for this companion."""
    router = APIRouter(prefix="/v1", tags=["operations"])

    @router.get("/irrevocable", response_model=IrrevocableList, responses=problems())
    async def irrevocable(caller: Asking) -> Response:
        """Sessions whose pod was asked to end again and again, without the provider confirming it: they cost money."""
        rows, left_out = fitting(companion.irrevocable())
        return answer({"sessions": rows, "left_out": left_out})

    @router.get("/orphans", response_model=OrphanList, responses=problems(502))
    async def orphans(caller: Asking) -> Response:
        """Pods of this deployment that no session wants, with what they cost."""
        rows, left_out = fitting(await companion.orphans())
        return answer({"orphans": rows, "left_out": left_out})

    @router.get("/templates", response_model=TemplateList, responses=problems())
    async def templates(caller: Asking) -> Response:
        """What this key may open by name."""
        assert caller.role in ("admin", "backend", "read", "metrics")
        rows, left_out = fitting(companion.templates(scope=caller.role))
        return answer({"templates": rows, "left_out": left_out})

    @router.get("/status", response_model=Status, responses=problems())
    async def status(caller: Asking) -> Response:
        """How the companion is."""
        return answer(companion.status())

    @router.post("/reap", response_model=Plan, responses=problems())
    async def reap(caller: Asking, dry_run: Annotated[Literal["true"], Query()]) -> Response:
        """What the reaper would do now. It reaps by itself; there is no other way than `dry_run=true`."""
        return answer(companion.plan())

    @router.post("/confirm-store", response_model=Confirmed, responses=problems())
    async def confirm_store(caller: Asking) -> Response:
        """An operator says that this store is the right one, here: sessions may be ended again."""
        custody = await companion.confirm_store()
        return answer({"deployment_id": custody.deployment_id, "frozen": custody.frozen})

    return router

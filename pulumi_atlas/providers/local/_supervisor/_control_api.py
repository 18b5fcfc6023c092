"""The provider's own routes: how the endpoint does, new limits, and its end."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pulumi_atlas.errors import AtlasError
from pulumi_atlas.providers.local._supervisor._guard import Refused, answer, json_body
from pulumi_atlas.providers.local._supervisor._serve import Supervisor

__all__ = ["ControlApi"]

_LIMIT = 100_000


class ControlApi:
    """The routes below ``/control/<endpoint>``, opened by a key that is not the job API's."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def routes(self) -> list[Route]:
        base = f"/control/{self._supervisor.settings.endpoint}"
        return [
            Route(f"{base}/state", self.state, methods=["GET"]),
            Route(f"{base}/reload", self.reload, methods=["POST"]),
            Route(f"{base}/stop", self.stop, methods=["POST"]),
        ]

    async def state(self, request: Request) -> Response:
        return answer(self._supervisor.state())

    async def reload(self, request: Request) -> Response:
        try:
            self._supervisor.reload()
        except AtlasError as error:
            raise Refused(500, error.message) from error
        return answer(self._supervisor.state())

    async def stop(self, request: Request) -> Response:
        """End the endpoint's process; with ``{"cancel": true}`` what has not ended is cancelled first."""
        body = await json_body(request, _LIMIT)
        cancel = isinstance(body, dict) and bool(body.get("cancel"))
        if cancel:
            self._supervisor.cancel_all()
            await asyncio.sleep(0)  # who waits for a job is answered before the doors close
        self._supervisor.begin_closing(at_once=cancel)
        return answer({"ending": True})

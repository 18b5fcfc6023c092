"""The routes that workers use: RunPod's worker protocol (job-take, job-done, job-stream, job-stop, ping)."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pulumi_atlas.providers.local._supervisor._guard import Refused, answer, json_body, same_secret
from pulumi_atlas.providers.local._supervisor._pool import Worker
from pulumi_atlas.providers.local._supervisor._serve import QUEUE_TOPIC, Supervisor

__all__ = ["WorkerApi"]

_OUTPUT_LIMIT, _CHUNK_LIMIT = 20_000_000, 1_000_000
_HOLD_S = 20.0
_MOST_AT_ONCE = 100
_TELL_AGAIN_S = 1.0
_PAUSE_S = 0.1


class WorkerApi:
    """The routes below ``/worker/<endpoint>``. Each worker has a token of its own, in the header or in the query."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def routes(self) -> list[Route]:
        base = f"/worker/{self._supervisor.settings.endpoint}"
        return [
            Route(f"{base}/job-take/{{worker}}", self.take, methods=["GET"]),
            Route(f"{base}/job-take-batch/{{worker}}", self.take_batch, methods=["GET"]),
            Route(f"{base}/job-stop/{{worker}}", self.stop, methods=["GET"]),
            Route(f"{base}/job-done/{{worker}}/{{job}}", self.done, methods=["POST"]),
            Route(f"{base}/job-stream/{{worker}}/{{job}}", self.stream, methods=["POST"]),
            Route(f"{base}/ping/{{worker}}", self.ping, methods=["GET"]),
        ]

    async def take(self, request: Request) -> Response:
        jobs = await self._take(request, 1)
        return answer(jobs[0]) if jobs else Response(status_code=204)

    async def take_batch(self, request: Request) -> Response:
        text = request.query_params.get("batch_size", "1")
        count = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1
        jobs = await self._take(request, max(1, min(_MOST_AT_ONCE, count)))
        return answer(jobs) if jobs else Response(status_code=204)

    async def _take(self, request: Request, count: int) -> list[dict[str, Any]]:
        supervisor, worker = self._supervisor, self._worker(request)
        if request.query_params.get("job_in_progress") == "0":
            supervisor.hands_empty(worker)
        until = supervisor.now() + _HOLD_S
        while not await request.is_disconnected():
            if jobs := supervisor.take(worker, count):
                return [job.for_worker() for job in jobs]
            left = until - supervisor.now()
            if left <= 0 or self._is_leaving(worker):
                break
            await supervisor.bell.wait(QUEUE_TOPIC, left)
        return await self._nothing(worker)

    async def stop(self, request: Request) -> Response:
        """Hold until there is a job to stop. Says so again while it has not been: a worker that had the job in hand but
        had not begun it overhears the first time."""
        supervisor, worker = self._supervisor, self._worker(request)
        until = supervisor.now() + _HOLD_S
        while (now := supervisor.now()) < until and not self._is_leaving(worker):
            if ids := [job_id for job_id in worker.stops if now - worker.told.get(job_id, 0.0) >= _TELL_AGAIN_S]:
                worker.told.update(dict.fromkeys(ids, now))
                return answer({"jobsToStop": ids})
            await supervisor.bell.wait(worker.id, min(until - now, _TELL_AGAIN_S) if worker.stops else until - now)
        await self._nothing(worker)
        return Response(status_code=204)

    def _is_leaving(self, worker: Worker) -> bool:
        return worker.ending or worker.id not in self._supervisor.pool.workers

    async def _nothing(self, worker: Worker) -> list[dict[str, Any]]:
        """No answer to give. A worker that is asked to leave is let go of at once, but may not ask in a tight loop."""
        if worker.ending:
            await asyncio.sleep(_PAUSE_S)
        return []

    async def done(self, request: Request) -> Response:
        worker, job_id = self._worker(request), request.path_params["job"]
        try:
            body = await json_body(request, _OUTPUT_LIMIT, what="the output")
        except Refused as error:
            self._supervisor.finish(worker, job_id, output=None, error=error.sentence, retire=False)
            raise
        if not isinstance(body, dict):
            body = {"error": "the worker's answer is not an object"}
        if body.get("status") == "IN_PROGRESS":
            accepted = self._supervisor.queue.progress(worker.id, job_id, body.get("output"))
            self._supervisor.commit()
        else:
            accepted = self._supervisor.finish(
                worker,
                job_id,
                output=body.get("output"),
                error=body.get("error") or None,
                retire=bool(body.get("stopPod")),
            )
        return _receipt(accepted)

    async def stream(self, request: Request) -> Response:
        worker, job_id = self._worker(request), request.path_params["job"]
        try:
            body = await json_body(request, _CHUNK_LIMIT, what="a chunk")
        except Refused as error:
            if self._supervisor.queue.owns(worker.id, job_id):
                self._supervisor.finish_in_vain(worker, job_id, error.sentence)
            raise
        chunk = body.get("output") if isinstance(body, dict) else body
        accepted = self._supervisor.queue.chunk(worker.id, job_id, chunk)
        if accepted:
            self._supervisor.bell.ring(job_id)
        return _receipt(accepted)

    async def ping(self, request: Request) -> Response:
        worker = self._worker(request)
        worker.pings = True
        if "job_id" in request.query_params:
            in_hand = {each for text in request.query_params.getlist("job_id") for each in text.split(",")}
            for job_id in [job_id for job_id in worker.told if job_id not in in_hand]:
                worker.obeyed(job_id)
        return answer({})

    def _worker(self, request: Request) -> Worker:
        worker = self._supervisor.pool.workers.get(request.path_params["worker"])
        given = [request.query_params.get("token", ""), request.headers.get("authorization", "")]
        if worker is None or not any(same_secret(text.removeprefix("Bearer "), worker.token) for text in given):
            raise Refused(401, "this is not a worker of this endpoint")
        worker.seen(self._supervisor.now())
        return worker


def _receipt(accepted: bool) -> Response:
    if not accepted:
        raise Refused(409, "the job is not this worker's any more; nothing was kept")
    return answer({"accepted": True})

"""RunPod's job API: run, runsync, status, stream, cancel, retry, purge-queue, health."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pulumi_atlas.errors import AtlasError
from pulumi_atlas.providers.local._supervisor._guard import Refused, answer, json_body
from pulumi_atlas.providers.local._supervisor._job import Job
from pulumi_atlas.providers.local._supervisor._serve import Supervisor
from pulumi_atlas.providers.local._supervisor._webhooks import problem_with

__all__ = ["JobApi"]

_RUN_LIMIT, _SYNC_LIMIT = 10_000_000, 20_000_000
_LONGEST_MS = 7 * 86_400_000
_STREAM_WAIT_MS = 5_000


class JobApi:
    """The routes below ``/v2/<endpoint>``."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._queue = supervisor.queue

    def routes(self) -> list[Route]:
        base = f"/v2/{self._supervisor.settings.endpoint}"
        return [
            Route(f"{base}/run", self.run, methods=["POST"]),
            Route(f"{base}/runsync", self.runsync, methods=["POST"]),
            Route(f"{base}/status/{{job}}", self.status, methods=["GET", "POST"]),
            Route(f"{base}/stream/{{job}}", self.stream, methods=["GET", "POST"]),
            Route(f"{base}/cancel/{{job}}", self.cancel, methods=["POST"]),
            Route(f"{base}/retry/{{job}}", self.retry, methods=["POST"]),
            Route(f"{base}/purge-queue", self.purge, methods=["POST"]),
            Route(f"{base}/health", self.health, methods=["GET"]),
        ]

    async def run(self, request: Request) -> Response:
        job = self._submit(await json_body(request, _RUN_LIMIT), sync=False)
        return answer({"id": job.id, "status": job.status})

    async def runsync(self, request: Request) -> Response:
        wait_ms = _whole(request, "wait", 90_000, 1, 300_000)
        job = self._submit(await json_body(request, _SYNC_LIMIT), sync=True)
        return answer((await self._ended(job, wait_ms)).answer())

    async def status(self, request: Request) -> Response:
        """The job as it is now; with `wait`, once it has ended or so many ms have passed."""
        wait_ms = _whole(request, "wait", 0, 0, 300_000)
        return answer((await self._ended(self._job(request), wait_ms)).answer())

    async def _ended(self, job: Job, wait_ms: int) -> Job:
        until = self._supervisor.now() + wait_ms / 1000
        while not job.is_final and (left := until - self._supervisor.now()) > 0 and not self._supervisor.closing:
            await self._supervisor.bell.wait(job.id, left)
            job = self._queue.get(job.id) or job
        return job

    async def stream(self, request: Request) -> Response:
        """Chunks that are new: since position `from` where given, else since the last reader without one. Waits up to
        `wait` ms for the first. `next` is the position to ask from."""
        job = self._job(request)
        wait_ms = _whole(request, "wait", _STREAM_WAIT_MS, 0, 60_000)
        stream = self._queue.stream(job.id)
        own = "from" in request.query_params
        position = _whole(request, "from", 0, 0, 2**53) if own else stream.read
        until = self._supervisor.now() + wait_ms / 1000
        while not job.is_final and stream.end <= position and (left := until - self._supervisor.now()) > 0:
            await self._supervisor.bell.wait(job.id, left)
            job = self._queue.get(job.id) or job
            if self._supervisor.closing:
                break
        chunks = stream.after(position)
        if not own:
            stream.read = stream.end
        told: dict[str, Any] = {"status": job.status, "stream": [{"output": chunk} for chunk in chunks]}
        if job.error is not None:
            told["error"] = job.error
        return answer({**told, "next": max(position, stream.end)})

    async def cancel(self, request: Request) -> Response:
        job = self._job(request)
        return answer(self._supervisor.cancel(job.id).answer())

    async def retry(self, request: Request) -> Response:
        job = self._job(request)
        again = self._queue.retry(job.id, self._supervisor.now())
        if again is None:
            raise Refused(409, f"only a failed or timed-out job can be retried; this one is {job.status}")
        self._supervisor.commit()
        return answer({"id": again.id, "status": again.status})

    async def purge(self, request: Request) -> Response:
        removed = self._queue.purge(self._supervisor.now())
        self._supervisor.commit()
        return answer({"removed": removed, "status": "completed"})

    async def health(self, request: Request) -> Response:
        return answer(self._supervisor.health())

    def _job(self, request: Request) -> Job:
        job = self._queue.get(request.path_params["job"])
        if job is None:
            kept = self._queue.retention_s / 60
            raise Refused(404, f"no such job; results are kept for {kept:g} min after the end (runsync: at most 1 min)")
        return job

    def _submit(self, body: Any, *, sync: bool) -> Job:
        if self._supervisor.closing:
            raise Refused(503, "the endpoint is ending")
        settings = self._supervisor.settings
        job = job_from(
            body,
            sync=sync,
            now=self._supervisor.now(),
            execution_timeout_s=settings.execution_timeout_s,
            ttl_s=settings.queue_ttl_s,
        )
        try:
            return self._supervisor.submit(job)
        except AtlasError as error:
            raise Refused(507, f"the job was not accepted: {error.message}") from error


def job_from(body: Any, *, sync: bool, now: float, execution_timeout_s: float, ttl_s: float) -> Job:
    """The job that a request asks for. Raises Refused(400) with a sentence. Unknown fields are ignored, as RunPod does."""
    if not isinstance(body, dict) or "input" not in body:
        raise Refused(400, 'the body must be an object with an "input"')
    policy = body.get("policy") or {}
    if not isinstance(policy, dict):
        raise Refused(400, '"policy" must be an object')
    webhook = body.get("webhook")
    if webhook is not None and (problem := problem_with(webhook)):
        raise Refused(400, problem)
    extras = {"s3Config": body["s3Config"]} if isinstance(body.get("s3Config"), dict) else {}
    return Job(
        id=f"{'sync-' if sync else ''}{uuid.uuid4()}",
        input=body["input"],
        submitted=now,
        execution_timeout_s=_seconds(policy, "executionTimeout", execution_timeout_s),
        ttl_s=_seconds(policy, "ttl", ttl_s),
        sync=sync,
        webhook=webhook,
        extras=extras,
    )


def _seconds(policy: Mapping[str, Any], name: str, default: float) -> float:
    value = policy.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST_MS:
        raise Refused(400, f'"policy.{name}" must be milliseconds, more than 0 and at most 7 days')
    return value / 1000


def _whole(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text[:20]) <= high:
        raise Refused(400, f"{name} must be a whole number from {low} to {high}")
    return int(text)

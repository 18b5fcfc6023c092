"""The caller's side of an endpoint's job API: requests, and what their answers and failures mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from pulumi_atlas.errors import (
    AtlasError,
    Conflict,
    Failure,
    InvalidSpec,
    NotFound,
    ProviderFailure,
    TimedOut,
    TransportError,
    Unauthorized,
    UnknownOutcome,
)
from pulumi_atlas.ids import JobId
from pulumi_atlas.models import EndpointHealth, Job, JobSpec

__all__ = ["Door", "cancel", "get", "health", "run", "stream"]

_TIMEOUT_S = 30.0
_POLL_MS = 20_000
_LONGEST_WAIT_MS = 300_000


@dataclass(frozen=True)
class Door:
    """One endpoint's job API and the key that opens it; `operation` is what the caller was asked to do."""

    endpoint: str
    url: str
    key: str = field(repr=False)
    operation: str

    def client(self, timeout_s: float = _TIMEOUT_S) -> httpx.AsyncClient:
        """A client for a few requests. Settings of proxies do not apply to loopback, nor do certificates."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(headers=headers, timeout=timeout_s, trust_env=False, verify=False)

    def job_url(self, action: str, job_id: str) -> str:
        return f"{self.url}/{action}/{quote(job_id, safe='')}"


async def run(door: Door, spec: JobSpec) -> Job:
    """Queue a job, and with mode `sync` wait for its end up to `timeout_s`, then raise TimedOut naming it."""
    body = _body(spec)
    if spec.mode != "sync":
        async with door.client() as client:
            return _job(door, await _request(door, client, "POST", f"{door.url}/run", json=body))
    wait_ms = max(1, min(_LONGEST_WAIT_MS, round(spec.timeout_s * 1000)))
    left_ms = round(spec.timeout_s * 1000) - wait_ms
    async with door.client(wait_ms / 1000 + _TIMEOUT_S) as client:
        told = await _request(door, client, "POST", f"{door.url}/runsync", params={"wait": wait_ms}, json=body)
        while told["status"] in ("IN_QUEUE", "IN_PROGRESS") and left_ms > 0:
            step = min(left_ms, _POLL_MS)
            left_ms -= step
            told = await _request(door, client, "GET", door.job_url("status", told["id"]), params={"wait": step})
    job = _job(door, told)
    if not job.is_final:
        raise TimedOut(
            f"job {job.id} has not ended within {spec.timeout_s:g} s; it runs on",
            provider="local",
            operation=door.operation,
            hint=f"ask for it later: atlas jobs get {door.endpoint} {job.id}",
        )
    return job


async def get(door: Door, job_id: JobId) -> Job:
    """The job as it is now."""
    async with door.client() as client:
        return _job(door, await _request(door, client, "GET", door.job_url("status", job_id)))


async def cancel(door: Door, job_id: JobId) -> Job:
    """Cancel the job; one that has ended stays as it is."""
    async with door.client() as client:
        return _job(door, await _request(door, client, "POST", door.job_url("cancel", job_id), json={}))


async def health(door: Door) -> EndpointHealth:
    """Counts of jobs and workers."""
    async with door.client() as client:
        told = await _request(door, client, "GET", f"{door.url}/health")
    return EndpointHealth(jobs=told["jobs"], workers=told["workers"])


async def stream(door: Door, job_id: JobId) -> AsyncIterator[Any]:
    """The chunks from the first on, each once per attempt; then ends, or raises ProviderFailure for a job that did not complete."""
    position = 0
    async with door.client(_POLL_MS / 1000 + _TIMEOUT_S) as client:
        while True:
            params = {"from": position, "wait": _POLL_MS}
            told = await _request(door, client, "GET", door.job_url("stream", job_id), params=params)
            for each in told["stream"]:
                yield each["output"]
            position = told["next"]
            if told["status"] == "COMPLETED":
                return
            if told["status"] not in ("IN_QUEUE", "IN_PROGRESS"):
                raise _did_not_complete(door, job_id, told)


def _did_not_complete(door: Door, job_id: str, told: Mapping[str, Any]) -> ProviderFailure:
    status = str(told["status"]).lower().replace("_", " ")
    why = f": {told['error']}" if told.get("error") else ""
    return ProviderFailure(
        f"job {job_id} {_ENDINGS.get(status, status)}{why}", provider="local", operation=door.operation
    )


_ENDINGS = {"failed": "failed", "cancelled": "was cancelled", "timed out": "timed out"}


def _body(spec: JobSpec) -> dict[str, Any]:
    if spec.provider_options:
        names = sorted(spec.provider_options)
        failures = [
            Failure(f"provider_options.{name}", "local's jobs have no options", "leave it out") for name in names
        ]
        raise InvalidSpec(failures, provider="local", operation="run_job")
    limits = {"executionTimeout": spec.execution_timeout_s, "ttl": spec.ttl_s}
    policy = {name: max(1, round(seconds * 1000)) for name, seconds in limits.items() if seconds is not None}
    body: dict[str, Any] = {"input": spec.input}
    if policy:
        body["policy"] = policy
    if spec.webhook is not None:
        body["webhook"] = spec.webhook
    return body


def _job(door: Door, told: Mapping[str, Any]) -> Job:
    return Job(
        id=told["id"],
        provider="local",
        endpoint=door.endpoint,
        status=told["status"].lower(),
        output=told.get("output"),
        error=told.get("error"),
        execution_time_ms=told.get("executionTime"),
        delay_time_ms=told.get("delayTime"),
        worker_id=told.get("workerId"),
        retries=told.get("retries", 0),
        raw=dict(told),
    )


async def _request(door: Door, client: httpx.AsyncClient, method: str, url: str, **options: Any) -> dict[str, Any]:
    """One request; its JSON answer. Only a POST can have an unknown outcome."""
    place: dict[str, Any] = {"provider": "local", "operation": door.operation}
    try:
        answer = await client.request(method, url, **options)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise TransportError(
            f"endpoint {door.endpoint} does not answer",
            **place,
            hint="its supervisor may be dead; see its status, or update it",
        ) from error
    except httpx.TransportError as error:
        if method == "POST" and door.operation == "run_job":
            raise UnknownOutcome(
                f"the answer of endpoint {door.endpoint} was lost; the job may run",
                **place,
                hint="look at the endpoint's health",
            ) from error
        raise TransportError(f"endpoint {door.endpoint} broke off: {type(error).__name__}", **place) from error
    except (TypeError, ValueError) as error:
        raise InvalidSpec(
            [Failure("input", f"cannot be written as JSON: {error}", "use plain values")], **place
        ) from error
    try:
        told = answer.json()
    except ValueError:
        told = None
    if answer.status_code == 200 and isinstance(told, dict):
        return told
    raise _refusal(door, answer.status_code, told)


def _refusal(door: Door, status: int, told: Any) -> AtlasError:
    sentence = str(told.get("error", "")) if isinstance(told, dict) else ""
    place: dict[str, Any] = {"provider": "local", "operation": door.operation}
    if status in (400, 413, 415):
        return InvalidSpec([Failure("input" if status == 413 else "", sentence or f"HTTP {status}")], **place)
    kinds: dict[int, type[AtlasError]] = {401: Unauthorized, 404: NotFound, 409: Conflict, 503: TransportError}
    kind = kinds.get(status, ProviderFailure)
    return kind(sentence or f"endpoint {door.endpoint} answered HTTP {status}", status=status, **place)

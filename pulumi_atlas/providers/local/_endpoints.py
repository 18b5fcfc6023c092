"""Endpoints and jobs of `local`: the contract's verbs. An endpoint is one detached supervisor process with its workers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from pulumi_atlas.ids import EndpointId, JobId, Tag
from pulumi_atlas.models import EndpointHealth, EndpointSpec, Job, JobSpec, Listing, ObservedEndpoint
from pulumi_atlas.providers.contract import Change
from pulumi_atlas.providers.local import _jobs_api as jobs_api
from pulumi_atlas.providers.local._endpoint_records import EndpointRecords
from pulumi_atlas.providers.local._endpoint_spec import ENDPOINT_ACCEPTS, ENDPOINT_CHANGES, check, owner_of, port_of
from pulumi_atlas.providers.local._place import LocalPlace
from pulumi_atlas.providers.local._waiting import finish, speaking

__all__ = ["LocalEndpoints"]

P = ParamSpec("P")
T = TypeVar("T")


class LocalEndpoints(LocalPlace):
    """Endpoints and jobs of `LocalProvider`."""

    endpoint_accepts: ClassVar[frozenset[str]] = ENDPOINT_ACCEPTS
    endpoint_changes: ClassVar[Mapping[str, Change]] = ENDPOINT_CHANGES

    @staticmethod
    def endpoint_url(endpoint_id: EndpointId) -> str:
        """``http://127.0.0.1:<port>/v2/<id>``: the port is a part of the id. Raises ValueError on a foreign id."""
        return f"http://127.0.0.1:{port_of(endpoint_id)}/v2/{endpoint_id}"

    async def create_endpoint(self, spec: EndpointSpec, tag: Tag) -> ObservedEndpoint:
        """Start a supervisor. Returns once it answers, and with `min` workers once the first is ready or 5 s have passed.

        Raises InvalidSpec when working folder, command or handler are not there, ProviderFailure with the last lines of
        the log when the supervisor or the first worker dies at once; nothing is left behind then.
        """
        with speaking("create_endpoint"):
            check(spec, "create_endpoint")
            record = await _to_the_end(self._endpoint_records().create, spec, tag)
            return await self._endpoint_observed(record)

    async def get_endpoint(self, endpoint_id: EndpointId) -> ObservedEndpoint:
        """The endpoint as it is now: `failed` when its supervisor is dead or its workers cannot start. Raises NotFound."""
        with speaking("get_endpoint"):
            return await self._endpoint_observed(await finish(self._endpoint_records().read, endpoint_id))

    async def list_endpoints(self) -> Listing[ObservedEndpoint]:
        """All endpoints below this provider's folder. Also sweeps up what killed creators have left there."""
        with speaking("list_endpoints"):
            records = await finish(self._endpoint_records().all)
            found = await asyncio.gather(*(self._endpoint_observed(record) for record in records))
        return Listing(tuple(found), await self.identity())

    async def update_endpoint(self, endpoint_id: EndpointId, spec: EndpointSpec, *, restart: bool) -> ObservedEndpoint:
        """Make `spec` the endpoint's spec. With `restart`, or when it is dead, its supervisor is started anew on the same
        port with the same key; jobs that wait stay queued, those in progress get `stop_grace_s` to end and are queued
        again otherwise. Raises NotFound, InvalidSpec."""
        with speaking("update_endpoint"):
            check(spec, "update_endpoint")
            record = await _to_the_end(self._endpoint_records().update, endpoint_id, spec, restart)
            return await self._endpoint_observed(record)

    async def delete_endpoint(self, endpoint_id: EndpointId) -> None:
        """Cancel its jobs, end all its processes and remove its folder. Raises NotFound; ProviderFailure when a process
        does not end, and then the record stays."""
        with speaking("delete_endpoint"):
            await finish(self._endpoint_records().delete, endpoint_id)

    async def run_job(self, spec: JobSpec) -> Job:
        """Queue a job; with mode `sync` wait for its end. Raises NotFound, InvalidSpec, TimedOut, TransportError for a
        dead endpoint, UnknownOutcome for a lost answer."""
        return await jobs_api.run(await self._endpoint_door(EndpointId(spec.endpoint), "run_job"), spec)

    async def get_job(self, endpoint_id: EndpointId, job_id: JobId) -> Job:
        """The job as it is now. Raises NotFound, TransportError."""
        return await jobs_api.get(await self._endpoint_door(endpoint_id, "get_job"), job_id)

    async def cancel_job(self, endpoint_id: EndpointId, job_id: JobId) -> Job:
        """Cancel the job. Raises NotFound, TransportError."""
        return await jobs_api.cancel(await self._endpoint_door(endpoint_id, "cancel_job"), job_id)

    async def stream_job(self, endpoint_id: EndpointId, job_id: JobId) -> AsyncIterator[Any]:
        """The chunks of a job. Should its worker die, the next one's chunks follow from the start."""
        door = await self._endpoint_door(endpoint_id, "stream_job")
        async for chunk in jobs_api.stream(door, job_id):
            yield chunk

    async def endpoint_health(self, endpoint_id: EndpointId) -> EndpointHealth:
        """Counts of jobs and workers. Raises NotFound, TransportError."""
        return await jobs_api.health(await self._endpoint_door(endpoint_id, "endpoint_health"))

    def _endpoint_records(self) -> EndpointRecords:
        return EndpointRecords(self._store, self._root)

    async def _endpoint_door(self, endpoint_id: EndpointId, operation: str) -> jobs_api.Door:
        with speaking(operation):
            record = await finish(self._endpoint_records().serving, endpoint_id)
        return jobs_api.Door(endpoint_id, self.endpoint_url(endpoint_id), record["key"], operation)

    async def _endpoint_observed(self, record: Mapping[str, Any]) -> ObservedEndpoint:
        seen = await finish(self._endpoint_records().look, record)
        birth, owner = owner_of(record)
        spec = EndpointSpec.model_validate(record["spec"])
        return ObservedEndpoint(
            id=record["id"],
            provider="local",
            account=await self.identity(),
            status=seen.status,
            name=spec.name,
            url=self.endpoint_url(EndpointId(record["id"])),
            key=record["key"],
            spec=spec,
            birth=birth,
            owner=owner,
            reason=seen.reason,
            cost_per_hour=0.0,
            created_at=datetime.fromisoformat(record["created_at"]),
            raw=seen.raw,
        )


async def _to_the_end(work: Callable[Concatenate[threading.Event, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work that waits in a thread: a cancellation tells it to give up, and lasts until it has cleared up."""
    given_up = threading.Event()
    task = asyncio.ensure_future(finish(work, given_up, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten
        raise

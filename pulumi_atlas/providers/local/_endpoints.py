"""Endpoints of `local`: one detached supervisor process each, found again by its record, its own note and its birth."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from pulumi_atlas import processes
from pulumi_atlas.errors import AtlasError, NotFound, ProviderFailure
from pulumi_atlas.failpoints import reach
from pulumi_atlas.ids import EndpointId, JobId, Tag
from pulumi_atlas.models import EndpointHealth, EndpointSpec, Job, JobSpec, Listing, ObservedEndpoint
from pulumi_atlas.processes import ProcessIdentity
from pulumi_atlas.providers.contract import Change
from pulumi_atlas.providers.local import _endpoint_process as process
from pulumi_atlas.providers.local import _jobs_api as jobs_api
from pulumi_atlas.providers.local import _ports
from pulumi_atlas.providers.local._endpoint_spec import (
    ENDPOINT_ACCEPTS,
    ENDPOINT_CHANGES,
    check,
    owner_of,
    port_of,
    settings_for,
)
from pulumi_atlas.providers.local._store import Store
from pulumi_atlas.providers.local._waiting import finish, speaking

__all__ = ["LocalEndpoints"]

P = ParamSpec("P")
T = TypeVar("T")

_SETTLE_S = 5.0
_STARTING_S = 30.0


class LocalEndpoints:
    """Endpoints and jobs of `LocalProvider`. Needs `_root`, `_store` and `identity` of the class it is mixed into."""

    _root: Path
    _store: Store

    endpoint_accepts: ClassVar[frozenset[str]] = ENDPOINT_ACCEPTS
    endpoint_changes: ClassVar[Mapping[str, Change]] = ENDPOINT_CHANGES

    async def identity(self) -> str:
        raise NotImplementedError

    @staticmethod
    def endpoint_url(endpoint_id: EndpointId) -> str:
        """``http://127.0.0.1:<port>/v2/<id>``: the port is a part of the id. Raises ValueError on a foreign id."""
        return f"http://127.0.0.1:{port_of(endpoint_id)}/v2/{endpoint_id}"

    # -- endpoints -------------------------------------------------------------------------------------------------

    async def create_endpoint(self, spec: EndpointSpec, tag: Tag) -> ObservedEndpoint:
        """Start a supervisor. Returns once it answers, and with `min` workers once the first is ready or 5 s have passed.

        Raises InvalidSpec when working folder, command or handler are not there, ProviderFailure with the last lines of
        the log when the supervisor or the first worker dies at once; nothing is left behind then.
        """
        with speaking("create_endpoint"):
            check(spec, "create_endpoint")
            return await self._observe(await _to_the_end(self._create, spec, tag))

    async def get_endpoint(self, endpoint_id: EndpointId) -> ObservedEndpoint:
        """The endpoint as it is now: `failed` when its supervisor is dead or its workers cannot start. Raises NotFound."""
        with speaking("get_endpoint"):
            return await self._observe(await finish(self._record, endpoint_id))

    async def list_endpoints(self) -> Listing[ObservedEndpoint]:
        """All endpoints below this provider's folder. Also sweeps up what killed creators have left there."""
        with speaking("list_endpoints"):
            await finish(self._store.sweep, "endpoints")
            records = await finish(self._store.all, "endpoints")
            found = await asyncio.gather(*(self._observe(record) for record in records))
        return Listing(tuple(found), await self.identity())

    async def update_endpoint(self, endpoint_id: EndpointId, spec: EndpointSpec, *, restart: bool) -> ObservedEndpoint:
        """Make `spec` the endpoint's spec. With `restart`, or when it is dead, its supervisor is started anew on the same
        port with the same key; jobs that wait stay queued, those in progress get `stop_grace_s` to end and are queued
        again otherwise. Raises NotFound, InvalidSpec."""
        with speaking("update_endpoint"):
            check(spec, "update_endpoint")
            return await self._observe(await _to_the_end(self._update, endpoint_id, spec, restart))

    async def delete_endpoint(self, endpoint_id: EndpointId) -> None:
        """Cancel its jobs, end all its processes and remove its folder. Raises NotFound; ProviderFailure when a process
        does not end, and then the record stays."""
        with speaking("delete_endpoint"):
            await finish(self._delete, endpoint_id)

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def run_job(self, spec: JobSpec) -> Job:
        """Queue a job; with mode `sync` wait for its end. Raises NotFound, InvalidSpec, TimedOut, TransportError for a
        dead endpoint, UnknownOutcome for a lost answer."""
        return await jobs_api.run(await self._door(EndpointId(spec.endpoint), "run_job"), spec)

    async def get_job(self, endpoint_id: EndpointId, job_id: JobId) -> Job:
        """The job as it is now. Raises NotFound, TransportError."""
        return await jobs_api.get(await self._door(endpoint_id, "get_job"), job_id)

    async def cancel_job(self, endpoint_id: EndpointId, job_id: JobId) -> Job:
        """Cancel the job. Raises NotFound, TransportError."""
        return await jobs_api.cancel(await self._door(endpoint_id, "cancel_job"), job_id)

    async def stream_job(self, endpoint_id: EndpointId, job_id: JobId) -> AsyncIterator[Any]:
        """The chunks of a job. Should its worker die, the next one's chunks follow from the start."""
        door = await self._door(endpoint_id, "stream_job")
        async for chunk in jobs_api.stream(door, job_id):
            yield chunk

    async def endpoint_health(self, endpoint_id: EndpointId) -> EndpointHealth:
        """Counts of jobs and workers. Raises NotFound, TransportError."""
        return await jobs_api.health(await self._door(endpoint_id, "endpoint_health"))

    async def _door(self, endpoint_id: EndpointId, operation: str) -> jobs_api.Door:
        with speaking(operation):
            record = await finish(self._record, endpoint_id)
        return jobs_api.Door(endpoint_id, self.endpoint_url(endpoint_id), record["key"], operation)

    # -- blocking work, on a thread --------------------------------------------------------------------------------

    def _record(self, endpoint_id: EndpointId) -> dict[str, Any]:
        record = self._store.read("endpoints", endpoint_id)
        if record is None:
            raise NotFound(f"there is no endpoint {endpoint_id}", provider="local")
        return record

    def _create(self, given_up: threading.Event, spec: EndpointSpec, tag: Tag) -> dict[str, Any]:
        port = _ports.reserve(self._store, 1)[0]
        endpoint_id = f"ep-{secrets.token_hex(6)}-{port}"
        folder = self._store.folder("endpoints", endpoint_id)
        record: dict[str, Any] = {
            "id": endpoint_id,
            "port": port,
            "key": secrets.token_urlsafe(32),
            "control_key": secrets.token_urlsafe(32),
            "birth": tag.birth,
            "owner": str(tag.owner),
            "spec": spec.model_dump(mode="json"),
            "created_at": datetime.now(UTC).isoformat(),
            "writer": processes.me().as_json(),
            "process": None,
        }
        with self._store.locked("endpoints", endpoint_id):
            try:
                process.check_worker(spec, settings_for(spec, record, folder), "create_endpoint")
                self._store.write("endpoints", endpoint_id, record)
            except BaseException:
                self._store.remove("endpoints", endpoint_id)
                raise
            reach("create.3")
            try:
                return self._start(given_up, spec, record, _SETTLE_S if spec.workers.min else 0.0)
            except BaseException:
                process.end(record, folder, cancel=True, grace_s=1.0)
                self._store.remove("endpoints", endpoint_id)
                raise

    def _start(
        self, given_up: threading.Event, spec: EndpointSpec, record: dict[str, Any], settle_s: float
    ) -> dict[str, Any]:
        """Spawn the supervisor and wait until it answers. Raises ProviderFailure when it, or its first worker, died."""
        folder = self._store.folder("endpoints", record["id"])
        identity = process.start(settings_for(spec, record, folder), folder, self._root)
        reach("create.4")
        record["process"] = identity.as_json()
        self._store.write("endpoints", record["id"], record)
        state = process.await_serving(record, folder, settle_s=settle_s, given_up=given_up)
        if settle_s and state["failures"] and not state["serves"]:
            raise ProviderFailure(
                f"the endpoint's first worker did not start: {state['last_failure']}",
                provider="local",
                hint="run the worker's command by hand in working_dir to see why",
            )
        return record

    def _update(
        self, given_up: threading.Event, endpoint_id: EndpointId, spec: EndpointSpec, restart: bool
    ) -> dict[str, Any]:
        folder = self._store.folder("endpoints", endpoint_id)
        with self._store.locked("endpoints", endpoint_id, timeout_s=90.0):
            record = self._record(endpoint_id)
            settings = settings_for(spec, record, folder)
            process.check_worker(spec, settings, "update_endpoint")
            record["spec"] = spec.model_dump(mode="json")
            self._store.write("endpoints", endpoint_id, record)
            if not restart and process.find(record, folder) is not None:
                settings.save(folder)
                with contextlib.suppress(OSError):
                    process.ask(record, "reload", {})
                    return record
            process.end(record, folder, cancel=False, grace_s=settings.options.stop_grace_s + 3.0)
            return self._start(given_up, spec, record, 0.0)

    def _delete(self, endpoint_id: EndpointId) -> None:
        folder = self._store.folder("endpoints", endpoint_id)
        with self._store.locked("endpoints", endpoint_id, timeout_s=90.0):
            record = self._record(endpoint_id)
            process.end(record, folder, cancel=True, grace_s=4.0)
            self._store.remove("endpoints", endpoint_id)

    # -- observing -------------------------------------------------------------------------------------------------

    async def _observe(self, record: Mapping[str, Any]) -> ObservedEndpoint:
        account = await self.identity()
        status, reason, raw = await asyncio.to_thread(self._look, record)
        birth, owner = owner_of(record)
        spec = EndpointSpec.model_validate(record["spec"])
        return ObservedEndpoint(
            id=record["id"],
            provider="local",
            account=account,
            status=status,
            name=spec.name,
            url=self.endpoint_url(EndpointId(record["id"])),
            key=record["key"],
            spec=spec,
            birth=birth,
            owner=owner,
            reason=reason,
            cost_per_hour=0.0,
            created_at=datetime.fromisoformat(record["created_at"]),
            raw=raw,
        )

    def _look(self, record: Mapping[str, Any]) -> tuple[Any, str, dict[str, Any]]:
        """Status, reason and what is seen of the process."""
        folder = self._store.folder("endpoints", record["id"])
        supervisor = process.find(record, folder)
        raw = {"port": record["port"], "folder": str(folder), "pid": supervisor.pid if supervisor else None}
        if supervisor is None:
            return (*_without_process(record, folder), raw)
        try:
            state = process.ask(record, "state")
        except OSError as error:
            age = (datetime.now(UTC) - datetime.fromisoformat(record["created_at"])).total_seconds()
            if age < _STARTING_S:
                return "starting", "", raw
            return "failed", f"its supervisor runs (pid {supervisor.pid}) but does not answer: {error}", raw
        return state["status"], state["reason"], raw


def _without_process(record: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    if record["process"] is None and ProcessIdentity.from_json(record["writer"]).is_alive():
        return "starting", ""
    if record["process"] is None:
        return "failed", "its creation was interrupted before its supervisor was started"
    words = ""
    with contextlib.suppress(AtlasError):
        words = process.tail(folder / "supervisor.log", lines=1)
    return "failed", "its supervisor has ended" + (f"; its log ends: {words}" if words else "")


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

"""The contract over a mock world. Nothing sleeps but the waits that the contract itself asks for."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pulumi_atlas.access import Access
from pulumi_atlas.errors import Failure, ProviderFailure, TimedOut
from pulumi_atlas.ids import EndpointId, JobId, PodId, Tag, VolumeId
from pulumi_atlas.models import (
    FINAL_JOB_STATUSES,
    Compute,
    ComputeFilter,
    ComputeSpec,
    EndpointHealth,
    EndpointSpec,
    GpuOffer,
    Job,
    JobSpec,
    Listing,
    ObservedEndpoint,
    ObservedVolume,
    OnExit,
    Port,
    VolumeSpec,
)
from pulumi_atlas.providers.contract import Change, ThingKind
from pulumi_atlas.providers.mock import _catalog, _endpoints, _jobs, _pods, _retag, _volumes
from pulumi_atlas.providers.mock._calls import Act, Caller, shown
from pulumi_atlas.providers.mock._state import PROVIDER, State
from pulumi_atlas.providers.mock._world import World

__all__ = ["MockProvider"]

_ID = re.compile(r"mock-[A-Za-z0-9]+-([a-z])\d+")
_POLL_S = 0.01


class MockProvider:
    """A cloud that does not exist: for unit tests, and for trying programs without an account.

    Its world is in this process, or in the file that ATLAS_MOCK_FILE (or the setting `file`) names. `World` is the
    way to reach behind it. ATLAS_MOCK_PROVISION_S (or the setting `provision_s`): seconds until a new pod runs.
    """

    name: ClassVar[str] = PROVIDER
    accepts: ClassVar[frozenset[str]] = frozenset(ComputeSpec.model_fields) - {"template_id"}
    endpoint_accepts: ClassVar[frozenset[str]] = frozenset(EndpointSpec.model_fields)
    reasons: ClassVar[Mapping[str, str]] = {
        "registry_credentials": "the mock cloud pulls no images, so it keeps no credentials for them",
        "template_id": "the mock cloud keeps no templates",
        "templates": "the mock cloud keeps no templates",
    }
    listing_lag_s: ClassVar[float] = 0.0
    key_variable: ClassVar[str | None] = None

    compute_changes: ClassVar[Mapping[str, Change]] = {
        "command": "restart",
        "env": "restart",
        "image": "restart",
        "max_lifetime_s": "in_place",
        "name": "in_place",
        "on_exit": "in_place",
        "ports": "restart",
        "provider_options": "restart",
        "working_dir": "restart",
    }
    volume_changes: ClassVar[Mapping[str, Change]] = {"name": "in_place", "size_gb": "in_place"}
    endpoint_changes: ClassVar[Mapping[str, Change]] = {
        "command": "restart",
        "env": "restart",
        "execution_timeout_s": "in_place",
        "handler": "restart",
        "image": "restart",
        "max_retries": "in_place",
        "name": "in_place",
        "queue_ttl_s": "in_place",
        "workers": "in_place",
        "working_dir": "restart",
    }
    on_exit_choices: ClassVar[frozenset[OnExit]] = frozenset({"keep", "stop", "terminate", "restart"})
    enforces_max_lifetime: ClassVar[Literal[True]] = True
    offers_spot: ClassVar[Literal[True]] = True

    def __init__(self, access: Access, *, world: World | None = None) -> None:
        self._calls = Caller(access, world)

    @property
    def world(self) -> World:
        """The world that this provider works on."""
        return self._calls.world

    @staticmethod
    def check_spec(spec: ComputeSpec | VolumeSpec | EndpointSpec) -> Iterable[Failure]:
        """Options that the mock cloud does not have."""
        if isinstance(spec, ComputeSpec):
            return _pods.option_failures(spec.provider_options)
        return [Failure(f"provider_options.{name}", "mock has no such option") for name in spec.provider_options]

    async def identity(self) -> str:
        return self._calls.read("identity", {}, lambda state, now, account: account)

    async def aclose(self) -> None:
        return None

    async def retag(self, kind: ThingKind, ident: str, tag: Tag) -> None:
        def act(state: State, now: float, account: str) -> None:
            _retag.retag(state, now, kind, ident, account, tag)

        self._calls.write("retag", {"kind": kind, "id": ident, "birth": tag.birth, "owner": str(tag.owner)}, act)

    # --- compute -------------------------------------------------------------------------------------------------

    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        def act(state: State, now: float, account: str) -> Compute:
            ident, row = _pods.create(state, now, spec, tag, account, self._calls.provision_s(state))
            return _pods.observe(state, ident, row, now)

        return self._calls.write(
            "create_compute", {"spec": shown(spec), "birth": tag.birth, "owner": str(tag.owner)}, act
        )

    async def get_compute(self, pod_id: PodId) -> Compute:
        def act(state: State, now: float, account: str) -> Compute:
            return _pods.observe(state, pod_id, _pods.alive(state, pod_id, account, now), now)

        return self._calls.read("get_compute", {"pod_id": pod_id}, act)

    async def list_compute(self, filters: ComputeFilter) -> Listing[Compute]:
        def act(state: State, now: float, account: str) -> Listing[Compute]:
            pods = _pods.listed(state, account, filters, now)
            return Listing(pods, account, complete=state.settings.listing_complete)

        return self._calls.read("list_compute", {"filters": filters.model_dump(exclude_none=True)}, act)

    async def terminate(self, pod_id: PodId) -> None:
        self._calls.write(
            "terminate", {"pod_id": pod_id}, lambda s, now, account: _pods.terminate(s, now, pod_id, account)
        )

    async def stop(self, pod_id: PodId) -> None:
        self._calls.write("stop", {"pod_id": pod_id}, lambda s, now, account: _pods.stop(s, now, pod_id, account))

    async def start(self, pod_id: PodId) -> None:
        def act(state: State, now: float, account: str) -> None:
            _pods.start(state, now, pod_id, account, self._calls.provision_s(state))

        self._calls.write("start", {"pod_id": pod_id}, act)

    async def update_compute(self, pod_id: PodId, spec: ComputeSpec, *, restart: bool) -> Compute:
        def act(state: State, now: float, account: str) -> Compute:
            provision_s = self._calls.provision_s(state)
            row = _pods.update(state, now, pod_id, account, spec, restart=restart, provision_s=provision_s)
            return _pods.observe(state, pod_id, row, now)

        return self._calls.write("update_compute", {"pod_id": pod_id, "spec": shown(spec), "restart": restart}, act)

    async def logs(self, pod_id: PodId, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[str]:
        def act(state: State, now: float, account: str) -> tuple[list[str], bool]:
            row = _pods.alive(state, pod_id, account, now)
            ended = _pods.phase(row, now).status not in ("provisioning", "running")
            return state.row("logs", pod_id, account)["lines"], ended

        lines, ended = self._calls.read("logs", {"pod_id": pod_id, "follow": follow, "tail": tail}, act)
        shown = len(lines)
        for line in lines if tail is None else lines[max(shown - tail, 0) :]:
            yield line
        while follow and not ended:
            await asyncio.sleep(_POLL_S)
            lines, ended = self._calls.plain(act)
            for line in lines[shown:]:
                yield line
            shown = len(lines)

    @staticmethod
    def pod_urls(pod_id: PodId, ports: Sequence[Port]) -> dict[str, str]:
        return _pods.urls(_own(pod_id, "p"), ports)

    # --- volumes -------------------------------------------------------------------------------------------------

    async def create_volume(self, spec: VolumeSpec, tag: Tag) -> ObservedVolume:
        def act(state: State, now: float, account: str) -> ObservedVolume:
            ident, row = _volumes.create(state, now, spec, tag, account)
            return _volumes.observe(state, ident, row, now)

        return self._calls.write(
            "create_volume", {"spec": shown(spec), "birth": tag.birth, "owner": str(tag.owner)}, act
        )

    async def get_volume(self, volume_id: VolumeId) -> ObservedVolume:
        def act(state: State, now: float, account: str) -> ObservedVolume:
            return _volumes.observe(state, volume_id, state.row("volumes", volume_id, account), now)

        return self._calls.read("get_volume", {"volume_id": volume_id}, act)

    async def list_volumes(self) -> Listing[ObservedVolume]:
        def act(state: State, now: float, account: str) -> Listing[ObservedVolume]:
            rows = [(i, row) for i, row in state.rows("volumes", account) if i not in state.settings.hidden]
            shown = tuple(_volumes.observe(state, i, row, now) for i, row in rows)
            return Listing(shown, account, complete=state.settings.listing_complete)

        return self._calls.read("list_volumes", {}, act)

    async def update_volume(self, volume_id: VolumeId, spec: VolumeSpec) -> ObservedVolume:
        def act(state: State, now: float, account: str) -> ObservedVolume:
            return _volumes.observe(state, volume_id, _volumes.update(state, volume_id, account, spec), now)

        return self._calls.write("update_volume", {"volume_id": volume_id, "spec": shown(spec)}, act)

    async def delete_volume(self, volume_id: VolumeId) -> None:
        def act(state: State, now: float, account: str) -> None:
            _volumes.delete(state, now, volume_id, account)

        self._calls.write("delete_volume", {"volume_id": volume_id}, act)

    # --- endpoints -----------------------------------------------------------------------------------------------

    async def create_endpoint(self, spec: EndpointSpec, tag: Tag) -> ObservedEndpoint:
        def act(state: State, now: float, account: str) -> ObservedEndpoint:
            ident, row = _endpoints.create(state, now, spec, tag, account, self._calls.provision_s(state))
            return _endpoints.observe(state, ident, row, now)

        return self._calls.write(
            "create_endpoint", {"spec": shown(spec), "birth": tag.birth, "owner": str(tag.owner)}, act
        )

    async def get_endpoint(self, endpoint_id: EndpointId) -> ObservedEndpoint:
        def act(state: State, now: float, account: str) -> ObservedEndpoint:
            return _endpoints.observe(state, endpoint_id, state.row("endpoints", endpoint_id, account), now)

        return self._calls.read("get_endpoint", {"endpoint_id": endpoint_id}, act)

    async def list_endpoints(self) -> Listing[ObservedEndpoint]:
        def act(state: State, now: float, account: str) -> Listing[ObservedEndpoint]:
            rows = [(i, row) for i, row in state.rows("endpoints", account) if i not in state.settings.hidden]
            shown = tuple(_endpoints.observe(state, i, row, now) for i, row in rows)
            return Listing(shown, account, complete=state.settings.listing_complete)

        return self._calls.read("list_endpoints", {}, act)

    async def update_endpoint(self, endpoint_id: EndpointId, spec: EndpointSpec, *, restart: bool) -> ObservedEndpoint:
        def act(state: State, now: float, account: str) -> ObservedEndpoint:
            provision_s = self._calls.provision_s(state)
            row = _endpoints.update(state, now, endpoint_id, account, spec, restart=restart, provision_s=provision_s)
            return _endpoints.observe(state, endpoint_id, row, now)

        arguments = {"endpoint_id": endpoint_id, "spec": shown(spec), "restart": restart}
        return self._calls.write("update_endpoint", arguments, act)

    async def delete_endpoint(self, endpoint_id: EndpointId) -> None:
        def act(state: State, now: float, account: str) -> None:
            _endpoints.delete(state, now, endpoint_id, account)

        self._calls.write("delete_endpoint", {"endpoint_id": endpoint_id}, act)

    @staticmethod
    def endpoint_url(endpoint_id: EndpointId) -> str:
        return _endpoints.url(_own(endpoint_id, "e"))

    # --- jobs ----------------------------------------------------------------------------------------------------

    async def run_job(self, spec: JobSpec) -> Job:
        def act(state: State, now: float, account: str) -> Job:
            return _jobs.observe(*_jobs.create(state, now, spec, account))

        arguments = {"endpoint": spec.endpoint, "input": spec.input, "mode": spec.mode}
        job = self._calls.write("run_job", arguments, act)
        if spec.mode != "sync":
            return job
        deadline = time.monotonic() + spec.timeout_s
        step = self._job_step(EndpointId(spec.endpoint), JobId(job.id))
        while not job.is_final:
            job, _ = self._calls.plain(step, writes=True)
            if not job.is_final and time.monotonic() >= deadline:
                raise TimedOut(
                    f"job {job.id} has not ended within {spec.timeout_s:g} s; it runs on",
                    provider=PROVIDER,
                    operation="run_job",
                    hint="ask for it later with get_job",
                )
            await asyncio.sleep(0 if self._jobs_advance() else _POLL_S)
        return job

    async def get_job(self, endpoint_id: EndpointId, job_id: JobId) -> Job:
        arguments = {"endpoint_id": endpoint_id, "job_id": job_id}
        return self._calls.write("get_job", arguments, self._job_step(endpoint_id, job_id))[0]

    async def cancel_job(self, endpoint_id: EndpointId, job_id: JobId) -> Job:
        def act(state: State, now: float, account: str) -> Job:
            row = _jobs.look(state, now, endpoint_id, job_id, account)
            return _jobs.observe(job_id, _jobs.cancel(state, now, job_id, row))

        return self._calls.write("cancel_job", {"endpoint_id": endpoint_id, "job_id": job_id}, act)

    async def stream_job(self, endpoint_id: EndpointId, job_id: JobId) -> AsyncIterator[Any]:
        step, shown = self._job_step(endpoint_id, job_id), 0
        job, chunks = self._calls.write("stream_job", {"endpoint_id": endpoint_id, "job_id": job_id}, step)
        while True:
            for chunk in chunks[shown:]:
                yield chunk
            shown = len(chunks)
            if job.is_final:
                break
            await asyncio.sleep(0 if self._jobs_advance() else _POLL_S)
            job, chunks = self._calls.plain(step, writes=True)
        if job.status != "completed":
            why = f": {job.error}" if job.error else ""
            raise ProviderFailure(
                f"job {job_id} is {job.status}{why}",
                provider=PROVIDER,
                operation="stream_job",
                hint="get_job tells what became of it",
            )

    async def endpoint_health(self, endpoint_id: EndpointId) -> EndpointHealth:
        def act(state: State, now: float, account: str) -> EndpointHealth:
            return _endpoints.health(state, now, endpoint_id, account)

        return self._calls.read("endpoint_health", {"endpoint_id": endpoint_id}, act)

    # --- offers --------------------------------------------------------------------------------------------------

    async def list_offers(self) -> Sequence[GpuOffer]:
        return self._calls.read("list_offers", {}, lambda state, now, account: _catalog.offers(state))

    def _job_step(self, endpoint_id: EndpointId, job_id: JobId) -> Act[tuple[Job, list[Any]]]:
        def act(state: State, now: float, account: str) -> tuple[Job, list[Any]]:
            row = _jobs.look(state, now, endpoint_id, job_id, account)
            if row["status"] not in FINAL_JOB_STATUSES:
                row = _jobs.advance(state, now, job_id, row)
            return _jobs.observe(job_id, row), row["chunks"]

        return act

    def _jobs_advance(self) -> bool:
        return self.world.store.read(lambda state, now: state.settings.jobs_advance)


def _own(ident: str, letter: str) -> str:
    found = _ID.fullmatch(ident)
    if not found or found[1] != letter:
        raise ValueError(f"not an id of the mock cloud: {ident!r}")
    return ident

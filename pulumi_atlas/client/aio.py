"""The asynchronous face."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pulumi_atlas.client.core import Core, Say
from pulumi_atlas.client.issue import issue
from pulumi_atlas.client.kinds import require
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.client.stop import Stop
from pulumi_atlas.client.validation import check_pod, parse_for
from pulumi_atlas.errors import Failure, InvalidSpec
from pulumi_atlas.ids import EndpointId, JobId, Owner, PodId, Tag, VolumeId, new_birth
from pulumi_atlas.models import (
    Auth,
    Compute,
    ComputeFilter,
    ComputeSpec,
    EndpointHealth,
    EndpointSpec,
    GpuOffer,
    IssuedAccess,
    Job,
    JobSpec,
    Listing,
    ObservedEndpoint,
    ObservedVolume,
    PodArgs,
    Ready,
    Things,
    VolumeSpec,
)
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import abilities
from pulumi_atlas.rules import validation

__all__ = ["AsyncAtlas"]

T = TypeVar("T")


class AsyncAtlas:
    """The verbs over all providers.

    `provider`, `account` (a profile of atlas.yaml) and `api_key` are defaults for every call. What it creates is owned
    by `owner` (default: *manual*, this machine's user), so that no stack and no reaper ever takes it for its own.
    `stop` ends its waits from outside; `say` gets one line for each change of status that is waited for.
    Every verb raises `AtlasError`; unknown options raise `InvalidSpec` with the nearest known one.
    """

    def __init__(
        self,
        provider: str | None = None,
        *,
        account: str | None = None,
        api_key: str | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        owner: Owner | None = None,
        stop: Stop | None = None,
        say: Say | None = None,
        core: Core | None = None,
    ) -> None:
        self._core = core or Core(environ=environ, cwd=cwd, stop=stop, say=say)
        self._provider, self._account, self._api_key = provider, account, api_key
        self._owner = owner or Owner("manual", getpass.getuser())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._core.aclose()

    # ---- compute

    async def spawn_compute(
        self,
        /,
        spec: ComputeSpec | None = None,
        *,
        provider: str | None = None,
        account: str | None = None,
        api_key: str | None = None,
        wait: bool | Ready = False,
        timeout_s: float = 600.0,
        auth: Auth | None = None,
        **fields: Any,
    ) -> Compute:
        """Rent a pod, by a ready-made spec or by the spec's fields. Returns at once, or when usable with `wait`.

        With `wait`, a pod that does not become usable within `timeout_s` seconds is removed again, and the error holds
        the last lines of its log.

        With `auth`, the pod is told what verifies its visitors, and the answer's `auth` holds the token (and the key that
        signs URLs). It is there once: nothing stores it, and `get_compute` cannot tell it again.
        """
        opened = self._open(provider, account, api_key)
        wanted, issued = _guarded(_spec(ComputeSpec, spec, fields, opened), auth, opened)
        ready, tag = wait if isinstance(wait, Ready) else None, self._tag()
        work = self._core.create_pod(opened, wanted, tag, ready=ready, timeout_s=timeout_s, wait=bool(wait))
        pod = self._closing(tag, await work)
        return pod if issued is None else pod.model_copy(update={"auth": issued})

    async def get_compute(
        self, pod_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> Compute:
        """The pod as it is now. Raises NotFound."""
        pod: Compute = await self._open(provider, account, api_key).provider.get_compute(PodId(pod_id))
        return pod

    async def list_compute(
        self, /, *, provider: str | None = None, account: str | None = None, api_key: str | None = None, **filters: Any
    ) -> Things[Compute]:
        """Pods of the account. Filters: `status`, `name`, `region`, `gpu`, each compared exactly.

        `.complete` of the answer is False when a part of the account did not answer.
        """
        opened = self._open(provider, account, api_key)
        wanted = validation.parse(ComputeFilter, filters)
        return _things(await opened.provider.list_compute(wanted))

    async def stop(
        self, pod_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> None:
        """Pause the pod; its storage is kept. Raises Unsupported, NotFound."""
        opened = self._able("stop", "stop", provider, account, api_key)
        await opened.provider.stop(PodId(pod_id))
        opened.wrote()

    async def start(
        self, pod_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> None:
        """Resume the pod. Raises Unsupported, NotFound, NoCapacity, Conflict."""
        opened = self._able("stop", "start", provider, account, api_key)
        await opened.provider.start(PodId(pod_id))
        opened.wrote()

    async def terminate(
        self, pod_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> None:
        """Destroy the pod and its own storage; returns when the provider has confirmed. Raises NotFound."""
        opened = self._open(provider, account, api_key)
        await opened.provider.terminate(PodId(pod_id))
        opened.wrote()

    async def logs(
        self,
        pod_id: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        provider: str | None = None,
        account: str | None = None,
        api_key: str | None = None,
    ) -> AsyncIterator[str]:
        """Lines of the pod's output, the last `tail` ones; with `follow` until the command has ended."""
        opened = self._able("logs", "logs", provider, account, api_key)
        async for line in self._core.logs(opened, pod_id, follow=follow, tail=tail):
            yield line

    # ---- jobs

    async def run_job(
        self,
        /,
        spec: JobSpec | None = None,
        *,
        provider: str | None = None,
        account: str | None = None,
        api_key: str | None = None,
        **fields: Any,
    ) -> Job:
        """Queue a job, by a ready-made spec or by its fields (`endpoint`, `input`, `mode`, `timeout_s` …)."""
        opened = self._able("jobs", "run_job", provider, account, api_key)
        wanted = spec if spec is not None and not fields else validation.parse(JobSpec, _merged(JobSpec, spec, fields))
        job: Job = await opened.provider.run_job(wanted)
        return job

    async def get_job(
        self,
        job_id: str,
        *,
        endpoint: str,
        provider: str | None = None,
        account: str | None = None,
        api_key: str | None = None,
    ) -> Job:
        """The job as it is now. Raises NotFound."""
        opened = self._able("jobs", "get_job", provider, account, api_key)
        job: Job = await opened.provider.get_job(EndpointId(endpoint), JobId(job_id))
        return job

    async def cancel_job(
        self,
        job_id: str,
        *,
        endpoint: str,
        provider: str | None = None,
        account: str | None = None,
        api_key: str | None = None,
    ) -> Job:
        """Cancel the job; one that has ended stays as it is."""
        opened = self._able("jobs", "cancel_job", provider, account, api_key)
        job: Job = await opened.provider.cancel_job(EndpointId(endpoint), JobId(job_id))
        return job

    async def stream_job(
        self,
        job_id: str,
        *,
        endpoint: str,
        provider: str | None = None,
        account: str | None = None,
        api_key: str | None = None,
    ) -> AsyncIterator[Any]:
        """Each chunk as it comes. Raises ProviderFailure when the job did not complete, after the chunks before that."""
        opened = self._able("jobs", "stream_job", provider, account, api_key)
        async for chunk in opened.provider.stream_job(EndpointId(endpoint), JobId(job_id)):
            yield chunk

    async def endpoint_health(
        self, endpoint_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> EndpointHealth:
        """Counts of jobs and workers by state."""
        opened = self._able("jobs", "endpoint_health", provider, account, api_key)
        health: EndpointHealth = await opened.provider.endpoint_health(EndpointId(endpoint_id))
        return health

    # ---- offers and abilities

    async def list_gpu_types(
        self, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> list[GpuOffer]:
        """The kinds of GPU that the provider rents out, with price and stock."""
        opened = self._able("offers", "list_gpu_types", provider, account, api_key)
        return list(await opened.provider.list_offers())

    def capabilities(self, provider: str | None = None) -> tuple[str, ...]:
        """The provider's optional abilities, derived from its class; sends nothing."""
        return abilities(registry.load(self._core.choose(provider or self._provider)))

    # ---- volumes

    async def create_volume(
        self,
        /,
        spec: VolumeSpec | None = None,
        *,
        provider: str | None = None,
        account: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 300.0,
        **fields: Any,
    ) -> ObservedVolume:
        """Make a volume, by a ready-made spec or by its fields (`name`, `size_gb`, `region`)."""
        opened = self._able("volumes", "create_volume", provider, account, api_key)
        wanted = _spec(VolumeSpec, spec, fields, opened)
        tag = self._tag()
        return self._closing(tag, await self._core.create_volume(opened, wanted, tag, timeout_s=timeout_s))

    async def get_volume(
        self, volume_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> ObservedVolume:
        """The volume as it is now. Raises NotFound."""
        opened = self._able("volumes", "get_volume", provider, account, api_key)
        volume: ObservedVolume = await opened.provider.get_volume(VolumeId(volume_id))
        return volume

    async def list_volumes(
        self, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> Things[ObservedVolume]:
        """All volumes of the account. `.complete` is False when a part of it did not answer."""
        opened = self._able("volumes", "list_volumes", provider, account, api_key)
        return _things(await opened.provider.list_volumes())

    async def delete_volume(
        self, volume_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> None:
        """Delete the volume with what it holds. Raises NotFound, and Conflict while a pod mounts it."""
        opened = self._able("volumes", "delete_volume", provider, account, api_key)
        await opened.provider.delete_volume(VolumeId(volume_id))
        opened.wrote()

    # ---- endpoints

    async def create_endpoint(
        self,
        /,
        spec: EndpointSpec | None = None,
        *,
        provider: str | None = None,
        account: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 300.0,
        **fields: Any,
    ) -> ObservedEndpoint:
        """Make an endpoint, by a ready-made spec or by its fields (`handler`, `command`, `workers` …)."""
        opened = self._able("endpoints", "create_endpoint", provider, account, api_key)
        wanted = _spec(EndpointSpec, spec, fields, opened)
        tag = self._tag()
        return self._closing(tag, await self._core.create_endpoint(opened, wanted, tag, timeout_s=timeout_s))

    async def get_endpoint(
        self, endpoint_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> ObservedEndpoint:
        """The endpoint as it is now. Raises NotFound."""
        opened = self._able("endpoints", "get_endpoint", provider, account, api_key)
        endpoint: ObservedEndpoint = await opened.provider.get_endpoint(EndpointId(endpoint_id))
        return endpoint

    async def list_endpoints(
        self, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> Things[ObservedEndpoint]:
        """All endpoints of the account. `.complete` is False when a part of it did not answer."""
        opened = self._able("endpoints", "list_endpoints", provider, account, api_key)
        return _things(await opened.provider.list_endpoints())

    async def delete_endpoint(
        self, endpoint_id: str, *, provider: str | None = None, account: str | None = None, api_key: str | None = None
    ) -> None:
        """Delete the endpoint with its workers; unfinished jobs are cancelled. Raises NotFound."""
        opened = self._able("endpoints", "delete_endpoint", provider, account, api_key)
        await opened.provider.delete_endpoint(EndpointId(endpoint_id))
        opened.wrote()

    # ---- shared

    def _open(self, provider: str | None, account: str | None, api_key: str | None) -> Opened:
        return self._core.open(provider or self._provider, account or self._account, api_key or self._api_key)

    def _able(
        self, ability: str, operation: str, provider: str | None, account: str | None, api_key: str | None
    ) -> Opened:
        opened = self._open(provider, account, api_key)
        require(opened.provider, ability, operation=operation)
        return opened

    def _tag(self) -> Tag:
        return Tag(new_birth(), self._owner)

    def _closing(self, tag: Tag, thing: T) -> T:
        self._core.book.close(tag.birth)  # the caller has it in hand now
        return thing


def _things(listing: Listing[T]) -> Things[T]:
    return Things(listing.items, complete=listing.complete)


def _merged(model: type[Any], spec: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    if spec is None:
        return dict(fields)
    if not isinstance(spec, model):
        hint = f"pass a {model.__name__}, or its fields by name"
        raise InvalidSpec([Failure("spec", f"is a {type(spec).__name__}", hint)])
    return {**{name: getattr(spec, name) for name in spec.model_fields_set}, **fields}


def _guarded(spec: ComputeSpec, auth: Auth | None, opened: Opened) -> tuple[ComputeSpec, IssuedAccess | None]:
    """The spec with what verifies visitors, and what they are let in with. Raises InvalidSpec."""
    if auth is None:
        return spec, None
    found = check_pod(PodArgs, {**spec.model_dump(mode="json"), "provider": opened.provider.name, "auth": auth})
    if found:
        raise InvalidSpec(found, provider=opened.provider.name)
    issued = issue(auth)
    return spec.model_copy(update={"env": {**spec.env, **issued.environment()}}), issued


def _spec(model: type[Any], spec: Any, fields: Mapping[str, Any], opened: Opened) -> Any:
    merged = _merged(model, spec, fields)
    plain = {k: v.model_dump(mode="json") if hasattr(v, "model_dump") else v for k, v in merged.items()}
    return parse_for(model, plain, opened.provider.name)

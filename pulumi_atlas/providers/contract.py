"""What a provider must do, and what it may do. The docstrings are the semantics; the conformance kit tests them.

A provider is an async class made from an `Access`. Required is `Provider`; every other protocol is an optional ability
that is *derived* from the class (`abilities`), so that no list of abilities is written twice. Rules for all methods:

- Errors are those of `pulumi_atlas.errors` and nothing else. `TransportError` never means "gone".
- A write whose answer is lost raises `UnknownOutcome`; the provider itself never repeats a create.
- Every observed value carries the identity of the account it was seen in, and `raw` without secrets.
- Each created thing carries its `Tag` (birth and owner) where later listings show it.
- A method may be called from one event loop only; several processes may use one account at the same time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pulumi_atlas.access import Access
from pulumi_atlas.errors import Failure
from pulumi_atlas.ids import EndpointId, JobId, PodId, Tag, VolumeId
from pulumi_atlas.models import (
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

__all__ = [
    "ABILITIES",
    "Access",
    "Change",
    "Provider",
    "SupportsEndpoints",
    "SupportsJobs",
    "SupportsLogs",
    "SupportsOffers",
    "SupportsOnExit",
    "SupportsProviderTtl",
    "SupportsReach",
    "SupportsRegistryCredentials",
    "SupportsRetag",
    "SupportsSpecCheck",
    "SupportsSpot",
    "SupportsStableUrls",
    "SupportsStop",
    "SupportsTemplates",
    "SupportsUpdate",
    "SupportsVolumes",
    "ThingKind",
    "abilities",
]

#: What a changed property asks for: nothing more than telling the provider, a restart of the pod, or a new thing.
Change = Literal["in_place", "restart", "replace"]

#: What can be rented.
ThingKind = Literal["pod", "volume", "endpoint"]


@runtime_checkable
class Provider(Protocol):
    """The required part.

    `name`: the provider's name. `accepts`: the fields of `ComputeSpec` that it honours; any other field that differs
    from its default is refused before a request. `endpoint_accepts`: the same for `EndpointSpec`. `reasons`: for a
    refused field or ability, a sentence that tells the user why. `listing_lag_s`: seconds after a create or delete
    during which a listing may still be wrong. `key_variable`: environment variable of the key, None when none is needed.
    """

    name: ClassVar[str]
    accepts: ClassVar[frozenset[str]]
    endpoint_accepts: ClassVar[frozenset[str]]
    reasons: ClassVar[Mapping[str, str]]
    listing_lag_s: ClassVar[float]
    key_variable: ClassVar[str | None]

    def __init__(self, access: Access) -> None:
        """Opens nothing and sends nothing."""

    async def identity(self) -> str:
        """The identity of the account that this access reaches; equal for equal accounts, and never holds a key."""
        ...

    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        """Rent one pod. Returns as soon as the provider has given an id, usually `provisioning`. Not idempotent.

        Raises NoCapacity, InsufficientFunds, InvalidSpec, or UnknownOutcome when the answer was lost. When any other
        error is raised, nothing was rented.
        """
        ...

    async def get_compute(self, pod_id: PodId) -> Compute:
        """The pod as it is now. Raises NotFound when it is not there (terminated pods may be shown, or not be there)."""
        ...

    async def list_compute(self, filters: ComputeFilter) -> Listing[Compute]:
        """All pods of the account that match, those of other owners too. `complete` is False when a part did not answer."""
        ...

    async def terminate(self, pod_id: PodId) -> None:
        """Destroy the pod and its own storage (volumes stay). Returns when the provider has confirmed.

        Raises NotFound when there is no such pod: the caller decides whether that is success. Safe to repeat.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. The provider is not used afterwards. Safe to repeat."""
        ...


@runtime_checkable
class SupportsSpecCheck(Protocol):
    """The provider can say what is wrong with a spec before anything is sent: its own options, names it keeps for itself."""

    @staticmethod
    def check_spec(spec: ComputeSpec | VolumeSpec | EndpointSpec) -> Iterable[Failure]:
        """Everything that is wrong with the values of a spec. Pure: it looks at no machine and sends nothing."""
        ...


@runtime_checkable
class SupportsStop(Protocol):
    """Pods can be stopped with their storage kept, and started again under the same id."""

    async def stop(self, pod_id: PodId) -> None:
        """Stop the pod; storage is kept. Returns when it has stopped. Stopping what is stopped is done. Raises NotFound."""
        ...

    async def start(self, pod_id: PodId) -> None:
        """Start a stopped, finished or failed pod; starting what runs is done. Raises NotFound, NoCapacity, Conflict."""
        ...


@runtime_checkable
class SupportsReach(Protocol):
    """This machine can connect to the URLs of a pod's ports, so that readiness can be probed.

    `settle_s`: seconds that a pod without ports must run before it counts as usable, so that a command that fails at
    once is reported by the create. Without this ability, a pod is usable as soon as the provider says that it runs.
    """

    settle_s: ClassVar[float]


@runtime_checkable
class SupportsUpdate(Protocol):
    """A pod's spec can be changed without renting another one.

    `compute_changes`: what a change of each spec field asks for; a field that is not in the table asks for `replace`.
    """

    compute_changes: ClassVar[Mapping[str, Change]]

    async def update_compute(self, pod_id: PodId, spec: ComputeSpec, *, restart: bool) -> Compute:
        """Make `spec` the pod's spec. With `restart`, a pod that runs is restarted with it. Raises NotFound, Conflict."""
        ...


@runtime_checkable
class SupportsRetag(Protocol):
    """The owner that a thing carries can be changed, so that it can be taken into a stack and given up again."""

    async def retag(self, kind: ThingKind, ident: str, tag: Tag) -> None:
        """Let the thing carry `tag.owner`; nothing else of it changes, and what runs is not restarted. Safe to repeat.

        A birth is for life: a thing that has none gets the tag's, and one that has another one is refused (Conflict).
        Raises NotFound, and UnknownOutcome when the answer was lost.
        """
        ...


@runtime_checkable
class SupportsOnExit(Protocol):
    """The provider enforces what happens when a pod's command ends by itself. `keep` is always possible."""

    on_exit_choices: ClassVar[frozenset[OnExit]]


@runtime_checkable
class SupportsProviderTtl(Protocol):
    """The provider itself ends a pod after `max_lifetime_s` seconds of running, even when nobody of ours is alive."""

    enforces_max_lifetime: ClassVar[Literal[True]]


@runtime_checkable
class SupportsStableUrls(Protocol):
    """URLs follow from ids alone, so that they are known before a request and do not change with an update."""

    @staticmethod
    def pod_urls(pod_id: PodId, ports: Sequence[Port]) -> dict[str, str]:
        """URLs by port number for the pod's asked ports, in the order asked. Pure. Raises ValueError on a foreign id."""
        ...

    @staticmethod
    def endpoint_url(endpoint_id: EndpointId) -> str:
        """The base URL of the endpoint's job API. Pure. Raises ValueError on a foreign id."""
        ...


@runtime_checkable
class SupportsVolumes(Protocol):
    """Storage that outlives pods.

    `volume_changes`: as `SupportsUpdate.compute_changes`, for `VolumeSpec`. Shrinking is always refused.
    """

    volume_changes: ClassVar[Mapping[str, Change]]

    async def create_volume(self, spec: VolumeSpec, tag: Tag) -> ObservedVolume:
        """Make a volume. Errors as `create_compute`."""
        ...

    async def get_volume(self, volume_id: VolumeId) -> ObservedVolume:
        """The volume as it is now. Raises NotFound."""
        ...

    async def list_volumes(self) -> Listing[ObservedVolume]:
        """All volumes of the account."""
        ...

    async def update_volume(self, volume_id: VolumeId, spec: VolumeSpec) -> ObservedVolume:
        """Make `spec` the volume's spec. Raises NotFound, and InvalidSpec on shrinking."""
        ...

    async def delete_volume(self, volume_id: VolumeId) -> None:
        """Delete it with what it holds. Raises NotFound; Conflict, naming the pods, while a pod that is not gone mounts it."""
        ...


@runtime_checkable
class SupportsEndpoints(Protocol):
    """Serverless endpoints. `endpoint_changes`: as `SupportsUpdate.compute_changes`, for `EndpointSpec`."""

    endpoint_changes: ClassVar[Mapping[str, Change]]

    async def create_endpoint(self, spec: EndpointSpec, tag: Tag) -> ObservedEndpoint:
        """Make an endpoint. Returns once jobs can be queued (workers may still be starting). Errors as `create_compute`."""
        ...

    async def get_endpoint(self, endpoint_id: EndpointId) -> ObservedEndpoint:
        """The endpoint as it is now. Raises NotFound."""
        ...

    async def list_endpoints(self) -> Listing[ObservedEndpoint]:
        """All endpoints of the account."""
        ...

    async def update_endpoint(self, endpoint_id: EndpointId, spec: EndpointSpec, *, restart: bool) -> ObservedEndpoint:
        """Make `spec` the endpoint's spec; with `restart`, or when it is not serving, its workers are started anew.

        Jobs that wait stay queued. Raises NotFound.
        """
        ...

    async def delete_endpoint(self, endpoint_id: EndpointId) -> None:
        """Delete it with its workers; unfinished jobs are cancelled. Raises NotFound. Returns when confirmed."""
        ...


@runtime_checkable
class SupportsJobs(Protocol):
    """Jobs through an endpoint."""

    async def run_job(self, spec: JobSpec) -> Job:
        """Queue a job. With mode `sync`, wait for its end up to `timeout_s`, then raise TimedOut with the job's id in the
        message; the job runs on. Never repeated after a lost answer (UnknownOutcome)."""
        ...

    async def get_job(self, endpoint_id: EndpointId, job_id: JobId) -> Job:
        """The job as it is now. Raises NotFound for an unknown or expired one. A failed job is a value, not an error."""
        ...

    async def cancel_job(self, endpoint_id: EndpointId, job_id: JobId) -> Job:
        """Cancel it; a job that has ended stays as it is. Raises NotFound."""
        ...

    def stream_job(self, endpoint_id: EndpointId, job_id: JobId) -> AsyncIterator[Any]:
        """Each chunk that the worker yields, as soon as it is there; ends when the job has completed.

        Raises ProviderFailure when the job failed, was cancelled or timed out, after the chunks that came before.
        """
        ...

    async def endpoint_health(self, endpoint_id: EndpointId) -> EndpointHealth:
        """Counts of jobs and workers by state."""
        ...


@runtime_checkable
class SupportsOffers(Protocol):
    """The provider tells what it rents out and for how much."""

    async def list_offers(self) -> Sequence[GpuOffer]:
        """All kinds of GPU with price and stock. An empty answer means that there are none, never that asking failed."""
        ...


@runtime_checkable
class SupportsLogs(Protocol):
    """The output of a pod's command can be read."""

    def logs(self, pod_id: PodId, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[str]:
        """Lines without their newline, stdout and stderr merged by time of writing where possible; the last `tail` lines.

        With `follow`, goes on until the command has ended. Raises NotFound.
        """
        ...


@runtime_checkable
class SupportsSpot(Protocol):
    """Interruptible machines at a lower price, asked for with `spot=True`."""

    offers_spot: ClassVar[Literal[True]]


@runtime_checkable
class SupportsTemplates(Protocol):
    """Named pod templates kept at the provider."""

    async def list_templates(self) -> Listing[Any]:
        """All templates of the account."""
        ...


@runtime_checkable
class SupportsRegistryCredentials(Protocol):
    """Credentials for private image registries kept at the provider."""

    async def list_registry_credentials(self) -> Listing[Any]:
        """All registry credentials of the account, without their passwords."""
        ...


#: Every optional ability: name → (protocol, the attribute that shows it on a class).
ABILITIES: Mapping[str, tuple[type, str]] = {
    "stop": (SupportsStop, "stop"),
    "update": (SupportsUpdate, "update_compute"),
    "retag": (SupportsRetag, "retag"),
    "on_exit": (SupportsOnExit, "on_exit_choices"),
    "provider_ttl": (SupportsProviderTtl, "enforces_max_lifetime"),
    "reach": (SupportsReach, "settle_s"),
    "spec_check": (SupportsSpecCheck, "check_spec"),
    "stable_urls": (SupportsStableUrls, "pod_urls"),
    "volumes": (SupportsVolumes, "create_volume"),
    "endpoints": (SupportsEndpoints, "create_endpoint"),
    "jobs": (SupportsJobs, "run_job"),
    "offers": (SupportsOffers, "list_offers"),
    "logs": (SupportsLogs, "logs"),
    "spot": (SupportsSpot, "offers_spot"),
    "templates": (SupportsTemplates, "list_templates"),
    "registry_credentials": (SupportsRegistryCredentials, "list_registry_credentials"),
}


def abilities(provider: type[Provider]) -> tuple[str, ...]:
    """The optional abilities of a provider class, derived from the protocols it satisfies; sorted by name."""
    return tuple(sorted(name for name, (_, attribute) in ABILITIES.items() if hasattr(provider, attribute)))

"""Where a story of the suite plays: an opened provider, short words for what stories do, and a broom."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import pytest

from pulumi_atlas.errors import AtlasError, NotFound
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeFilter, ComputeSpec, Job, JobSpec, ObservedEndpoint, ObservedVolume
from pulumi_atlas.providers.contract import ABILITIES
from pulumi_atlas.testing.conformance._harness import Behaviour, Harness

__all__ = ["Stage", "story"]

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_LOOK_S = 0.05


class Stage:
    """One test's access to the provider. Whatever is created with one of its tags is removed at the end."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.owner = Owner("stack", "c0ffee00c0ffee00", "atlas:Pod::conformance")
        self.provider: Any = None
        self._others: list[Any] = []
        self._births: set[str] = set()

    def run(self, play: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Open the provider, play, sweep. A failure of the play wins over one of the sweeping."""
        asyncio.run(self._whole(play))

    async def _whole(self, play: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.provider = self.another()
        try:
            await play()
        except BaseException:
            await self._sweep(quietly=True)
            raise
        await self._sweep(quietly=False)

    def another(self) -> Any:
        """A second instance, as another process would have one. Closed at the end."""
        made = self.harness.provider()
        self._others.append(made)
        return made

    def account(self, provider: Any) -> Any:
        """Takes an instance that the harness made under the stage's care."""
        self._others.append(provider)
        return provider

    def has(self, ability: str) -> bool:
        """Whether the provider has the optional ability."""
        return hasattr(self.provider, ABILITIES[ability][1])

    def need(self, ability: str) -> None:
        """Skip the rest, with a sentence, when the provider lacks the ability."""
        if not self.has(ability):
            reason = self.provider.reasons.get(ability)
            pytest.skip(
                f"{self.harness.name} does not offer {ability.replace('_', ' ')}" + (f": {reason}" if reason else "")
            )

    # ---- making

    def tag(self) -> Tag:
        """A tag of a new birth. What carries it is removed at the end."""
        tag = Tag(new_birth(), self.owner)
        self._births.add(tag.birth)
        return tag

    async def pod(self, spec: ComputeSpec | None = None, **fields: Any) -> Compute:
        """A new pod as create has answered it."""
        pod: Compute = await self.provider.create_compute(spec or self.harness.spec(**fields), self.tag())
        return pod

    async def running(self, spec: ComputeSpec | None = None, **fields: Any) -> Compute:
        """A new pod that runs."""
        return await self.becomes((await self.pod(spec, **fields)).id, "running")

    async def ended(self, code: int, lines: tuple[str, ...] = ()) -> Compute:
        """A new pod whose command has ended by itself."""
        pod = await self.pod(self.harness.ending_spec(code, lines))
        self.harness.talk(pod.id, lines)
        return await self.becomes(pod.id, "finished", "failed")

    async def volume(self, **fields: Any) -> ObservedVolume:
        """A new volume that is ready."""
        self.need("volumes")
        volume: ObservedVolume = await self.provider.create_volume(self.harness.volume_spec(**fields), self.tag())
        return await self.until(
            lambda: self.provider.get_volume(volume.id), lambda seen: seen.status == "ready", "the volume gets ready"
        )

    async def endpoint(self, behaviour: Behaviour = "echo") -> ObservedEndpoint:
        """A new endpoint that serves."""
        self.need("endpoints")
        spec = self.harness.endpoint_spec(behaviour)
        made: ObservedEndpoint = await self.provider.create_endpoint(spec, self.tag())
        return await self.until(
            lambda: self.provider.get_endpoint(made.id), lambda seen: seen.status == "ready", "the endpoint gets ready"
        )

    async def job(self, endpoint: ObservedEndpoint, behaviour: Behaviour, given: Any, **fields: Any) -> Job:
        """A queued job."""
        self.need("jobs")
        job: Job = await self.provider.run_job(JobSpec(endpoint=endpoint.id, input=given, **fields))
        self.harness.work(behaviour, job, given)
        return job

    # ---- looking

    async def becomes(self, pod_id: str, *statuses: str) -> Compute:
        """The pod, once it has one of the statuses."""
        return await self.until(
            lambda: self.provider.get_compute(pod_id),
            lambda pod: pod.status in statuses,
            f"pod {pod_id} becomes {' or '.join(statuses)}",
        )

    async def until(self, look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], what: str) -> T:
        """What is seen, once it is as wanted. Fails after the harness's patience."""
        seen, tries = await look(), 0
        while not wanted(seen):
            tries += 1
            assert tries * _LOOK_S < self.harness.patience_s, f"never came true: {what}; at last it was {seen!r}"
            await self.harness.pause(_LOOK_S)
            seen = await look()
        return seen

    async def listed(self, provider: Any = None, **filters: Any) -> list[Compute]:
        """The pods that a listing shows, those of others too, without what is terminated."""
        listing = await (provider or self.provider).list_compute(ComputeFilter(**filters))
        return [pod for pod in listing if pod.status != "terminated"]

    async def appears(self, *pod_ids: str) -> None:
        """Wait until a listing shows them (a listing may lag)."""
        wanted = set(pod_ids)
        await self.until(self.listed, lambda pods: wanted <= {pod.id for pod in pods}, f"{wanted} are listed")

    async def is_gone(self, pod_id: str) -> None:
        """Wait until neither a listing nor a GET shows the pod, other than as terminated."""

        async def shown() -> bool:
            if any(pod.id == pod_id for pod in await self.listed()):
                return True
            try:
                return bool((await self.provider.get_compute(pod_id)).status != "terminated")
            except NotFound:
                return False

        await self.until(shown, lambda seen: not seen, f"pod {pod_id} is gone")

    # ---- sweeping

    async def _sweep(self, *, quietly: bool) -> None:
        provider, troubles = self.harness.provider(), list[AtlasError]()
        steps = (("endpoints", "list_endpoints", "delete_endpoint"), ("volumes", "list_volumes", "delete_volume"))
        try:
            await self._remove(provider, "list_compute", "terminate", troubles, ComputeFilter())
            for ability, list_all, delete in steps:
                if hasattr(provider, ABILITIES[ability][1]):
                    await self._remove(provider, list_all, delete, troubles)
        finally:
            for one in (provider, *self._others):
                await one.aclose()
        if troubles and not quietly:
            raise troubles[0]

    async def _remove(self, provider: Any, list_all: str, delete: str, troubles: list[AtlasError], *args: Any) -> None:
        try:
            things = [thing for thing in await getattr(provider, list_all)(*args) if thing.birth in self._births]
        except AtlasError as error:
            troubles.append(error)
            return
        done = await asyncio.gather(*(_removed(getattr(provider, delete), thing) for thing in things))
        troubles += [error for error in done if error is not None]


async def _removed(delete: Callable[[str], Awaitable[None]], thing: Any) -> AtlasError | None:
    if getattr(thing, "status", "") == "terminated":
        return None
    try:
        await delete(thing.id)
    except NotFound:
        return None
    except AtlasError as error:
        return error
    return None


def story(
    play: Callable[Concatenate[S, Stage, P], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[S, Stage, P], None]:
    """Make a plain test of a coroutine function `(self, stage)`: it runs on a loop of its own, with a sweep at the end."""

    @functools.wraps(play)
    def test(self: S, stage: Stage, *args: P.args, **kwargs: P.kwargs) -> None:
        stage.run(lambda: play(self, stage, *args, **kwargs))

    return cast("Callable[Concatenate[S, Stage, P], None]", test)

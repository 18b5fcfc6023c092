"""The verbs, written once: both faces (`Atlas`, `AsyncAtlas`) and the resources call these."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from pulumi_atlas import config
from pulumi_atlas.client import kinds
from pulumi_atlas.client._readiness import Readiness
from pulumi_atlas.client.creation import Creation, Creator
from pulumi_atlas.client.intents import Intent, IntentBook
from pulumi_atlas.client.kinds import Kind, require
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.client.stop import Stop
from pulumi_atlas.errors import Conflict, NotFound, ProviderFailure, TimedOut
from pulumi_atlas.ids import Tag
from pulumi_atlas.models import (
    Compute,
    ComputeSpec,
    DesiredStatus,
    EndpointSpec,
    ObservedEndpoint,
    ObservedVolume,
    Ready,
    VolumeSpec,
)
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import ABILITIES
from pulumi_atlas.rules.clock import Clock, SystemClock
from pulumi_atlas.rules.diff import Plan

__all__ = ["Core", "Say"]

Say = Callable[[str], None]


class Core:
    """Opened providers, intents and inventories of one process. Belongs to one event loop.

    `stack_config` holds the stack's configuration (`atlas:runpodApiKey` …) inside a Pulumi run; `say` gets one line for
    each change of status.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stack_config: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        stop: Stop | None = None,
        say: Say | None = None,
    ) -> None:
        self.environ = os.environ if environ is None else environ
        self.settings = config.load(cwd=cwd, environ=self.environ)
        self.stack_config = dict(stack_config or {})
        self.clock = clock or SystemClock()
        self.stop = stop or Stop()
        self.say = say or (lambda line: None)
        self.book = IntentBook(self.settings.state_dir)
        self.known: set[str] = set()  # births that the caller has shown to be in its state
        self._opened: dict[tuple[str, str | None, str | None], Opened] = {}

    def choose(self, provider: str | None, account: str | None = None) -> str:
        """The provider's name: as given, else from the settings. Raises ConfigError naming the ways out."""
        stack = self.stack_config.get("atlas:provider")
        return config.choose_provider(provider, stack, self.settings, self.environ, account=account)

    def open(self, provider: str | None, account: str | None = None, api_key: str | None = None) -> Opened:
        """The provider, ready for use. Sends nothing. Raises ConfigError or Unauthorized when it cannot be reached so."""
        name = self.choose(provider, account)
        known = self._opened.get((name, account, api_key))
        if known is not None:
            return known
        kind = registry.load(name)
        access = config.resolve_access(
            name,
            account=account,
            key_variable=kind.key_variable,
            api_key=api_key,
            stack_config=self.stack_config,
            settings=self.settings,
            environ=self.environ,
        )
        opened = Opened(kind(access), access, self.clock)
        return self._opened.setdefault((name, account, api_key), opened)

    def creator(self, opened: Opened) -> Creator:
        """The maker of things for one opened provider."""
        return Creator(opened, self.book, self.clock, self.stop, say=self.say, known=self.known)

    async def create_pod(
        self,
        opened: Opened,
        spec: ComputeSpec,
        tag: Tag,
        *,
        ready: Ready | None,
        timeout_s: float,
        wait: bool = True,
        then_stop: bool = False,
    ) -> Compute:
        """Rent a pod and wait until it is usable. Raises as `Creator.create`, with the last lines of its log.

        With `then_stop` it is stopped as soon as it is usable, as part of the creation: a failure removes it.
        """
        readiness = Readiness(self, opened, ready, timeout_s)
        name = spec.name or "pod"

        async def until_usable(pod: Compute) -> Compute:
            pod = await readiness.wait(pod) if wait else pod
            if then_stop:
                await opened.provider.stop(pod.id)
                opened.wrote()
                pod = await opened.provider.get_compute(pod.id)
            return pod

        return await self.creator(opened).create(
            Creation(kinds.POD, spec, tag, name, until_usable, readiness.explain if wait else None)
        )

    async def create_volume(self, opened: Opened, spec: VolumeSpec, tag: Tag, *, timeout_s: float) -> ObservedVolume:
        """Make a volume and wait until it is ready."""
        require(opened.provider, "volumes", operation="create_volume")

        async def until_usable(volume: ObservedVolume) -> ObservedVolume:
            ready: ObservedVolume = await self._until(kinds.VOLUME, opened, volume, "creating", timeout_s)
            return ready

        name = spec.name or "volume"
        return await self.creator(opened).create(Creation(kinds.VOLUME, spec, tag, name, until_usable))

    async def create_endpoint(
        self, opened: Opened, spec: EndpointSpec, tag: Tag, *, timeout_s: float
    ) -> ObservedEndpoint:
        """Make an endpoint and wait until it takes jobs."""
        require(opened.provider, "endpoints", operation="create_endpoint")

        async def until_usable(endpoint: ObservedEndpoint) -> ObservedEndpoint:
            ready: ObservedEndpoint = await self._until(kinds.ENDPOINT, opened, endpoint, "starting", timeout_s)
            return ready

        name = spec.name or "endpoint"
        return await self.creator(opened).create(Creation(kinds.ENDPOINT, spec, tag, name, until_usable))

    async def _until(self, kind: Kind[Any], opened: Opened, thing: Any, unready: str, timeout_s: float) -> Any:
        deadline, attempt = self.clock.monotonic() + timeout_s, 0
        while thing.status == unready:
            if self.clock.monotonic() >= deadline:
                raise TimedOut(f"{kind.name} {thing.name or thing.id} was not ready within {timeout_s:g} s",
                               provider=opened.provider.name, operation="create")  # fmt: skip
            await self.stop.wait(self.clock, min(2.0, 0.1 * 1.5**attempt))
            thing, attempt = await kind.get(opened.provider, thing.id), attempt + 1
        if thing.status == "failed":
            why = getattr(thing, "reason", "") or "the provider does not say why"
            text = f"{kind.name} {thing.name or thing.id} failed before it was usable: {why}"
            raise ProviderFailure(text, provider=opened.provider.name, operation="create")
        return thing

    async def take_back(self, kind: Kind[Any], opened: Opened, tag: Tag) -> None:
        """Undo a creation whose answer cannot be handed over. What cannot be removed stays noted as *open*."""
        self.book.withdraw(tag.birth)
        intent = self.book.get(tag.birth)
        if intent is not None:
            with contextlib.suppress(Exception):
                await self.creator(opened).remove_birth(kind, intent)

    async def read(
        self, kind: Kind[Any], opened: Opened, ident: str, *, identity: str | None, age_s: float | None
    ) -> Any:
        """The thing as it is, from a shared listing; None when it is proven gone. Raises WrongAccount, or why not known."""
        await opened.check_account(identity, operation="read", name=f"{kind.name} {ident}")
        return await opened.inventory(kind).find(ident, thing_age_s=age_s)

    async def delete(
        self,
        kind: Kind[Any],
        opened: Opened,
        ident: str,
        *,
        identity: str | None,
        birth: str | None,
        timeout_s: float | None = None,
    ) -> None:
        """Destroy the thing; what is proven gone counts as destroyed. Closes the birth's intent.

        Raises Conflict when the thing of that id carries another birth: it is somebody else's. Raises TimedOut when the
        provider has not confirmed within `timeout_s` seconds; the thing is then not forgotten.
        """
        await opened.check_account(identity, operation="delete", name=f"{kind.name} {ident}")
        self.stop.check_begin()
        try:
            async with asyncio.timeout(timeout_s):
                thing = await kind.get(opened.provider, ident)
                _prove(kind, thing, birth, opened)
                await kind.remove(opened.provider, ident)
        except TimeoutError:
            text = f"the end of {kind.name} {ident} was not confirmed within {timeout_s:g} s"
            hint = "run it again, or raise timeouts.delete_s"
            raise TimedOut(text, provider=opened.provider.name, operation="delete", hint=hint) from None
        except NotFound:
            opened.wrote()
            left = await opened.inventory(kind).find(ident)
            if left is not None and getattr(left, "status", "") != "terminated":
                raise
        finally:
            opened.wrote()
        if birth:
            self.book.close(birth)

    async def update_pod(
        self,
        opened: Opened,
        ident: str,
        spec: ComputeSpec,
        plan: Plan,
        *,
        desired: DesiredStatus,
        ready: Ready | None,
        timeout_s: float,
    ) -> Compute:
        """Do what the plan asks of an existing pod, and wait until it is what was wanted. Raises NotFound when it vanished.

        A pod that is to be stopped is not started on the way; one that is to run and does not, because an earlier restart
        failed half-way, is started.
        """
        self.stop.check_begin()
        begins = desired == "running" and (plan.restart or plan.power == "start")
        try:
            await self._change_pod(opened, ident, spec, plan, begins=begins)
            pod: Compute = await opened.provider.get_compute(ident)
        finally:
            opened.wrote()
        if begins:
            pod = await Readiness(self, opened, ready, timeout_s).wait_explained(pod)
        return pod

    async def _change_pod(self, opened: Opened, ident: str, spec: ComputeSpec, plan: Plan, *, begins: bool) -> None:
        provider = opened.provider
        pod: Compute = await provider.get_compute(ident)
        if pod.status == "terminated":
            raise NotFound(f"pod {ident} is terminated", provider=provider.name, operation="update")
        runs = pod.status in ("running", "provisioning")
        again = begins and runs and plan.restart
        if plan.power == "stop":
            await provider.stop(ident)
        if plan.spec_changes:
            await provider.update_compute(ident, spec, restart=again)
        elif again:
            await provider.stop(ident)
            await provider.start(ident)
        if begins and not runs and hasattr(provider, ABILITIES["stop"][1]):
            await provider.start(ident)

    def unclosed(self) -> list[Intent]:
        """All creations that were begun and are not known to be known."""
        return list(self.book.unclosed())

    async def aclose(self) -> None:
        """Close the connections of all opened providers."""
        opened, self._opened = list(self._opened.values()), {}
        await asyncio.gather(*(one.provider.aclose() for one in opened))

    def logs(self, opened: Opened, ident: str, *, follow: bool, tail: int | None) -> AsyncIterator[str]:
        """Lines of the pod's output. Raises Unsupported, NotFound."""
        require(opened.provider, "logs", operation="logs")
        lines: AsyncIterator[str] = opened.provider.logs(ident, follow=follow, tail=tail)
        return lines


def _prove(kind: Kind[Any], thing: Any, birth: str | None, opened: Opened) -> None:
    """A thing is ours by its id together with its birth. Raises Conflict when it carries another one."""
    if birth and thing.birth and thing.birth != birth:
        raise Conflict(
            f"{kind.name} {thing.id} carries another birth than the state: it is not what this stack made",
            provider=opened.provider.name,
            operation="delete",
            hint="nothing was destroyed; `pulumi state delete` forgets it, when that is right",
        )

"""Waiting for a pod to be usable, telling of each change, and saying why when it does not become so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_atlas.client import kinds, probe
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, NotFound, ProviderFailure, RateLimited, TimedOut, TransportError
from pulumi_atlas.models import Compute, Ready
from pulumi_atlas.providers.contract import SupportsReach
from pulumi_atlas.rules import waiting

if TYPE_CHECKING:
    from pulumi_atlas.client.core import Core

__all__ = ["Readiness"]

_LOG_LINES = 15


class Readiness:
    """The wait for one pod. `timeout_s` bounds it unless `ready.timeout_s` does."""

    def __init__(self, core: Core, opened: Opened, ready: Ready | None, timeout_s: float) -> None:
        self._core, self._opened, self._ready = core, opened, ready
        self._timeout_s = ready.timeout_s if ready and ready.timeout_s else timeout_s
        self._reachable = isinstance(opened.provider, SupportsReach)
        self._settle_s = opened.provider.settle_s if self._reachable else 0.0

    async def wait(self, pod: Compute) -> Compute:
        """Returns the pod once it is usable. Raises ProviderFailure when it ended, TimedOut, Interrupted."""
        clock = self._core.clock
        began, running_since, attempt, told = clock.monotonic(), None, 0, ""
        port = self._port(pod)
        while True:
            now = clock.monotonic()
            if pod.status == "running" and running_since is None:
                running_since = now
            if pod.status != told:
                told = pod.status
                self._core.say(f"{pod.name or pod.id}: {told}")
            verdict = waiting.judge(
                pod,
                port,
                running_for_s=now - (now if running_since is None else running_since),
                settle_s=self._settle_s,
            )
            if verdict == "usable" or (verdict == "probe" and await self._answers(pod, port)):
                return pod
            if verdict == "dead":
                raise self._dead(pod)
            if clock.monotonic() - began >= self._timeout_s:
                raise self._too_late(pod, port)
            await self._core.stop.wait(clock, waiting.pause_s(attempt))
            attempt += 1
            pod = await self._look(pod, attempt, clock.monotonic() - began)

    async def wait_explained(self, pod: Compute) -> Compute:
        """As `wait`, for a pod that stays: errors carry the last lines of its log."""
        try:
            return await self.wait(pod)
        except (ProviderFailure, TimedOut) as error:
            raise (await self.explain(pod, error)) from None

    async def explain(self, pod: Compute, error: AtlasError) -> AtlasError:
        """The same error with the last lines of the pod's log, where there are any."""
        lines = await self._last_lines(pod)
        if lines:
            error.message += "; the last lines of its log: " + " | ".join(lines)
            error.args = (error.message,)
        return error

    def _port(self, pod: Compute) -> int | None:
        if not self._reachable:
            return None
        asked = tuple(p.internal for p in pod.ports)
        return waiting.port_to_probe(asked, self._ready)

    async def _answers(self, pod: Compute, port: int | None) -> bool:
        path = self._ready.path if self._ready else None
        return port is not None and await probe.answers(pod, port, path)

    async def _look(self, pod: Compute, attempt: int, age_s: float) -> Compute:
        """The pod as it is now, or as it was when the provider cannot tell: a moment's outage is no reason to undo it."""
        keep = waiting.pause_s(attempt) / 3  # younger than the pause, or the look before it is seen twice
        inventory = self._opened.inventory(kinds.POD)
        try:
            found: Compute | None = await inventory.find(pod.id, max_age_s=keep, thing_age_s=age_s)
        except (TransportError, RateLimited, NotFound):
            return pod
        if found is None:
            raise ProviderFailure(f"{pod.name or pod.id} vanished while it was waited for",
                                  provider=self._opened.provider.name, operation="create")  # fmt: skip
        return found

    def _dead(self, pod: Compute) -> AtlasError:
        how = pod.reason or (
            f"its command ended with code {pod.exit_code}" if pod.exit_code is not None else "it ended"
        )
        text = f"{pod.name or pod.id} is {pod.status} before it was usable: {how}"
        return ProviderFailure(text, provider=self._opened.provider.name, operation="create")

    def _too_late(self, pod: Compute, port: int | None) -> AtlasError:
        what = f"its port {port} did not answer" if port is not None else f"it was still {pod.status}"
        hint = "raise ready.timeout_s or timeouts.create_s, or see that the program listens on $PORT"
        text = f"{pod.name or pod.id} was not usable within {self._timeout_s:g} s: {what}"
        return TimedOut(text, provider=self._opened.provider.name, operation="create", hint=hint)

    async def _last_lines(self, pod: Compute) -> list[str]:
        if not hasattr(self._opened.provider, "logs"):
            return []
        try:
            return [line async for line in self._opened.provider.logs(pod.id, tail=_LOG_LINES)]
        except AtlasError:
            return []

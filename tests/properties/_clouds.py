"""What the properties of the client play on: a mock cloud with lags, a clock that only tests turn, processes that die."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from pulumi_atlas import failpoints, processes
from pulumi_atlas.access import Access
from pulumi_atlas.ids import Tag
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.processes import ProcessIdentity
from pulumi_atlas.providers.mock import MockProvider, World


class Crash(BaseException):
    """SIGKILL: nothing of ours may catch it."""


class SimClock:
    """The world's clock: sleeping moves it, and nothing really waits."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.freeze()

    def now(self) -> float:
        return self.world.now()

    def monotonic(self) -> float:
        return self.world.now()

    async def sleep(self, seconds: float) -> None:
        self.world.advance(seconds)
        await asyncio.sleep(0)


class LaggingMock(MockProvider):
    """A mock cloud whose listings may be wrong for half a minute, and whose caller may die around a create."""

    listing_lag_s: ClassVar[float] = 30.0
    crash: str | None = None

    def __init__(self, world: World) -> None:
        super().__init__(Access("mock"), world=world)

    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        if self.crash == "3":
            raise Crash
        made = await super().create_compute(spec, tag)
        if self.crash == "4":
            raise Crash
        return made


class Processes:
    """Simulated processes: each has an identity, and lives until it ends."""

    def __init__(self) -> None:
        self._last = 4_000_000_000  # no real process has such a number
        self._living: set[ProcessIdentity] = set()
        self._current: list[ProcessIdentity] = []
        self._crash_at: list[str | None] = []

    @contextmanager
    def process(self, crash_at: str | None = None) -> Iterator[ProcessIdentity]:
        """One process, which dies at the named step of a create, or else at the end of the block."""
        self._last += 1
        mine = ProcessIdentity(self._last, processes.boot_id(), 1, processes.host_name())
        self._living.add(mine)
        self._current.append(mine)
        self._crash_at.append(crash_at)
        try:
            yield mine
        finally:
            self._crash_at.pop()
            self._current.pop()
            self._living.discard(mine)

    def install(self, patch: Any) -> None:
        """Let the client see these processes in place of the real ones."""
        patch.setattr(processes, "me", lambda: self._current[-1])
        patch.setattr(processes, "identify", lambda pid: next((p for p in self._living if p.pid == pid), None))
        patch.setattr(failpoints, "reach", self._reach)

    def _reach(self, name: str) -> None:
        if self._crash_at and self._crash_at[-1] is not None and name == f"create.{self._crash_at[-1]}":
            raise Crash

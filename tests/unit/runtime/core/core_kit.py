"""A companion over the mock cloud, with a clock that only the test moves and a store that survives its crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pulumi_atlas import failpoints
from pulumi_atlas.client.core import Core
from pulumi_atlas.models import Compute
from pulumi_atlas.models.session import Session, SessionRequest
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.runtime.access import KeyRingFile
from pulumi_atlas.runtime.companion import Companion, Opening
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.testing.clock import SimulatedClock
from pulumi_atlas.testing.sessions import MemoryStore

PUBLIC = "https://companion.example"


class Crash(BaseException):
    """SIGKILL: nothing of ours may catch it."""


class Stage:
    """World, clock, store and the companion of the moment. `settings` are those of the next companion that starts."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.world = World.fresh()
        self.world.freeze()
        self.clock = SimulatedClock()
        self.clock.followers.append(self.world.advance)
        self.folder, self.store = folder, MemoryStore()
        self.options: dict[str, Any] = {"public_url": PUBLIC, **settings}
        self.environ: dict[str, str] = {}
        self.companion: Companion = self._made()

    def _made(self) -> Companion:
        core = Core(clock=self.clock, environ=self.environ, cwd=self.folder)
        keyring = KeyRingFile.beside(self.folder / "sessions.db")
        settings = RuntimeSettings(**self.options)
        return Companion(
            store=self.store, settings=settings, keyring=keyring, core=core, clock=self.clock, name="tests"
        )

    async def start(self) -> Companion:
        """A new companion on the store as it is."""
        self.companion = self._made()
        await self.companion.start()
        return self.companion

    async def stop(self) -> None:
        """An orderly end."""
        await self.clock.run(self.companion.stop())
        self.store = self.store.after_crash()

    async def crash(self) -> None:
        """The companion is no more, in the middle of whatever it did."""
        self.store, dead = self.store.after_crash(), self.store
        dead.fail("this process is dead")
        await end(self.companion)

    async def restart(self) -> Companion:
        await self.crash()
        return await self.start()

    async def open(self, **fields: Any) -> Opening:
        spec = {"provider": "mock", "ports": [8888], **fields.pop("spec", {})}
        request = SessionRequest(**{"spec": spec, "owner": "ann", **fields})
        return await self.companion.open(request, actor="key:k1")

    async def ready(self, **fields: Any) -> Opening:
        """A session that is ready."""
        opened = await self.open(**fields)
        await self.advance_until(opened.session.id, "ready")
        return opened

    async def advance_until(self, session_id: str, *states: str, most_s: float = 3600.0) -> Session:
        async def reached() -> Session:
            while True:
                session = await self.companion.get(session_id)
                if session.state in states:
                    return session
                await self.clock.sleep(0.25)

        return await self.clock.run(reached(), most_s=most_s)

    async def get(self, session_id: str) -> Session:
        return await self.companion.get(session_id)

    def pods(self) -> dict[str, Compute]:
        """Those that cost money."""
        return {ident: pod for ident, pod in self.world.pods.items() if pod.status != "terminated"}

    def calls(self, operation: str) -> int:
        return len(self.world.calls(operation))

    async def events(self, session_id: str | None = None) -> list[tuple[str, str, str]]:
        """Kind or new state, actor, cause of each event."""
        found = await self.companion.store.events(after=0, session_id=session_id, limit=100_000)
        return [
            (one.data.get("state", "") if one.kind == "status" else one.kind, one.actor, one.cause) for one in found
        ]


async def end(companion: Companion) -> None:
    """Cancel every task of a companion, as its death does."""
    tasks = [*companion.worker._tasks, *companion.crew._tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    companion.crew._tasks.clear()


class LaggingMock(MockProvider):
    """Listings of it may be wrong for half a minute."""

    listing_lag_s: ClassVar[float] = 30.0


def install(patch: pytest.MonkeyPatch, stage: Stage, kind: type[MockProvider] = MockProvider) -> None:
    """Let the provider `mock` be that class, in the stage's world."""

    class Here(kind):  # type: ignore[misc,valid-type]
        def __init__(self, access: Any) -> None:
            super().__init__(access, world=stage.world)

    load = registry.load
    patch.setattr(registry, "load", lambda name: Here if name == "mock" else load(name))


class CrashAt:
    """Lets the companion die when it reaches a failpoint; `reached` says whether it did."""

    def __init__(self, patch: pytest.MonkeyPatch, stage: Stage) -> None:
        self._stage, self.name, self.reached = stage, "", False
        self.after: MemoryStore | None = None
        patch.setattr(failpoints, "reach", self._reach)

    def at(self, name: str) -> None:
        self.name, self.reached, self.after = name, False, None

    def _reach(self, name: str) -> None:
        if name != self.name or self.reached:
            return
        self.reached = True
        self.after = self._stage.store.after_crash()
        self._stage.store.fail("this process is dead")
        raise Crash

    async def restart(self) -> None:
        """The next companion, on what the dead one left."""
        assert self.after is not None, f"{self.name} was not reached"
        await end(self._stage.companion)
        self._stage.store, self.name = self.after, ""
        await self._stage.start()


def play(stage: Stage, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the act with a companion that has started; what it began ends with it."""

    async def whole() -> None:
        await stage.start()
        try:
            await act()
        finally:
            await end(stage.companion)

    asyncio.run(whole())

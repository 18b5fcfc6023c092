"""A companion on a store on disk, over a mock cloud that fails as often as it is told, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pulumi_atlas.client.core import Core
from pulumi_atlas.errors import NoCapacity, ProviderFailure, RateLimited, TimedOut, TransportError, UnknownOutcome
from pulumi_atlas.files import make_private_folder
from pulumi_atlas.models import Compute, Listing
from pulumi_atlas.models.session import Session, SessionRequest
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.runtime.access import KeyRingFile
from pulumi_atlas.runtime.companion import Companion, Opening
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store import open_store
from pulumi_atlas.testing.clock import SimulatedClock

__all__ = ["LAG_S", "Stage", "stage"]

#: How long the cloud's listings may be wrong, and how late it may carry out a request whose answer nobody got, seconds.
LAG_S = 20.0
_LATE_S = 15.0
_HANGS_S = 300.0


class Stage:
    """The cloud, the clock, the store's file, and the companion of the moment. `failing`: the share of calls that fail.

    `lies`: whether a listing may now claim to be complete and be empty.
    """

    def __init__(self, folder: Path, seed: int = 0, **settings: Any) -> None:
        self.chance, self.failing = random.Random(seed), 0.0
        self.world, self.clock, self.folder = World.fresh(), SimulatedClock(), folder
        self.world.freeze()
        self.clock.followers.append(self.world.advance)
        self.options: dict[str, Any] = {"public_url": "https://companion.example", "warn_before_s": 0, **settings}
        self.path = folder / "sessions.db"
        self.cut: Callable[[Listing[Compute]], Listing[Compute]] | None = None  # what becomes of each listing
        self.lies: Callable[[], bool] = lambda: False
        self.calls = self.failed = 0  # while calls may fail
        self.store: Any = None
        self.companion: Companion
        self.listeners: list[Any] = []
        self._late: set[asyncio.Task[None]] = set()

    async def start(self, path: Path | None = None) -> Companion:
        """A companion on the store as it is."""
        self.path = path or self.path
        make_private_folder(self.path.parent)
        self.store = self.clock.attend(open_store(f"sqlite:///{self.path}"))
        self.companion = Companion(
            store=self.store,
            settings=RuntimeSettings(**self.options),
            keyring=KeyRingFile.beside(self.path),
            core=Core(clock=self.clock, environ={}, cwd=self.folder),
            clock=self.clock,
            name="tests",
        )
        self.companion.ledger.listeners += self.listeners
        await self.companion.start()
        await self.clock.settle()
        return self.companion

    async def stop(self) -> None:
        """An orderly end."""
        await self.clock.run(self.companion.stop())

    async def crash(self) -> None:
        """Its death: what is in memory is lost, and what was not written is not."""
        tasks = [*self.companion.worker._tasks, *self.companion.crew._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.companion.crew.outbox.aclose()
        self.companion.feed.close()
        await self.store.aclose()

    async def end(self) -> None:
        await self.crash()
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def open(self, **fields: Any) -> Opening:
        spec = {"provider": "mock", **fields.pop("spec", {})}
        return await self.companion.open(SessionRequest(**{"spec": spec, "owner": "ann", **fields}), actor="key:k1")

    async def ready(self, count: int = 1, **fields: Any) -> list[str]:
        """So many sessions that are ready; their ids."""
        idents = [(await self.open(**fields)).session.id for _ in range(count)]
        for _ in range(600):
            if all(self.companion.ledger[ident].state == "ready" for ident in idents):
                return idents
            await self.clock.advance(1)
        raise AssertionError("they do not become ready")

    async def rows(self) -> dict[str, Session]:
        """All sessions of the store."""
        found: dict[str, Session] = {}
        cursor = None
        while True:
            page = await self.store.page(cursor=cursor, limit=200)
            found |= {row.id: row for row in page.sessions}
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def states(self) -> dict[str, str]:
        return {ident: row.state for ident, row in (await self.rows()).items()}

    def pods(self) -> dict[str, Compute]:
        """Those that cost money, of all accounts."""
        return {ident: pod for ident, pod in self.world.pods.items() if pod.status != "terminated"}

    def ours(self) -> dict[str, Compute]:
        """Those of them that a deployment owns."""
        return {i: pod for i, pod in self.pods().items() if pod.owner is not None and pod.owner.kind == "deployment"}

    # -- the cloud's failures

    async def call(self, operation: str, work: Callable[[], Any]) -> Any:
        """Make the call, or let it fail in one of the ways in which calls of a cloud do."""
        self.calls += self.failing > 0
        if self.chance.random() >= self.failing:
            done = await work()
            return self.cut(done) if self.cut is not None and operation == "list_compute" else done
        self.failed += 1
        about = {"provider": "mock", "operation": operation}
        if operation in ("create_compute", "terminate", "stop", "start"):
            return await self._write(operation, work, about)
        if operation == "list_compute" and self.chance.random() < 0.5:
            return self._cut(await work())
        return await self._read(about)

    async def _write(self, operation: str, work: Callable[[], Any], about: dict[str, Any]) -> None:
        way = self.chance.choice(
            ["lost", "lost", "lost before", "timeout", "hangs", "late", "5xx", "transport", "rate"]
        )
        if way == "late":
            self._later(work)
        if way in ("late", "hangs"):
            await self.clock.sleep(_HANGS_S)
        if way in ("lost", "timeout"):
            await work()
        if way == "5xx" and operation == "create_compute" and self.chance.random() < 0.5:
            raise NoCapacity("injected", **about)
        raise {
            "5xx": ProviderFailure, "transport": TransportError, "rate": RateLimited, "timeout": TimedOut,
        }.get(way, UnknownOutcome)("injected", **about)  # fmt: skip

    async def _read(self, about: dict[str, Any]) -> None:
        way = self.chance.choice(["5xx", "transport", "rate", "timeout", "hangs"])
        if way == "hangs":
            await self.clock.sleep(_HANGS_S)
        raise {"5xx": ProviderFailure, "rate": RateLimited, "timeout": TimedOut}.get(way, TransportError)(
            "injected", **about
        )

    def _cut(self, listing: Listing[Compute]) -> Listing[Compute]:
        """Empty, or a part; complete only where that would be no lie, or where a lie is allowed."""
        some = [pod for pod in listing if self.chance.random() < 0.5] if self.chance.random() < 0.5 else []
        return Listing(some, listing.account, complete=self.lies())

    def _later(self, work: Callable[[], Any]) -> None:
        async def late() -> None:
            await self.clock.sleep(self.chance.uniform(0, _LATE_S))
            try:
                await work()
            except ProviderFailure:
                pass
            except Exception:
                pass

        task = asyncio.ensure_future(late())
        self._late.add(task)
        task.add_done_callback(self._late.discard)


@contextmanager
def stage(folder: Path, seed: int = 0, **settings: Any) -> Iterator[Stage]:
    """A stage whose cloud is the provider `mock`. Nothing is started."""
    made = Stage(folder, seed, **settings)

    class Failing(MockProvider):
        listing_lag_s: ClassVar[float] = LAG_S

        def __init__(self, access: Any) -> None:
            super().__init__(access, world=made.world)

    def failing(name: str) -> Any:
        real = getattr(MockProvider, name)

        async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await made.call(name, lambda: real(self, *args, **kwargs))

        return call

    for name in ("create_compute", "get_compute", "list_compute", "terminate", "stop", "start", "identity"):
        setattr(Failing, name, failing(name))
    load = registry.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "load", lambda name: Failing if name == "mock" else load(name))
        yield made

"""A store in memory that can fail, a clock that is turned by hand, and sessions and events to put in."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.runtime.store.contract import Delivery, StoreUnavailable

T = TypeVar("T")

START = 1_700_000_000.0


def run(work: Coroutine[Any, Any, T]) -> T:
    """The test's one event loop; what hangs fails."""

    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await work

    return asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    """Let others go on until the condition holds."""
    while not condition():  # noqa: ASYNC110 (each condition is another; `run` bounds it)
        await asyncio.sleep(0)


def session(ident: str = "s1", **fields: Any) -> Session:
    lease: dict[str, Any] = {
        "idle_ttl_s": 900.0, "max_lifetime_s": None, "warn_before_s": 60.0, "on_idle": "terminate",
        "paused_ttl_s": 3600.0, "budget": None,
    }  # fmt: skip
    return Session(**({"id": ident, "state": "ready", "provider": "mock", "created_at": START} | lease | fields))


def event(session_id: str | None = "s1", kind: str = "status", **fields: Any) -> SessionEvent:
    data = {"state": "ready", "id": session_id} if kind in ("status", "warning") else {}
    return SessionEvent(
        **(
            {"at": START, "session_id": session_id, "kind": kind, "actor": "companion", "cause": "usable", "data": data}
            | fields
        )
    )


class TurnedClock:
    """Both clocks stand still until `turn`."""

    def __init__(self) -> None:
        self.wall, self.mono = START, 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = itertools.count()
        self.slept: list[float] = []
        self.asleep = asyncio.Event()

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.slept.append(seconds)
        heapq.heappush(self._sleepers, (self.mono + seconds, next(self._order), woken))
        self.asleep.set()
        if seconds > 0:
            await woken.wait()

    def turn(self, seconds: float) -> None:
        self.wall, self.mono = self.wall + seconds, self.mono + seconds
        while self._sleepers and self._sleepers[0][0] <= self.mono:
            heapq.heappop(self._sleepers)[2].set()

    async def sleeper(self) -> None:
        """Wait until somebody sleeps."""
        while not self._sleepers:
            self.asleep.clear()
            await self.asleep.wait()


class MemoryStore:
    """What the outbox needs of a store, by the words of the contract. `fails`: how many calls fail first."""

    def __init__(self) -> None:
        self.kept: list[SessionEvent] = []
        self.newest = 0
        self.sessions: dict[str, Session] = {}
        self.webhooks: tuple[str, ...] = ()
        self.outbox: dict[tuple[int, str], Delivery] = {}
        self.fails = 0
        self.calls: list[str] = []
        self.before_events: asyncio.Event | None = None

    def write(self, *events: SessionEvent) -> tuple[SessionEvent, ...]:
        numbered = []
        for one in events:
            self.newest += 1
            numbered.append(replace(one, number=self.newest))
            for name in self.webhooks:
                self.outbox[self.newest, name] = Delivery(numbered[-1], name, 0, one.at)
        self.kept += numbered
        return tuple(numbered)

    async def note(self, events: Sequence[SessionEvent]) -> tuple[SessionEvent, ...]:
        await self._reached("note")
        return self.write(*events)

    async def events(self, *, after: int, session_id: str | None = None, limit: int = 500) -> Sequence[SessionEvent]:
        await self._reached("events")
        found = [one for one in self.kept if one.number > after and session_id in (None, one.session_id)]
        return found[:limit]

    async def event_range(self) -> tuple[int, int]:
        await self._reached("event_range")
        return (self.kept[0].number if self.kept else self.newest + 1), self.newest

    async def get(self, session_id: str) -> Session | None:
        await self._reached("get")
        return self.sessions.get(session_id)

    async def set_webhooks(self, names: Collection[str]) -> None:
        await self._reached("set_webhooks")
        self.webhooks = tuple(names)
        self.outbox = {key: one for key, one in self.outbox.items() if key[1] in names}

    async def due(self, now: float, *, limit: int = 50) -> Sequence[Delivery]:
        await self._reached("due")
        found = sorted((one for one in self.outbox.values() if one.due_at <= now), key=lambda one: one.due_at)
        return found[:limit]

    async def next_due(self) -> float | None:
        await self._reached("next_due")
        return min((one.due_at for one in self.outbox.values()), default=None)

    async def delivered(self, event_number: int, webhook: str) -> None:
        await self._reached("delivered")
        self.outbox.pop((event_number, webhook), None)

    async def postponed(self, event_number: int, webhook: str, *, due_at: float, error: str) -> None:
        await self._reached("postponed")
        before = self.outbox[event_number, webhook]
        self.outbox[event_number, webhook] = replace(
            before, attempt=before.attempt + 1, due_at=due_at, last_error=error
        )

    async def _reached(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("the disk is full")

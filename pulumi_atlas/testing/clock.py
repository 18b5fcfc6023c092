"""A clock that only the test moves: nothing really waits, and everything that is due runs in its order.

::

    clock = SimulatedClock()
    sleeper = asyncio.create_task(clock.sleep(60))
    await clock.advance(60)      # the sleeper is done

The loop must be asyncio's own. Work on other threads (a database) is waited for when it goes through `attend`.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import itertools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

__all__ = ["SimulatedClock"]

T = TypeVar("T")

#: 2026-01-01 00:00 UTC.
_BEGIN = 1_767_225_600.0

#: So often may the loop turn without any time passing before that counts as a program that spins.
_MOST_TURNS = 100_000

#: How long the loop is left alone while another thread works, seconds of real time.
_THREAD_S = 0.0005


class SimulatedClock:
    """Wall and monotonic time for code that takes a `Clock`. `followers` are told of each step, in seconds."""

    def __init__(self, at: float = _BEGIN) -> None:
        self._wall_ahead, self._mono = at, 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._busy = 0
        self.followers: list[Callable[[float], object]] = []

    def now(self) -> float:
        """Seconds since the epoch, as a wall clock shows them that may have been turned."""
        return self._wall_ahead + self._mono

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._mono

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has let so much time pass."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._mono + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, stopping at each sleeper on the way until all that it caused has run."""
        end = self._mono + seconds
        await self.settle()
        while (at := self.next_at()) is not None and at <= end:
            self._step(at)
            await self.settle()
        self._step(end)
        await self.settle()

    async def run(self, work: Coroutine[Any, Any, T], *, most_s: float = 86_400.0) -> T:
        """What the work returns, letting time pass as long as it takes. Raises TimeoutError after `most_s` seconds."""
        task, end = asyncio.ensure_future(work), self._mono + most_s
        await self.settle()
        while not task.done():
            at = self.next_at()
            if at is None or at > end:
                task.cancel()
                raise TimeoutError(f"it was not done after {most_s:g} simulated seconds")
            self._step(at)
            await self.settle()
        return task.result()

    def jump(self, seconds: float) -> None:
        """Turn the wall clock; the monotonic one goes on as if nothing had happened."""
        self._wall_ahead += seconds

    def next_at(self) -> float | None:
        """Monotonic time at which the next sleeper wakes; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def settle(self) -> None:
        """Run all that can run without time passing."""
        ready = cast(Any, asyncio.get_running_loop())._ready
        for _ in range(_MOST_TURNS):
            await asyncio.sleep(0)
            if self._busy:
                await asyncio.sleep(_THREAD_S)
            elif not ready:
                return
        raise RuntimeError("the loop does not come to rest: something spins without waiting")

    @contextmanager
    def working(self) -> Iterator[None]:
        """While this is open, work goes on elsewhere that `settle` waits for."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def attend(self, thing: T) -> T:
        """The same thing, each of whose async calls `settle` waits for: for what works on other threads."""
        return cast(T, _Attended(thing, self))

    def _step(self, to: float) -> None:
        passed = to - self._mono
        self._mono = to
        if passed > 0:
            for follower in self.followers:
                follower(passed)
        while self._sleepers and self._sleepers[0][0] <= to:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


class _Attended:
    def __init__(self, thing: Any, clock: SimulatedClock) -> None:
        self.__thing, self.__clock = thing, clock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.__thing, name)
        if inspect.iscoroutinefunction(found):
            return self.__counted(found)
        return self.__counted_pieces(found) if inspect.isasyncgenfunction(found) else found

    def __counted(self, call: Any) -> Any:
        async def attended(*args: Any, **kwargs: Any) -> Any:
            with self.__clock.working():
                return await call(*args, **kwargs)

        return attended

    def __counted_pieces(self, call: Any) -> Any:
        async def attended(*args: Any, **kwargs: Any) -> Any:
            with self.__clock.working():
                pieces = [piece async for piece in call(*args, **kwargs)]
            for piece in pieces:
                yield piece

        return attended

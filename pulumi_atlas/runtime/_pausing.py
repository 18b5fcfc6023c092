"""A wait that ends early when something happens, by whichever clock is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from pulumi_atlas.rules.clock import Clock

__all__ = ["BackOff", "is_cancelled", "pause"]


async def pause(clock: Clock, seconds: float | None, *early: asyncio.Event) -> None:
    """Wait so long (None: for ever), or until one of the events is set."""
    waits: list[Coroutine[Any, Any, Any]] = [event.wait() for event in early]
    if seconds is not None:
        waits.append(clock.sleep(max(0.0, seconds)))
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # not each alone: that would swallow our own cancellation


def is_cancelled(error: BaseException) -> bool:
    """Whether this is our own task's cancellation. One that comes from within, of something that it waited for, is a failure
    like others: a task that ended by it would end without a word."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


class BackOff:
    """How long to wait after each failure in a row: from `first` seconds, doubled, up to `most`."""

    def __init__(self, first: float = 0.5, most: float = 30.0) -> None:
        self._first, self._most = first, most
        self.failures = 0

    def failed(self) -> float:
        """One failure more; the seconds to wait now."""
        self.failures += 1
        return min(self._most, self._first * float(2 ** min(self.failures - 1, 16)))

    def worked(self) -> None:
        self.failures = 0

"""Listings that prove something: each begins after it was asked for, and all who ask at the same time share one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pulumi_atlas.models import Compute, Listing
from pulumi_atlas.rules.clock import Clock

__all__ = ["Listings"]

#: How long others may join before a listing begins, seconds.
_WINDOW_S = 0.015


class Listings:
    """Those of one account. While one is under way, everybody who asks shares the next: two at most are waited for."""

    def __init__(self, clock: Clock, fetch: Callable[[], Awaitable[Listing[Compute]]]) -> None:
        self._clock, self._fetch = clock, fetch
        self._running: asyncio.Task[Listing[Compute]] | None = None
        self._next: asyncio.Task[Listing[Compute]] | None = None

    async def fresh(self) -> Listing[Compute]:
        """A listing that begins from now on. The provider's errors pass through."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
            self._next.add_done_callback(_look)
        return await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[Listing[Compute]] | None) -> Listing[Compute]:
        if before is not None:
            await asyncio.wait({before})
        await self._clock.sleep(_WINDOW_S)
        self._running, self._next = self._next, None
        return await self._fetch()


def _look(task: asyncio.Task[Any]) -> None:
    """Look at a failure even when everybody who waited for it has left."""
    if not task.cancelled():
        task.exception()

"""Tasks that end before their parent does, however often the parent is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

__all__ = ["race", "settle"]


async def race(work: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> bool:
    """Run both until the first ends, and cancel the other one. True when `work` ended by itself. Raises what they raise.

    A request may be cancelled by its server, by the guard and by its visitor's leaving, all at once. Here `work` is
    cancelled once, so that it closes what it opened, and this returns when it has.
    """
    tasks = asyncio.create_task(work), asyncio.create_task(other)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        won = tasks[0].done()
    finally:
        await settle(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
    return won


async def settle(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait for them. A cancellation of ours that comes meanwhile is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    for task in tasks:
        task.cancel()
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen
    if cancelled is not None:
        raise cancelled

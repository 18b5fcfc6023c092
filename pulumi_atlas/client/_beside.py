"""Notes are written beside the event loop: many at once, so that their waits for the disk are shared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

__all__ = ["beside"]

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 32


async def beside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run short blocking work in a thread. It is never left half way: a cancellation waits for its end.

    While the interpreter ends, threads take nothing new; then it is done here, because a note must be written.
    """
    try:
        future = _pool().submit(work, *args, **kwargs)
    except RuntimeError:
        return work(*args, **kwargs)
    task = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten
        raise


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="atlas-notes")

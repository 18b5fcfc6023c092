"""Blocking work beside the event loop, and locks that are waited for without blocking it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import ParamSpec, TypeVar

from pulumi_atlas.errors import AtlasError, ProviderFailure, TimedOut
from pulumi_atlas.providers.local._store import Kind, Store

__all__ = ["finish", "hold", "speaking"]

P = ParamSpec("P")
T = TypeVar("T")

_POLL_S = 0.02
_LOCK_TIMEOUT_S = 90.0


async def finish(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run short blocking work in a thread. A cancellation waits for its end, so that nothing goes on behind our back."""
    task: asyncio.Task[T] = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten
        raise


@contextlib.asynccontextmanager
async def hold(store: Store, kind: Kind, id: str) -> AsyncIterator[None]:
    """Hold the lock of one thing while awaiting. Raises TimedOut when another process holds it for too long."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(store.locked(kind, id, timeout_s=0))
                break
            except TimedOut as error:
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"{id} is being changed by another process", hint="repeat the command later"
                    ) from error
            await asyncio.sleep(_POLL_S)
        yield


@contextlib.contextmanager
def speaking(operation: str) -> Iterator[None]:
    """Sign every error with the provider's name and the operation; a damaged record is one too."""
    try:
        yield
    except AtlasError as error:
        error.provider = error.provider or "local"
        error.operation = error.operation or operation
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ProviderFailure(
            f"a record in the provider's folder is damaged: {type(error).__name__}: {str(error).splitlines()[0]}",
            provider="local",
            operation=operation,
            hint="look at the record.json files below ATLAS_LOCAL_DIR",
        ) from error

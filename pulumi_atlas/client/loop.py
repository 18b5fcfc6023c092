"""One background event loop per process, so that synchronous callers and worker threads share one connection pool."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run"]

T = TypeVar("T")

_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop] | None = None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its result. An interrupt cancels it and is passed on."""
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except concurrent.futures.CancelledError:
        raise
    except BaseException:
        future.cancel()
        raise


def _loop() -> asyncio.AbstractEventLoop:
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():  # a forked child has no thread to run it
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="atlas-loop", daemon=True).start()
            _running = (os.getpid(), loop)
        return _running[1]

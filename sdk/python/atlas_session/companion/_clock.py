"""Time and chance, in one thing that tests replace."""

from __future__ import annotations

import asyncio
import random
import threading
import time

__all__ = ["SYSTEM", "Clock"]


class Clock:
    """The machine's clocks, the waits that obey them, and a random number."""

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back; on some systems they stand still while the machine is suspended."""
        return time.monotonic()

    def random(self) -> float:
        """From 0 up to 1, for jitter; no secret is made of it."""
        return random.random()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait until `stop` is set, at most so long. True when it is set."""
        return stop.wait(seconds)

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass for a coroutine."""
        await asyncio.sleep(seconds)


SYSTEM = Clock()

"""Waking those who wait for news of something, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["Bell"]


class Bell:
    """Topics that are waited for and rung. A ring wakes everybody who waits at that moment and is not remembered."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def ring(self, topic: str) -> None:
        for waiter in self._waiting.pop(topic, ()):
            if not waiter.done():
                waiter.set_result(None)

    def ring_all(self) -> None:
        for topic in list(self._waiting):
            self.ring(topic)

    async def wait(self, topic: str, timeout_s: float) -> None:
        """Return at the next ring, or after `timeout_s` seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, set()).add(waiter)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, timeout_s)):
                    await waiter
        finally:
            left = self._waiting.get(topic)
            if left is not None:
                left.discard(waiter)
                if not left:
                    del self._waiting[topic]

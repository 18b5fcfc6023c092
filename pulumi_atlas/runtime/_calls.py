"""The door to the providers: so many calls at once, each with a time-out by our clock, and errors of one kind only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pulumi_atlas.errors import AtlasError, ProviderFailure, TimedOut
from pulumi_atlas.rules.clock import Clock

__all__ = ["Calls"]

T = TypeVar("T")


class Calls:
    """`limit` calls at once; `timeout_s` for each, the wait for a place not counted.

    `told` hears of each: provider, operation, `ok` or the kind of its error, and seconds. It must not block.
    """

    def __init__(self, clock: Clock, *, limit: int, timeout_s: float) -> None:
        self._clock, self._timeout_s = clock, timeout_s
        self.told: Callable[[str, str, str, float], None] = lambda provider, operation, outcome, seconds: None
        self._places = asyncio.Semaphore(limit)
        self.running = 0

    async def __call__(
        self,
        provider: str,
        operation: str,
        call: Callable[[], Awaitable[T]],
        *,
        broken: type[AtlasError] = ProviderFailure,
    ) -> T:
        """What the call returns. Raises TimedOut (it may have had its effect), and AtlasErrors of the provider.

        Whatever else is raised is outside the provider's contract, and becomes an error of the class `broken`.
        """
        async with self._places:
            self.running += 1
            began, outcome = self._clock.monotonic(), "ok"
            try:
                return await self._in_time(provider, operation, call)
            except asyncio.CancelledError:
                outcome = "interrupted"
                raise
            except AtlasError as error:
                outcome = error.kind
                raise
            except Exception as error:
                outcome = "broken"
                text = f"{operation} broke: {type(error).__name__}"
                raise broken(text, provider=provider, operation=operation) from error
            finally:
                self.running -= 1
                self.told(provider, operation, outcome, self._clock.monotonic() - began)

    async def _in_time(self, provider: str, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        work = asyncio.ensure_future(call())
        alarm = asyncio.ensure_future(self._clock.sleep(self._timeout_s))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if work.cancelled():
                raise _FromWithin
            if work.done():
                return work.result()
        finally:
            alarm.cancel()
            work.cancel()
            work.add_done_callback(_look)
        raise TimedOut(f"{operation} took more than {self._timeout_s:g} s", provider=provider, operation=operation)


class _FromWithin(Exception):
    """The provider's code cancelled itself: nobody here wanted that, and whoever asked goes on."""


def _look(task: asyncio.Future[Any]) -> None:
    """Look at a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()

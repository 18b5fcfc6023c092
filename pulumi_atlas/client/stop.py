"""A wish to stop that waits obey: set from a signal handler or a watchdog, seen by every wait within a quarter second."""

from __future__ import annotations

import threading

from pulumi_atlas.errors import Interrupted
from pulumi_atlas.rules.clock import Clock

__all__ = ["Stop"]

_SLICE_S = 0.25


class Stop:
    """`refuse` also forbids beginning anything new; `interrupt` ends the waits as well. Neither can be taken back."""

    def __init__(self) -> None:
        self._no_more = threading.Event()
        self._now = threading.Event()
        self._reason = ""

    def refuse(self, reason: str) -> None:
        """From now on nothing new is begun; what runs may finish."""
        self._reason = self._reason or reason
        self._no_more.set()

    def interrupt(self, reason: str) -> None:
        """Every wait ends with Interrupted; what was begun stays recorded."""
        self.refuse(reason)
        self._now.set()

    def check_begin(self) -> None:
        """Raises Interrupted when nothing new may be begun."""
        if self._no_more.is_set():
            raise Interrupted(f"nothing new is begun: {self._reason}")

    async def wait(self, clock: Clock, seconds: float) -> None:
        """Sleep in slices. Raises Interrupted as soon as the waits are to end."""
        end = clock.monotonic() + seconds
        while True:
            if self._now.is_set():
                raise Interrupted(
                    f"stopped while waiting: {self._reason}", hint="atlas doctor --recover finishes the work"
                )
            left = end - clock.monotonic()
            if left <= 0:
                return
            await clock.sleep(min(left, _SLICE_S))

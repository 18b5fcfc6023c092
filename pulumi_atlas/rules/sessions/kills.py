"""How many may be ended in a minute, and why one may not be ended now."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

__all__ = ["WINDOW_S", "Kills", "Refusal", "refusal"]

#: The span that the cap counts in, seconds.
WINDOW_S = 60.0

#: How soon to ask again when nobody knows when it will be free, seconds.
_SOON_S = 1.0


class Kills:
    """At most `per_minute` kills within any 60 seconds (0: no cap). Times are monotonic.

    A place is taken before the write and counted from when that is done, so that no window ever holds more, however long
    writes take. A place that was not needed is given back.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._done: deque[float] = deque()
        self._pending = 0

    def take(self, now: float) -> bool:
        """Whether there was a place; then `done` or `give_back` must follow."""
        if self.free_at(now) > now:
            return False
        self._pending += 1
        return True

    def done(self, now: float) -> None:
        """The kill was written."""
        self._pending -= 1
        if self.per_minute:
            self._done.append(now)

    def give_back(self) -> None:
        """It was not."""
        self._pending -= 1

    def free_at(self, now: float) -> float:
        """When there is a place: now, or later."""
        while self._done and self._done[0] + WINDOW_S <= now:  # the same sum as is told below
            self._done.popleft()
        if not self.per_minute or len(self._done) + self._pending < self.per_minute:
            return now
        return self._done[0] + WINDOW_S if self._done else now + _SOON_S

    def count(self, now: float) -> int:
        """Kills of the last minute, those under way included."""
        self.free_at(now)
        return len(self._done) + self._pending


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a session may not be ended now, and when to ask again (monotonic)."""

    why: Literal["frozen", "outage", "cap"]
    text: str
    look_at: float


def refusal(
    now: float, *, frozen: tuple[str, ...], frozen_until: float | None, outage: str | None, free_at: float
) -> Refusal | None:
    """None: it may be. `frozen`: the reasons of the freeze; `outage`: why its provider counts as down; `free_at`: when the
    cap has a place. What counts for all comes first."""
    if frozen:
        until = now + _SOON_S if frozen_until is None else max(frozen_until, now + 0.1)
        return Refusal("frozen", ", ".join(frozen), min(until, now + _SOON_S))
    if outage is not None:
        return Refusal("outage", outage, now + _SOON_S)
    if free_at > now:
        return Refusal("cap", "as many were ended in the last minute as may be", free_at)
    return None

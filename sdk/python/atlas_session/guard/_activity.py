"""What visitors did since the last report: a count and the time of the last, for each kind of activity."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import NamedTuple

__all__ = ["Activity", "Burst"]


class Burst(NamedTuple):
    """`times` activities, the last of them at `last` (monotonic seconds)."""

    times: int
    last: float

    def after(self, earlier: Burst | None) -> Burst:
        return self if earlier is None else Burst(self.times + earlier.times, max(self.last, earlier.last))


class Activity:
    """Counts, from any thread. `sources`: the kinds that count; the others are ignored."""

    def __init__(self, sources: Collection[str]) -> None:
        self._sources = frozenset(sources)
        self._bursts: dict[str, Burst] = {}
        self._lock = threading.Lock()

    def note(self, source: str, at: float) -> None:
        """One activity at `at` (monotonic seconds)."""
        if source in self._sources:
            self._add(source, Burst(1, at))

    def take(self, source: str) -> Burst | None:
        """What there was of that kind since the last time; it is then forgotten here."""
        with self._lock:
            return self._bursts.pop(source, None)

    def give_back(self, source: str, burst: Burst) -> None:
        """For a report that was lost: it goes out with the next one."""
        self._add(source, burst)

    def waiting(self) -> list[str]:
        """The kinds of which there is something to report, by name."""
        with self._lock:
            return sorted(self._bursts)

    def forget(self) -> None:
        """In a forked child: what the parent counted is the parent's to report, and its lock may be held for ever."""
        self._lock = threading.Lock()
        self._bursts = {}

    def _add(self, source: str, burst: Burst) -> None:
        with self._lock:
            self._bursts[source] = burst.after(self._bursts.get(source))

"""What visitors did since the last report: a count and the time of the last, for each kind of activity."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import NamedTuple

__all__ = ["Activity", "Burst"]


class Burst(NamedTuple):
    """`times` activities, the last of them at `last` (monotonic seconds)."""

    times: int
    last: float

    def after(self, earlier: Burst | None) -> Burst:
        return self if earlier is None else Burst(self.times + earlier.times, max(self.last, earlier.last))


_NOTHING = Burst(0, float("-inf"))


class Activity:
    """Counts, from any thread. `sources`: the kinds that count; the others are ignored."""

    def __init__(self, sources: Collection[str]) -> None:
        self._sources = frozenset(sources)
        self._bursts: dict[str, Burst] = {}
        self._lock = threading.Lock()

    def note(self, source: str, at: float) -> None:
        """One activity at `at` (monotonic seconds)."""
        if source in self._sources:
            with self._lock:
                times, last = self._bursts.get(source, _NOTHING)
                self._bursts[source] = Burst(times + 1, max(last, at))

    def take(self) -> dict[str, Burst]:
        """What there was since the last time, by kind; it is then forgotten here."""
        with self._lock:
            taken, self._bursts = self._bursts, {}
        return taken

    def give_back(self, bursts: Mapping[str, Burst]) -> None:
        """For a report that was lost: it goes out with the next one."""
        for source, burst in bursts.items():
            self._add(source, burst)

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to report."""
        return bool(self._bursts)

    def forget(self) -> None:
        """In a forked child: what the parent counted is the parent's to report, and its lock may be held for ever."""
        self._lock = threading.Lock()
        self._bursts = {}

    def _add(self, source: str, burst: Burst) -> None:
        with self._lock:
            self._bursts[source] = burst.after(self._bursts.get(source))

"""How many workers there should be: a decision over values and a passed-in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Backoff", "Limits", "Plan", "State", "View", "plan"]

#: `starting` has not asked for a job yet; `ending` was told to end and is still there.
State = Literal["starting", "idle", "running", "ending"]


@dataclass(frozen=True)
class Limits:
    """At least `min` and at most `max` workers; one that had no job for `idle_timeout_s` seconds ends, down to `min`."""

    min: int
    max: int
    idle_timeout_s: float


@dataclass(frozen=True)
class View:
    """A worker as the decision sees it."""

    id: str
    state: State
    idle_since: float = 0.0


@dataclass(frozen=True)
class Backoff:
    """Workers that died before they were of any use: how many in a row, and until when none is started."""

    failures: int = 0
    until: float = 0.0

    def after_failure(self, now: float) -> Backoff:
        """Half a second after the first, then doubled each time up to half a minute."""
        return Backoff(self.failures + 1, now + min(30.0, 0.5 * 2.0 ** min(self.failures, 10)))


@dataclass(frozen=True)
class Plan:
    """Start so many workers, end these, and so many are wanted but held back by the back-off."""

    start: int = 0
    end: tuple[str, ...] = ()
    held_back: int = 0


def plan(waiting: int, workers: Sequence[View], limits: Limits, backoff: Backoff, now: float) -> Plan:
    """What to do now. Never more than `max` processes, those that are ending included; a running worker is never ended.

    While the back-off is on after a failure, one worker at a time is tried.
    """
    idle = [w for w in workers if w.state == "idle"]
    starting = sum(w.state == "starting" for w in workers)
    alive = len(idle) + starting + sum(w.state == "running" for w in workers)
    wanted = max(limits.min - alive, waiting - len(idle) - starting, 0)
    possible = min(wanted, max(0, limits.max - len(workers)))
    allowed = possible
    if backoff.failures:
        allowed = min(possible, 1 if now >= backoff.until and not starting else 0)
    return Plan(start=allowed, end=_to_end(idle, alive, waiting, limits, now), held_back=possible - allowed)


def _to_end(idle: Sequence[View], alive: int, waiting: int, limits: Limits, now: float) -> tuple[str, ...]:
    by_age = sorted(idle, key=lambda w: (w.idle_since, w.id))
    too_many = max(0, alive - limits.max)
    if not waiting:
        rested = sum(now - w.idle_since >= limits.idle_timeout_s for w in by_age)
        too_many = max(too_many, min(rested, alive - limits.min))
    return tuple(w.id for w in by_age[: max(0, too_many)])

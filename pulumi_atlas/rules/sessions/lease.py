"""When does a session end, and when is its user to be warned of that?

Idle time is counted on the monotonic clock, so that a turned wall clock ends nothing; lifetime, pauses and money are
promises in wall time. A `Moment` holds both clocks, read together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pulumi_atlas.models.session import Cause, SessionState

__all__ = [
    "WARN_AT_SHARE",
    "Deadline",
    "DeadlineKind",
    "Moment",
    "Tenure",
    "Verdict",
    "cost_at",
    "deadlines",
    "judge",
    "marks",
    "price_of",
    "remaining_s",
    "settled",
    "warned_of",
]

DeadlineKind = Literal["idle", "lifetime", "budget", "paused"]

#: A budget is warned of when this share of it is spent.
WARN_AT_SHARE = 0.8

_CAUSES: dict[DeadlineKind, Cause] = {
    "idle": "idle",
    "lifetime": "lifetime",
    "budget": "budget",
    "paused": "paused_too_long",
}
_LIVE: frozenset[SessionState] = frozenset({"requested", "provisioning", "ready", "pausing", "paused", "resuming"})


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by both clocks: `wall` in unix seconds, `mono` in seconds that never jump."""

    wall: float
    mono: float

    def mono_of(self, wall: float) -> float:
        """The monotonic time at which the wall clock will show `wall`."""
        return self.mono + (wall - self.wall)


class Tenure(Protocol):
    """What decides about a session's end. `…_mono` are monotonic seconds, the other times unix seconds.

    `active_at`, `keep_until`: last activity, and until when it was asked to be kept; what counts names the idle deadline.
    After a restart `grace_mono` is the earliest that idleness may end it; None once fresh activity was told of. `warned`
    holds the identities of the deadlines that were warned of, with spaces between: see `warned_of`.
    """

    state: SessionState
    active_mono: float
    active_at: float
    keep_mono: float | None
    keep_until: float | None
    grace_mono: float | None
    idle_ttl_s: float
    warn_before_s: float
    max_lifetime_s: float | None
    expires_at: float | None
    paused_at: float | None
    paused_ttl_s: float
    budget: float | None
    cost_settled: float
    cost_per_hour: float | None
    cost_since: float | None
    warned: str | None


@dataclass(frozen=True, slots=True)
class Deadline:
    """An end that will come unless something changes. `identity` names it, without spaces: one warning for each. Times are
    monotonic."""

    kind: DeadlineKind
    at: float
    warn_at: float | None
    identity: str

    @property
    def cause(self) -> Cause:
        return _CAUSES[self.kind]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now: `end` or `warn` because of `deadline`, or nothing until `look_at` (monotonic; None: nothing is due)."""

    act: Literal["end", "warn", "wait"]
    deadline: Deadline | None
    look_at: float | None


def cost_at(settled: float, per_hour: float | None, since: float | None, wall: float) -> float:
    """Money so far. What has no known price counts as nothing here; time that went backwards too."""
    if per_hour is None or since is None:
        return settled
    return settled + per_hour * max(0.0, wall - since) / 3600.0


def price_of(told: float | None) -> float | None:
    """A price as a provider tells it; one that is no sum of money is not known."""
    return told if told is not None and math.isfinite(told) and told >= 0 else None


def settled(
    settled: float, per_hour: float | None, since: float | None, wall: float, price: float | None
) -> dict[str, Any]:
    """The fields of a row whose money is counted up to now, and from now on by another price (None: not known)."""
    return {
        "cost_settled": cost_at(settled, per_hour, since, wall),
        "cost_per_hour": price_of(price),
        "cost_since": wall,
    }


def deadlines(tenure: Tenure, now: Moment) -> list[Deadline]:
    """All that can end the session in its present state, the earliest first."""
    if tenure.state not in _LIVE:
        return []
    found = [_idle(tenure), _lifetime(tenure, now), _budget(tenure, now), _paused(tenure, now)]
    return sorted((one for one in found if one is not None), key=lambda one: one.at)


def judge(tenure: Tenure, now: Moment) -> Verdict:
    """The verdict at this moment. At its deadline a session ends; never before."""
    found = deadlines(tenure, now)
    if found and found[0].at <= now.mono:
        return Verdict("end", found[0], now.mono)
    looks, warned = [], marks(tenure.warned)
    for one in found:
        looks.append(one.at)
        if one.warn_at is None or one.identity in warned:
            continue
        if one.warn_at <= now.mono:
            return Verdict("warn", one, now.mono)
        looks.append(one.warn_at)
    return Verdict("wait", None, min(looks, default=None))


def remaining_s(tenure: Tenure, now: Moment) -> float | None:
    """Seconds until the first deadline, 0 or more; None when there is none."""
    found = deadlines(tenure, now)
    return max(0.0, found[0].at - now.mono) if found else None


def marks(warned: str | None) -> tuple[str, ...]:
    """The deadlines that were warned of, by identity. Several may stand at once, or two would be warned of in turns for ever."""
    return tuple((warned or "").split())


def warned_of(tenure: Tenure, now: Moment, identity: str, *, keep: str = "") -> str:
    """What `warned` becomes when that deadline is warned of too; those that passed are dropped. `keep`: how marks begin
    that are no deadline of the session's own."""
    current = {one.identity for one in deadlines(tenure, now)}
    stay = [mark for mark in marks(tenure.warned) if mark in current or (keep and mark.startswith(keep))]
    return " ".join([*(mark for mark in stay if mark != identity), identity])


def _idle(t: Tenure) -> Deadline | None:
    if t.state != "ready":
        return None
    at, name = t.active_mono + t.idle_ttl_s, f"{t.active_at:.3f}/0.000"
    if t.keep_mono is not None and t.keep_mono > at:  # only what moves the deadline names it
        at, name = t.keep_mono, f"/{t.keep_until or 0:.3f}"
    if t.grace_mono is not None:
        at = max(at, t.grace_mono)
    return _made("idle", at, min(t.warn_before_s, t.idle_ttl_s / 2), name)


def _lifetime(t: Tenure, now: Moment) -> Deadline | None:
    if t.expires_at is None:
        return None
    before = min(t.warn_before_s, (t.max_lifetime_s or t.warn_before_s * 2) / 2)
    return _made("lifetime", now.mono_of(t.expires_at), before, f"{t.expires_at:.3f}")


def _paused(t: Tenure, now: Moment) -> Deadline | None:
    if t.state != "paused" or t.paused_at is None:
        return None
    at = t.paused_at + t.paused_ttl_s
    return _made("paused", now.mono_of(at), min(t.warn_before_s, t.paused_ttl_s / 2), f"{at:.3f}")


def _budget(t: Tenure, now: Moment) -> Deadline | None:
    if t.budget is None:
        return None
    ends, warns = _reached(t, t.budget, now), _reached(t, t.budget * WARN_AT_SHARE, now)
    if ends is None:
        return None
    return Deadline("budget", ends, warns if t.warn_before_s > 0 else None, f"budget:{t.budget!r}")


def _reached(t: Tenure, amount: float, now: Moment) -> float | None:
    """The monotonic time at which so much is spent; None when it never will be."""
    left = amount - t.cost_settled
    if left <= 0:
        return now.mono
    if not t.cost_per_hour or t.cost_since is None:
        return None
    at = now.mono_of(t.cost_since + left / t.cost_per_hour * 3600.0)
    return at if math.isfinite(at) else None


def _made(kind: DeadlineKind, at: float, before_s: float, identity: str) -> Deadline:
    return Deadline(kind, at, at - before_s if before_s > 0 else None, f"{kind}:{identity}")

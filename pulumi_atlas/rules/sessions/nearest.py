"""The first deadline alone, for where it is asked thousands of times a second: what `lease.deadlines` says first, in a
quarter of its time. And when to look first, for a start with a hundred thousand sessions. Properties hold them together."""

from __future__ import annotations

from typing import NamedTuple

from pulumi_atlas.rules.sessions.lease import DeadlineKind, Moment, Tenure, deadlines, judge

__all__ = ["Nearest", "first_look", "nearest"]


class Nearest(NamedTuple):
    """`at` and `warn_at` are monotonic seconds; `warn_at` None: there is no warning."""

    kind: DeadlineKind
    at: float
    warn_at: float | None


def nearest(tenure: Tenure, now: Moment) -> Nearest | None:
    """The first thing that will end or pause the session, None when nothing will."""
    if tenure.state != "ready" or tenure.budget is not None:
        first = deadlines(tenure, now)[:1]
        return Nearest(first[0].kind, first[0].at, first[0].warn_at) if first else None
    kind: DeadlineKind = "idle"
    at, within = tenure.active_mono + tenure.idle_ttl_s, tenure.idle_ttl_s / 2
    if tenure.keep_mono is not None and tenure.keep_mono > at:
        at = tenure.keep_mono
    if tenure.grace_mono is not None and tenure.grace_mono > at:
        at = tenure.grace_mono
    before = tenure.warn_before_s
    if tenure.expires_at is not None:
        ends = now.mono + (tenure.expires_at - now.wall)
        if ends < at:
            kind, at = "lifetime", ends
            within = (tenure.max_lifetime_s or before * 2) / 2
    before = min(before, within)
    return Nearest(kind, at, at - before if before > 0 else None)


def first_look(tenure: Tenure, now: Moment) -> float | None:
    """Monotonic time by which `judge` is to be asked: never later than it would say, None when it would say none.

    May be earlier: whether a warning was given already is left to the look.
    """
    if tenure.state == "ready" and tenure.budget is None:
        first = nearest(tenure, now)
        if first is not None and first.at - tenure.warn_before_s > now.mono:
            return first.at - tenure.warn_before_s
    return judge(tenure, now).look_at

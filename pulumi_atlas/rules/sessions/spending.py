"""What an owner has spent, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from pulumi_atlas.models.session import SessionState
from pulumi_atlas.rules.sessions.lease import WARN_AT_SHARE, Moment, cost_at

__all__ = ["MARK", "Costly", "Spending", "judge_spending", "mark_of", "spending"]

#: How the mark of a warning about an owner's budget begins.
MARK = "owner_budget:"

#: How long to leave an owner alone at most while it is near or over its budget: old sessions leave the window, seconds.
_LOOK_S = 3600.0


class Costly(Protocol):
    """A session that is not final, as far as money goes."""

    state: SessionState
    cost_settled: float
    cost_per_hour: float | None
    cost_since: float | None


@dataclass(frozen=True, slots=True)
class Spending:
    """Money spent so far in the window, and how much more each hour."""

    spent: float
    per_hour: float


def mark_of(budget: float) -> str:
    """Names the warning about this budget, among the marks of a session."""
    return f"{MARK}{budget!r}"


def spending(settled: float, sessions: Iterable[Costly], wall: float) -> Spending:
    """`settled`: money of the owner's final sessions in the window; `sessions`: those that are not final, all of whose money
    counts. What has no known price counts as nothing."""
    spent, per_hour = settled, 0.0
    for one in sessions:
        spent += cost_at(one.cost_settled, one.cost_per_hour, one.cost_since, wall)
        per_hour += one.cost_per_hour or 0.0
    return Spending(spent, per_hour)


def judge_spending(budget: float, money: Spending, now: Moment) -> tuple[Literal["fine", "warn", "stop"], float | None]:
    """What to do about the owner, and when to look again by the monotonic clock (None: when something changes)."""
    if money.spent >= budget:
        return "stop", now.mono + _LOOK_S
    act: Literal["fine", "warn"] = "warn" if money.spent >= budget * WARN_AT_SHARE else "fine"
    if money.per_hour <= 0:
        return act, now.mono + _LOOK_S if act == "warn" else None
    until_s = ((budget if act == "warn" else budget * WARN_AT_SHARE) - money.spent) / money.per_hour * 3600.0
    return act, now.mono + min(until_s, _LOOK_S)

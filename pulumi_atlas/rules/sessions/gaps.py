"""Time that counts as nobody's idleness: no companion lived in it, or the wall clock leapt over it.

A gap is two wall times. Gaps are kept with the store: a second restart must not hold against a session what the first one
forgave.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["MOST", "Gap", "lost_s", "with_gap", "without_future"]

#: Begin and end, unix seconds.
Gap = tuple[float, float]

#: So many are kept. Beyond that the two oldest become one, with what lies between: that forgives more, never less.
MOST = 64


def with_gap(gaps: Iterable[Gap], begin: float, end: float) -> tuple[Gap, ...]:
    """The gaps and one more, in order; those that meet are one. A gap that ends before it begins is none."""
    found: list[Gap] = []
    for one in sorted([*gaps, (begin, end)] if end > begin else gaps):
        if found and one[0] <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], one[1]))
        else:
            found.append(one)
    while len(found) > MOST:
        found[:2] = [(found[0][0], found[1][1])]
    return tuple(found)


def without_future(gaps: Iterable[Gap], now: float) -> tuple[Gap, ...]:
    """The gaps up to now: after the wall clock was turned back, what lies ahead is still to come."""
    return tuple((begin, min(end, now)) for begin, end in gaps if begin < now)


def lost_s(gaps: Iterable[Gap], since: float) -> float:
    """How many seconds since then lie in gaps."""
    return sum(max(0.0, end - max(begin, since)) for begin, end in gaps)

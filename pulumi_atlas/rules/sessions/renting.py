"""What follows when renting a session's pod did not go well?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pulumi_atlas.errors import Kind
from pulumi_atlas.models.session import Session

__all__ = ["Next", "after_failure", "after_search", "price_is_missing", "retry_s"]

#: Errors of a create after which the pod may exist.
_DOUBTFUL: frozenset[Kind] = frozenset({"unknown_outcome", "timeout", "interrupted"})

#: Errors by which nothing was rented, and that may pass.
_TRANSIENT: frozenset[Kind] = frozenset({"no_capacity", "rate_limited", "transport", "provider"})

_MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Next:
    """`look`: the birth is looked for. `again`: rent after so many seconds. `give_up`: it is over, nothing was rented."""

    act: Literal["look", "again", "give_up"]
    wait_s: float = 0.0


def after_failure(kind: Kind, *, attempts: int, left_s: float, retry_after: float | None = None) -> Next:
    """After a create that raised an error of this kind. `attempts`: those made; `left_s`: until the ready time-out."""
    if kind in _DOUBTFUL:
        return Next("look")
    wait = retry_s(attempts, retry_after)
    if kind in _TRANSIENT and wait < left_s:
        return Next("again", wait)
    return Next("give_up")


def retry_s(attempts: int, retry_after: float | None = None) -> float:
    """Seconds until the next try: 1, 2, 4 … 60, and never before the provider wants to be asked again."""
    return max(min(_MOST_S, 2.0 ** min(max(0, attempts - 1), 10)), retry_after or 0.0)


def after_search(
    *, found: bool, complete: bool, same_account: bool, sure: bool
) -> Literal["adopt", "absent", "search"]:
    """After a listing in which a birth was looked for. `sure`: the listing is old enough to show all that was begun."""
    if found:
        return "adopt"
    return "absent" if complete and same_account and sure else "search"


def price_is_missing(session: Session, price: float | None) -> bool:
    """A budget cannot be kept when nobody knows what the pod costs."""
    return session.budget is not None and price is None

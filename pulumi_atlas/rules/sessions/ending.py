"""When is a pod asked to end again, and when is it confirmed that it has?"""

from __future__ import annotations

from dataclasses import dataclass

from pulumi_atlas.models import Compute
from pulumi_atlas.rules.gone import Presence, presence

__all__ = ["Again", "after_try", "is_there", "seen"]

_FIRST_S = 10.0
_MOST_S = 320.0


@dataclass(frozen=True, slots=True)
class Again:
    """When to try again, seconds from now, and whether the session counts as irrevocable until then."""

    wait_s: float
    irrevocable: bool


def after_try(attempts: int, *, tries: int, slow_s: float) -> Again:
    """After try number `attempts` (from 1) that was not confirmed: 10, 20, 40 … 320 s, then every `slow_s`, for ever."""
    if attempts > tries:
        return Again(slow_s, True)
    return Again(min(_MOST_S, _FIRST_S * 2.0 ** min(attempts - 1, 10)), False)


def is_there(pod: Compute | None) -> bool:
    """Whether this look at a pod shows one that may cost money. Clouds show a terminated one for a while."""
    return pod is not None and pod.status != "terminated"


def seen(
    got: Compute | None, listed: Compute | None, *, complete: bool, same_account: bool, age_s: float, lag_s: float
) -> Presence:
    """What a GET and a listing say together; `gone` takes both, a complete listing, and the account it was made in."""
    return presence(
        get_found=is_there(got),
        list_found=is_there(listed),
        list_complete=complete and same_account,
        age_s=age_s,
        lag_s=lag_s,
    )

"""Is a thing gone? Only its own account can say so, and a wrong answer recreates what still runs."""

from __future__ import annotations

from typing import Literal

__all__ = ["Presence", "presence"]

Presence = Literal["present", "gone", "not_sure"]


def presence(*, get_found: bool, list_found: bool, list_complete: bool, age_s: float | None, lag_s: float) -> Presence:
    """`gone` takes: GET says not found, and absent from a complete list, and older than the provider's listing lag."""
    if get_found or list_found:
        return "present"
    if not list_complete or (age_s is not None and age_s < lag_s):
        return "not_sure"
    return "gone"

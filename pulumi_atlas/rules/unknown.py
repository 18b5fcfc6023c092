"""A value that is not known yet, as it appears at preview when an input comes from something not made so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["UNKNOWN", "Unknown", "holds_unknown", "reaches_unknown"]


class Unknown:
    """The type of `UNKNOWN`: equal to nothing but itself, true in no condition."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


def holds_unknown(value: Any) -> bool:
    """Whether the value is, or anywhere holds, an unknown."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Mapping):
        return any(holds_unknown(inner) for inner in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return any(holds_unknown(inner) for inner in value)
    return False


def reaches_unknown(value: Any, path: Sequence[int | str]) -> bool:
    """Whether following `path` into the value meets an unknown on the way, or ends at a value that holds one."""
    for step in path:
        if isinstance(value, Unknown):
            return True
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            break
    return holds_unknown(value)

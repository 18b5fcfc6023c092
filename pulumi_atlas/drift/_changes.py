"""Which properties differ, and how: from the engine's paths and blinded values. What may be secret is not shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pulumi_atlas.drift._events import Seen
from pulumi_atlas.drift.findings import Change

__all__ = ["MASK", "changes_of"]

MASK: Final = "***"

#: How the engine writes a secret in a value, and in its place.
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_BLINDED = "[secret]"

_STEP = re.compile(r'\.?([^.\[\]"]+)|\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]')
_SECRET_NAME = re.compile(r"(^|_|-)(api_?key|key|token|secret|passw(or)?d|authorization|credentials?)$", re.IGNORECASE)

#: Inputs of ours that nobody declares.
_HIDDEN = frozenset({"__provider", "birth", "owner", "problems"})


def changes_of(seen: Seen) -> tuple[Change, ...]:
    """One change for each property that differs; of a list the whole list is one property."""
    found: dict[str, Change] = {}
    for path in seen.paths:
        steps = _named(_steps(path))
        if not steps or steps[0] in _HIDDEN:
            continue
        name = ".".join(steps)
        found.setdefault(name, Change(name, _shown(seen, steps, "declared"), _shown(seen, steps, "live")))
    return tuple(found[name] for name in sorted(found))


def _steps(path: str) -> list[str | int]:
    return [
        int(index) if index else re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for plain, quoted, index in _STEP.findall(path)
    ]


def _named(steps: Sequence[str | int]) -> list[str]:
    """Up to the first index."""
    kept: list[str] = []
    for step in steps:
        if isinstance(step, int):
            break
        kept.append(step)
    return kept


def _shown(seen: Seen, steps: Sequence[str], side: str) -> Any:
    """The value, masked where it is a secret, or where nobody has declared that it is none."""
    declared, value = _at(seen.declared, steps), _at(getattr(seen, side), steps)
    if value is None:
        return None
    if _SECRET_NAME.search(steps[-1]) or _holds_secret(declared):
        return MASK
    if declared is None and (steps[0] == "env" or _holds_secret(seen.declared.get(steps[0]))):
        return MASK  # put there by somebody else: only they know what it is
    if steps[0] == "env" and isinstance(value, Mapping):
        value = {name: inner if name in (declared or {}) else MASK for name, inner in value.items()}
    return _masked(value)


def _at(values: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if not isinstance(values, Mapping) or _is_secret(values):
            break
        values = values.get(step)
    return values


def _is_secret(value: Any) -> bool:
    return value == _BLINDED or (isinstance(value, Mapping) and _SIGNATURE in value)


def _holds_secret(value: Any) -> bool:
    if _is_secret(value):
        return True
    if isinstance(value, Mapping):
        return any(_holds_secret(inner) for inner in value.values())
    return isinstance(value, list) and any(_holds_secret(inner) for inner in value)


def _masked(value: Any) -> Any:
    if _is_secret(value):
        return MASK
    if isinstance(value, Mapping):
        return {key: MASK if _SECRET_NAME.search(str(key)) else _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value

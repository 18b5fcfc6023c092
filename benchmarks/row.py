"""One measured figure, as it is printed and as `results/bench.json` keeps it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

__all__ = ["Row", "against", "counted", "holds"]

_AIM = re.compile(r"(ratio|value) (<=|>=) ([0-9.]+)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Row:
    """A figure. `counterpart` says in words what it is measured against, and how often.

    `aim` is ``"ratio <= 0.25"``, ``"value <= 60"`` or None for a figure that only informs; `holds` is then None too.
    """

    name: str
    value: float
    unit: str
    counterpart: str
    counterpart_value: float | None
    ratio: float | None
    aim: str | None
    holds: bool | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def against(
    name: str, unit: str, values: Sequence[float], counterpart: str, others: Sequence[float], aim: str | None
) -> Row:
    """A row from repeated measurements of the figure and its counterpart: their medians. Each needs at least one value."""
    value, other = median(values), median(others)
    return _row(name, value, unit, f"{counterpart} ({_how_often(len(values))})", other, aim)


def counted(name: str, unit: str, value: float, counterpart: str, other: float | None, aim: str | None) -> Row:
    """A row of something that is counted and does not vary."""
    return _row(name, value, unit, counterpart, other, aim)


def holds(aim: str, *, value: float, ratio: float | None) -> bool:
    """Whether the aim is met. Raises ValueError for an aim that says neither, or a ratio that there is none of."""
    found = _AIM.fullmatch(aim)
    if found is None:
        raise ValueError(f"not an aim: {aim!r}; say 'ratio <= 0.25' or 'value <= 60'")
    measured = value if found[1] == "value" else ratio
    if measured is None:
        raise ValueError(f"the aim {aim!r} needs a counterpart")
    return _COMPARE[found[2]](measured, float(found[3]))


def _row(name: str, value: float, unit: str, counterpart: str, other: float | None, aim: str | None) -> Row:
    ratio = value / other if other else None
    met = None if aim is None else holds(aim, value=value, ratio=ratio)
    shown = None if ratio is None else round(ratio, 3)
    return Row(name, round(value, 3), unit, counterpart, None if other is None else round(other, 3), shown, aim, met)


def _how_often(times: int) -> str:
    return "measured once" if times == 1 else f"medians of {times}"

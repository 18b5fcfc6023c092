"""The rows for a person: at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from benchmarks.row import Row

__all__ = ["render"]

_WIDTH = 80
_HEAD = ("figure", "value", "against", "ratio", "aim", "")
_WIDTHS = (27, 9, 9, 6, 14, 14)


def render(rows: Sequence[Row]) -> str:
    """A table of all rows, then what each is measured against."""
    lines = [_line(_HEAD), "-" * _WIDTH, *(_line(_cells(row)) for row in rows), ""]
    for row in rows:
        lines += _explained(row)
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    verdict = "" if row.holds is None else "holds" if row.holds else "does not hold"
    against = "" if row.counterpart_value is None else _number(row.counterpart_value, row.unit)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return (row.name, _number(row.value, row.unit), against, ratio, row.aim or "", verdict)


def _number(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value:.2f} s"
    return f"{value:.0f} {unit}" if unit == "ms" else f"{value:g}"


def _line(cells: tuple[str, ...]) -> str:
    name, value, against, ratio, aim, verdict = cells
    a, b, c, d, e, _ = _WIDTHS
    return f"{name:<{a}}{value:>{b}}{against:>{c}}{ratio:>{d}}  {aim:<{e}}{verdict}".rstrip()


def _explained(row: Row) -> Iterator[str]:
    text = f"{row.name}: {row.unit}; against {row.counterpart}"
    yield from textwrap.wrap(text, _WIDTH, subsequent_indent="  ")

"""What a drift report looks like for a person: a table of at most 80 columns, with what differs and the next command."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pulumi_atlas.cli._table import clean
from pulumi_atlas.cli._views import money

if TYPE_CHECKING:
    from pulumi_atlas.drift import DriftItem, DriftReport

__all__ = ["WIDTH", "lines", "summary"]

WIDTH = 80
_HEAD = ("STATUS", "KIND", "NAME", "ID", "$/H")
_MOST = (11, 8, 24, 24, 8)
_VALUE = 30


def lines(report: DriftReport) -> Iterator[str]:
    """The whole report, line by line; the last one sums up."""
    if report.items:
        rows = [_cells(item) for item in report.items]
        widths = [max(len(row[place]) for row in (_HEAD, *rows)) for place in range(len(_HEAD))]
        yield _line(_HEAD, widths)
        for item, row in zip(report.items, rows, strict=True):
            yield _line(row, widths)
            yield from _details(item)
        yield ""
    yield from textwrap.wrap(summary(report), WIDTH)


def summary(report: DriftReport) -> str:
    """One sentence."""
    if not report.items:
        return f"Stack {report.stack} is as its state says."
    counts = Counter(item.status for item in report.items)
    told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())
    costs = sum(item.cost_per_hour or 0.0 for item in report.items)
    money_ = f"; these cost {money(costs)} per hour" if costs else ""
    end = "" if report.complete else ". Not everything could be judged"
    return f"Stack {report.stack}: {told}{money_}{end}."


def _cells(item: DriftItem) -> tuple[str, ...]:
    name = item.name or (item.urn or "").rpartition("::")[2]
    cells = (item.status, item.kind or "", name or item.provider or "", item.id or "", money(item.cost_per_hour))
    return tuple(clean(cell) if len(cell) <= most else "…" for cell, most in zip(cells, _MOST, strict=True))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _details(item: DriftItem) -> Iterator[str]:
    for label, text, most in (("name", item.name, _MOST[2]), ("id", item.id or "", _MOST[3])):
        if len(text) > most:
            yield from _wrapped(f"{label}: {text}")
    for change in item.changes:
        yield from _wrapped(f"{change.property}: {_value(change.declared)} → {_value(change.live)}")
    names_again = item.status == "changed" and item.kind != "stack" and item.changes
    if item.reason and not names_again:
        yield from _wrapped(item.reason)
    if item.next:
        yield from _wrapped(f"next: {item.next}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(clean(text), WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if value == "***" else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE else text[: _VALUE - 1] + "…"

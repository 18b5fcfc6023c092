"""Tables: rich's on a terminal, plain aligned columns in a pipe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["clean", "fields", "on_terminal", "plain"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STYLES: Mapping[str, str] = {
    "running": "green",
    "ready": "green",
    "completed": "green",
    "high": "green",
    "provisioning": "yellow",
    "starting": "yellow",
    "in_queue": "yellow",
    "in_progress": "yellow",
    "stopped": "dim",
    "terminated": "dim",
    "failed": "red",
    "timed_out": "red",
    "unavailable": "dim",
}


def clean(text: str) -> str:
    """Without control characters: what a cloud lets people call their machines may not drive our user's terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns with a head, never cut; an empty cell is `-`, so that each line has as many words as the head."""
    columns, rows = _without_empty(columns, rows)
    lines = [list(columns), *([clean(cell) or "-" for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    texts = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(text.rstrip() + "\n" for text in texts)


def on_terminal(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that fits the terminal: ids stay whole, other long cells are folded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns, rows = _without_empty(columns, rows)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        right = name.endswith(("/H", "GB"))
        table.add_column(name, no_wrap=number == 0, overflow="fold", justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(clean(cell), style=_STYLES.get(cell, "")) for cell in row))
    Console(highlight=False, soft_wrap=False).print(table)


def fields(pairs: Sequence[tuple[str, str]]) -> str:
    """Aligned names and values, one a line; a value of several lines is indented under its first."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    lines = []
    for name, value in shown:
        first, *more = value.split("\n")
        lines.append(f"{name.ljust(width)}  {clean(first)}\n")
        lines += [f"{' ' * width}  {clean(line)}\n" for line in more]
    return "".join(lines)


def _without_empty(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return [columns[place] for place in kept], [[row[place] for place in kept] for row in rows]

"""`results/bench.json`: a list of rows. A run of some figures replaces only its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.row import Row

__all__ = ["DEFAULT", "merged", "write"]

DEFAULT = Path(__file__).resolve().parent / "results" / "bench.json"


def write(path: Path, rows: Sequence[Row], *, keep_others: bool) -> None:
    """Write the rows; with `keep_others`, rows of other names that the file holds stay."""
    old: list[dict[str, Any]] = json.loads(path.read_text()) if keep_others and path.exists() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(merged(old, rows), indent=1, ensure_ascii=False) + "\n")


def merged(old: Sequence[dict[str, Any]], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The old rows with those of the same name replaced in their places, new names at the end."""
    fresh = {row.name: row.as_json() for row in rows}
    kept = [fresh.pop(row["name"], row) for row in old]
    return [*kept, *fresh.values()]

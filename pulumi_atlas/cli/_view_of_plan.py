"""What the reaper's plan looks like to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_atlas.cli._output import Out

__all__ = ["tell"]

COLUMNS = ("SESSION", "ACT", "BECAUSE OF", "HELD BACK BY")


def tell(out: Out, plan: Mapping[str, Any]) -> None:
    """The plan as a table, and what freezes it all."""
    frozen = plan.get("frozen") or ()
    if frozen:
        out.line(f"kills are frozen: {', '.join(map(str, frozen))}")
    rows = [_row(row) for row in plan.get("acts") or ()]
    out.table(COLUMNS, rows, none="there is nothing to do now")


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    held = row.get("held") or row.get("held_back") or ""
    text = ", ".join(map(str, held)) if isinstance(held, list | tuple) else str(held)
    return (str(row.get("id", "")), str(row.get("act", "")), str(row.get("deadline", "") or row.get("cause", "")), text)

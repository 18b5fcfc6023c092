#!/usr/bin/env python3
"""Writes the tables of README.md that are made from the code; with --check, only says whether they are up to date.

A table stands between `<!-- made by tools/readme_tables.py: NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def capabilities() -> str:
    """Provider × optional ability, and in words what the ability is."""
    from pulumi_atlas.providers import registry
    from pulumi_atlas.providers.contract import ABILITIES, abilities

    names = [name for name, row in registry.rows().items() if row.source == "pulumi_atlas"]
    able = {name: abilities(registry.load(name)) for name in names}
    head = ["ability", "in words", *(f"`{name}`" for name in names)]
    rows = [
        [f"`{ability}`", _first_sentence(protocol), *("yes" if ability in able[name] else "–" for name in names)]
        for ability, (protocol, _) in ABILITIES.items()
    ]
    return table(head, rows)


def exit_codes() -> str:
    """What `atlas` ends with."""
    from pulumi_atlas.cli import _exit

    rows = re.findall(r"^(\d+) +(\S.*)$", inspect.getdoc(_exit) or "", re.M)
    return table(["code", "meaning"], [list(row) for row in rows])


TABLES: Mapping[str, Callable[[], str]] = {"capabilities": capabilities, "exit codes": exit_codes}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def renewed(text: str) -> str:
    """The text with each of its tables as the code has it now. Raises ValueError when a table has no place."""
    for name, make in TABLES.items():
        begin, end = f"<!-- made by tools/readme_tables.py: {name} -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"README.md has no place for the table '{name}'")
        text = f"{before}{begin}\n{make()}\n{end}{after}"
    return text


def main() -> int:
    text = README.read_text(encoding="utf-8")
    new = renewed(text)
    if "--check" in sys.argv[1:]:
        return int(new != text)
    README.write_text(new, encoding="utf-8")
    return 0


def _first_sentence(protocol: type) -> str:
    text = " ".join((inspect.getdoc(protocol) or "").split())
    return re.split(r"(?<=[.:])\s", text)[0].rstrip(".:")


if __name__ == "__main__":
    sys.exit(main())

"""Searches the notes. A generator: each note that is found leaves as a chunk of its own (`atlas jobs stream`)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def handle(job: dict[str, Any]) -> Iterator[str]:
    word = str(job["input"]["word"]).lower()
    notes = Path(os.environ["SHELF"]) / "notes.txt"
    for line in notes.read_text(encoding="utf-8").splitlines() if notes.exists() else ():
        if word in line.lower():
            yield line

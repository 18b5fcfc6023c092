"""What `import pulumi_atlas` and one resource class add to the start of a program that imports pulumi anyway."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from benchmarks.project import Bench, MeasurementFailed
from benchmarks.row import Row, counted

__all__ = ["measure"]

_BARE = "import pulumi"
_OURS = "import pulumi; import pulumi_atlas as atlas; atlas.Pod"
_AIM_MS = 60


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Fresh interpreters, in turns; the first of each only warms the caches of the machine."""
    repeats = 3 if quick else 21
    bare: list[float] = []
    ours: list[float] = []
    for turn in range(repeats + 1):
        sides = [(bare, _BARE), (ours, _OURS)]
        for seconds, code in sides if turn % 2 == 0 else reversed(sides):
            seconds.append(_start_ms(code))
    bare, ours = bare[1:], ours[1:]
    added = median(one - other for one, other in zip(ours, bare, strict=True))
    text = (
        f"the start of an interpreter that imports pulumi alone; the value is what we add (median of {repeats} pairs)"
    )
    return [counted("import_one_resource", "ms", added, text, median(bare), f"value <= {_AIM_MS}")]


def _start_ms(code: str) -> float:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise MeasurementFailed(f"python -c {code!r} ended with {done.returncode}")
    return (time.perf_counter() - began) * 1000

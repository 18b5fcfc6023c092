"""`python -m benchmarks [--only NAME] [--quick] [--output FILE]`.

Ends with 0 also when an aim does not hold (the table says so), and with 1 when something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import programs, results_file, table
from benchmarks.figures import (
    companion_100k,
    companion_cull,
    companion_life,
    companion_touch,
    guard_overhead,
    import_time,
    local_pods,
    requests,
    signed_access,
    up,
)
from benchmarks.project import Bench, MeasurementFailed
from benchmarks.row import Row
from pulumi_atlas import engine
from pulumi_atlas.errors import AtlasError

__all__ = ["FIGURES", "main"]

Measure = Callable[..., list[Row]]

FIGURES: dict[str, Measure] = {
    "import": import_time.measure,
    "up-floor": up.measure_floor,
    "up-40": up.measure_forty,
    "up-100": up.measure_provisioning,
    "requests": requests.measure,
    "local": local_pods.measure,
    "signed-access": signed_access.measure,
    "guard": guard_overhead.measure,
    "companion-touch": companion_touch.measure,
    "companion-cull": companion_cull.measure,
    "companion-100k": companion_100k.measure,
    "companion-life": companion_life.measure,
}

#: Figures that run no engine, and so need no warm-up of one.
WITHOUT_ENGINE = frozenset(
    {"import", "signed-access", "guard", "companion-touch", "companion-cull", "companion-100k", "companion-life"}
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write the results."""
    options = _parser().parse_args(argv)
    chosen = options.only or list(FIGURES)
    print(_machine(), flush=True)
    rows: list[Row] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        for name in chosen:
            began = time.perf_counter()
            try:
                rows += FIGURES[name](_prepared(Path(folder), name), quick=options.quick)
            except (MeasurementFailed, AtlasError, OSError, subprocess.SubprocessError) as error:
                failed = True
                print(f"{name}: could not be measured: {error}", file=sys.stderr)
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    print(f"\n{table.render(rows)}")
    output = options.output or (None if options.quick else results_file.DEFAULT)
    if output is not None and rows:
        results_file.write(output, rows, keep_others=len(chosen) < len(FIGURES) or failed)
        print(f"\nwritten: {os.path.relpath(output)}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(FIGURES), help="measure this figure; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few resources, once: to see that it works")
    parser.add_argument(
        "--output", type=Path, help="where to write the rows (with --quick nothing is written otherwise)"
    )
    return parser


def _prepared(folder: Path, name: str) -> Bench:
    """A bench of its own for each figure, with both kinds of program run once, so that no cache is cold."""
    bench = Bench(folder / name)
    if name not in WITHOUT_ENGINE:
        bench.project(programs.pods(1, up.MOCK_PODS)).up()
        bench.project(programs.naive(1)).up()
    return bench


def _machine() -> str:
    load = os.getloadavg()[0]
    found = engine.find()
    parts = f"{os.cpu_count()} cores, load {load:.1f}", f"Python {platform.python_version()}", f"engine {found.version}"
    return " · ".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())

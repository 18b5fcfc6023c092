"""Requests that a refresh of 200 pods, and an `up` without changes, send to the cloud."""

from __future__ import annotations

from pathlib import Path

from benchmarks import programs
from benchmarks.figures.up import MOCK_PODS
from benchmarks.project import Bench, MeasurementFailed, Project
from benchmarks.row import Row, counted
from pulumi_atlas.providers.mock import World

__all__ = ["measure"]

_WIDE = 64


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Counts what the mock cloud recorded, all operations together, and what an empty provider's reads would send."""
    count = 40 if quick else 200
    ours = bench.project(programs.pods(count, MOCK_PODS))
    world = World.open(ours.environ["ATLAS_MOCK_FILE"])
    ours.up()
    if len(world.pods) != count:
        raise MeasurementFailed(f"{len(world.pods)} pods were made, not {count}")
    wide = max(_requests(world, ours, "refresh", _WIDE) for _ in range(1 if quick else 3))
    default = max(_requests(world, ours, "refresh", None) for _ in range(1 if quick else 3))
    idle = _requests(world, ours, "up", _WIDE)
    naive = _naive_requests(bench, count)
    text = f"reads of an empty dynamic provider that asks for each of its {count} resources"
    most = "; the most of 3 runs" if not quick else ""
    return [
        counted("refresh_200_pods", "requests", wide, f"{text}, --parallel 64{most}", naive, "value <= 5"),
        counted(
            "refresh_200_pods_default", "requests", default, f"{text}, default parallelism{most}", naive, "value <= 10"
        ),
        counted("up_unchanged", "requests", idle, "nothing: no request is needed", None, "value <= 0"),
    ]


def _requests(world: World, project: Project, verb: str, parallel: int | None) -> int:
    world.clear_calls()
    if verb == "refresh":
        project.refresh(parallel)
    else:
        project.up(parallel)
    return len(world.calls())


def _naive_requests(bench: Bench, count: int) -> int:
    calls = bench.folder / "naive.calls"
    calls.unlink(missing_ok=True)
    project = bench.project(programs.naive(count), {"NAIVE_CALLS": str(calls)})
    project.up()
    project.refresh()
    return _lines(calls)


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())

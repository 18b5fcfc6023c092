"""`pulumi up` of many pods on the mock cloud, against an empty dynamic provider: with and without provisioning delay."""

from __future__ import annotations

from benchmarks import programs
from benchmarks.project import Bench
from benchmarks.row import Row, against

__all__ = ["MOCK_PODS", "measure_floor", "measure_forty", "measure_provisioning", "pair"]

MOCK_PODS = 'provider="mock", command=["serve"], image="example/image:1"'


def measure_provisioning(bench: Bench, *, quick: bool) -> list[Row]:
    """100 pods that take 1 s each; the counterpart sleeps 1 s on the dynamic process's own 4 threads."""
    count = 20 if quick else 100
    ours, theirs = pair(bench, count, 1.0, repeats=1 if quick else 3)
    text = f"{count} resources of an empty dynamic provider whose create sleeps 1 s, 4 threads"
    return [against("up_100_pods_1s", "s", ours, text, theirs, "ratio <= 0.25")]


def measure_forty(bench: Bench, *, quick: bool) -> list[Row]:
    """40 pods that take 1 s each."""
    count = 12 if quick else 40
    ours, theirs = pair(bench, count, 1.0, repeats=1 if quick else 3)
    text = f"{count} resources of an empty dynamic provider whose create sleeps 1 s, 4 threads"
    return [against("up_40_pods_1s", "s", ours, text, theirs, "ratio <= 0.5")]


def measure_floor(bench: Bench, *, quick: bool) -> list[Row]:
    """100 pods without delay: what we add to the engine's own work."""
    count = 20 if quick else 100
    ours, theirs = pair(bench, count, 0.0, repeats=1 if quick else 5)
    text = f"{count} resources of an empty dynamic provider: the engine's floor"
    return [against("up_100_pods_floor", "s", ours, text, theirs, "ratio <= 1.3")]


def pair(bench: Bench, count: int, delay_s: float, *, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of `up` of our pods and of the naive ones, taken in turns, the first one changing each time."""
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(repeats):
        sides = [(ours, _ours), (theirs, _theirs)]
        for seconds, side in sides if turn % 2 == 0 else reversed(sides):
            seconds.append(side(bench, count, delay_s))
    return ours, theirs


def _ours(bench: Bench, count: int, delay_s: float) -> float:
    """The cloud is in the provider process's memory: a file would cost time that no cloud costs us."""
    cloud = {"ATLAS_MOCK_PROVISION_S": str(delay_s), "ATLAS_MOCK_FILE": ""}
    return bench.project(programs.pods(count, MOCK_PODS), cloud).up()


def _theirs(bench: Bench, count: int, delay_s: float) -> float:
    return bench.project(programs.naive(count, sleep_s=delay_s)).up()

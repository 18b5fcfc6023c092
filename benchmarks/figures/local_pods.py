"""40 pods on `local`: real processes, each usable when its command has run for 1 s."""

from __future__ import annotations

from benchmarks import programs
from benchmarks.project import Bench
from benchmarks.row import Row, against

__all__ = ["measure"]

_PODS = 'provider="local", command=["sleep", "3600"]'


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Create and destroy. The counterpart of the create sleeps 1 s on 4 threads and starts nothing."""
    count = 8 if quick else 40
    ups: list[float] = []
    downs: list[float] = []
    naive_ups: list[float] = []
    naive_downs: list[float] = []
    for _ in range(1 if quick else 2):
        ours = bench.project(programs.pods(count, _PODS))
        try:
            ups.append(ours.up())
        finally:
            downs.append(ours.destroy())
        theirs = bench.project(programs.naive(count, sleep_s=1.0))
        naive_ups.append(theirs.up())
        naive_downs.append(theirs.destroy())
    text = f"{count} resources of an empty dynamic provider whose create sleeps 1 s, 4 threads, and starts no process"
    floor = f"{count} resources of an empty dynamic provider, which has nothing to destroy"
    return [
        against("up_40_local_pods", "s", ups, text, naive_ups, "ratio <= 0.5"),
        against("destroy_40_local_pods", "s", downs, floor, naive_downs, None),
    ]

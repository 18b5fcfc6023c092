"""A companion that is started with 100,000 sessions in its store, beside one with none: memory, and the time until it is ready."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.parts.companion import serving
from benchmarks.parts.filled import fill, ready_session
from benchmarks.project import Bench, MeasurementFailed
from benchmarks.row import Row, against

__all__ = ["measure"]

#: Without an account's key it cannot be asked, so that no session is found to be gone, and nothing is sent.
_PROVIDER = "runpod"
_SETTINGS = {"inspect_interval_s": 3600}


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Whole processes: from their start to the ready line, as `atlas runtime serve` is started; memory a second later."""
    count, starts = (1_000, 1) if quick else (100_000, 5)
    full, empty = _Side(bench.folder / "full", count), _Side(bench.folder / "empty", 0)
    for side in (full, empty):
        asyncio.run(_filled(side.store, side.count))
        side.start(counts=False)  # the first one makes the admin key, and warms the disk's cache
    for turn in range(starts):
        for side in (full, empty) if turn % 2 else (empty, full):
            side.start()
    added = [a - b for a, b in zip(full.rss_mb, empty.rss_mb, strict=True)]
    none, size = "the same with an empty store", f"{count:,} sessions, started"
    return [
        against("companion_100k_memory", "MB (RSS)", full.rss_mb, none, empty.rss_mb, "value <= 300"),
        against("companion_100k_added", "MB (RSS)", added, f"{size}, less {none}", empty.rss_mb, None),
        against("companion_100k_restart", "s", full.ready_s, none, empty.ready_s, "value <= 3"),
        against("companion_100k_restart_cpu", "s", full.cpu_s, f"{none}, CPU time", empty.cpu_s, None),
    ]


@dataclass
class _Side:
    """A store of so many sessions, and what its starts took."""

    folder: Path
    count: int
    rss_mb: list[float] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "store" / "sessions.db"

    def start(self, *, counts: bool = True) -> None:
        with serving(self.folder, _SETTINGS, store=self.store) as api:
            cpu_s = api.process.cpu_s()
            if f" {self.count} sessions" not in api.process.first:
                raise MeasurementFailed(f"the companion said {api.process.first!r}")
            time.sleep(1)  # what a start leaves behind is given back, or not
            if counts:
                self.rss_mb.append(api.process.rss_mb())
                self.ready_s.append(api.began_s)
                self.cpu_s.append(cpu_s)
            held = api.ask("GET", "/v1/status")["sessions"].get("ready", 0)
            if held != self.count:
                raise MeasurementFailed(f"{held} of {self.count} sessions are still ready")


async def _filled(store: Path, count: int) -> None:
    now = time.time()
    await fill(store, count, lambda number: ready_session(number, provider=_PROVIDER, now=now))

"""The parts of the companion's figures, at their smallest: the load is whole, and what is not measured is not made up."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import FIGURES, WITHOUT_ENGINE
from benchmarks.figures import companion_touch
from benchmarks.parts import hub
from benchmarks.parts.filled import fill, ready_session
from benchmarks.parts.load import Load, post, put_on
from benchmarks.parts.processes import ROOT, running
from benchmarks.project import Bench, MeasurementFailed
from pulumi_atlas.runtime.store import open_store

NAMES = {"companion-touch", "companion-cull", "companion-100k", "companion-life"}


def test_the_figures_are_there_and_need_no_engine() -> None:
    assert FIGURES.keys() >= NAMES and NAMES <= WITHOUT_ENGINE


def test_a_filled_store_holds_live_sessions_with_their_tokens(tmp_path: Path) -> None:
    async def act() -> None:
        path = tmp_path / "store" / "sessions.db"
        await fill(path, 3, lambda number: ready_session(number, provider="mock", now=1e9))
        store = open_store(f"sqlite:///{path}")
        await store.open(name="bench", now=1e9)
        found = [one async for one in store.live()]
        await store.aclose()
        assert len(found) == 3 and {one.state for one in found} == {"ready"}
        for one in found:
            assert one.touch_hash == hashlib.sha256(f"touch-{one.id}".encode()).hexdigest()

    asyncio.run(act())


def test_the_load_counts_whole_answers_and_sends_each_request_once_when_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.parts.bare", "300"]
    with running(command, cwd=ROOT, log=tmp_path / "log") as process:
        requests = [post("/touch", "key", "{}") for _ in range(10)]
        loaded = put_on(Load(int(process.first), requests, connections=2, seconds=0.3, warm_s=0.0, once=True))
        assert loaded.done == 10 and loaded.statuses == {"200": 10} and loaded.body_bytes == 300
        assert process.cpu_s() > 0 and process.rss_mb() > 1


def test_a_program_that_does_not_start_is_told_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    with pytest.raises(MeasurementFailed, match="no such thing"), running(command, cwd=tmp_path, log=tmp_path / "log"):
        pass


def test_a_hub_that_cannot_be_installed_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path, users: int) -> None:
        raise MeasurementFailed("there is no network")

    monkeypatch.setattr(hub, "served", refused)
    side = companion_touch._Side(None, None)  # type: ignore[arg-type]
    side.rates.append(1000.0)
    (row,) = companion_touch._beside_hub(Bench(tmp_path), side, 1.0, quick=True)
    assert (row.value, row.counterpart_value, row.ratio, row.holds) == (1000.0, None, None, None)
    assert "not measured: there is no network" in row.counterpart

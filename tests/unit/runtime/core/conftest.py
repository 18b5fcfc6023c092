"""The kit beside these tests can be imported by its name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from core_kit import CrashAt, Stage, install


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage in a world of its own. Nothing is started."""
    made = Stage(tmp_path)
    install(monkeypatch, made)
    yield made
    made.companion.feed.close()


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> CrashAt:
    return CrashAt(monkeypatch, stage)

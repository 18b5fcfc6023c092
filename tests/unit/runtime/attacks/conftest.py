"""The kits of the tests of the core and of the watch can be imported by their names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.with_name("core")))
sys.path.insert(0, str(Path(__file__).parent.with_name("watch")))
sys.path.insert(0, str(Path(__file__).parent.with_name("store")))

from core_kit import Stage, install


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage in a world of its own. Nothing is started."""
    made = Stage(tmp_path)
    install(monkeypatch, made)
    yield made
    made.companion.feed.close()

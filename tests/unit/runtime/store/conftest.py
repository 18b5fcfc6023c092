"""A fresh store for each implementation."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from store_kit import IMPLEMENTATIONS, NOW

from pulumi_atlas.runtime.store.contract import Store


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Each call is another companion on the same store, not opened yet."""
    return lambda: IMPLEMENTATIONS[request.param](tmp_path)


@pytest.fixture
async def store(make_store: Callable[[], Store]) -> AsyncIterator[Store]:
    """An open, empty store."""
    made = make_store()
    await made.open(name="tests", now=NOW)
    yield made
    await made.aclose()

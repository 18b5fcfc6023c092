"""A companion in memory on a socket, and clients of it. The kit beside these tests can be imported by its bare name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from companion_kit import Face, FakeClock, FakeCompanion

from atlas_session.companion import CompanionClient


@pytest.fixture
def companion() -> Iterator[FakeCompanion]:
    """It fails the test when a client broke the contract."""
    with FakeCompanion() as server:
        yield server
    assert server.violations == []


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(companion: FakeCompanion, clock: FakeClock) -> Iterator[CompanionClient]:
    with CompanionClient(companion.url, key=companion.key, clock=clock) as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest, companion: FakeCompanion, clock: FakeClock) -> Iterator[Face]:
    """Either face of the client, with the same verbs for a test: lists for iterators, results for coroutines."""
    with Face(request.param, companion.url, key=companion.key, clock=clock) as made:
        yield made

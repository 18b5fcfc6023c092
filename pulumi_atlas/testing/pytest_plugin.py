"""Fixtures for the tests of your own programs, without the engine and without an account. Loaded by pytest itself.

::

    def test_the_trainer_gets_a_volume(atlas_program):
        made = atlas_program("infrastructure")          # a folder with a Pulumi.yaml, or a function
        assert made["trainer"].inputs["volumes"] == {"/workspace": made["data"].id}
        assert made.outputs["notebook"].startswith("https://")

    def test_a_pod_that_dies_is_noticed(atlas, atlas_mock_world):
        pod = atlas.spawn_compute(image="busybox", name="worker")
        atlas_mock_world.finish(pod.id, exit_code=1)
        assert my_watcher(atlas) == ["worker failed"]

Fixtures: `atlas_mock_world`, `atlas`, `atlas_program`. Marker: `atlas_live`, for tests that rent real machines. Nothing but
pytest is imported until a fixture is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pulumi_atlas.client import Atlas
    from pulumi_atlas.providers.mock import World
    from pulumi_atlas.testing._pulumi import Program

__all__ = ["atlas", "atlas_mock_world", "atlas_program", "pytest_configure", "pytest_runtest_setup"]

LIVE_VARIABLE = "ATLAS_LIVE"

pytest.register_assert_rewrite("pulumi_atlas.testing.conformance", "pulumi_atlas.testing.stateful")


def pytest_configure(config: pytest.Config) -> None:
    """Registers our marker, so that it exists in strict suites."""
    config.addinivalue_line(
        "markers", f"atlas_live: rents real machines that cost money; skipped unless {LIVE_VARIABLE}=1"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what costs money unless it is asked for."""
    if item.get_closest_marker("atlas_live") and os.environ.get(LIVE_VARIABLE) != "1":
        pytest.skip(f"rents real machines; set {LIVE_VARIABLE}=1 to run it")


@pytest.fixture
def atlas_mock_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A fresh mock cloud. For the length of the test it is the default provider, of other processes too.

    Reach behind it (`finish`, `set_status`, `reclaim`, `remove`), make it fail (`fail_next`, `outage`), turn its clock
    (`freeze`, `advance`), and look at what is there (`pods`, `volumes`, `endpoints`, `jobs`, `calls`).
    """
    from pulumi_atlas.providers.mock import World

    folder = tmp_path / "atlas-mock"
    monkeypatch.setenv("ATLAS_MOCK_FILE", str(folder / "world.json"))
    monkeypatch.setenv("ATLAS_STATE_DIR", str(folder / "state"))
    monkeypatch.setenv("ATLAS_PROVIDER", "mock")
    return World.open(folder / "world.json")


@pytest.fixture
def atlas(atlas_mock_world: World) -> Iterator[Atlas]:
    """A client on the fresh mock cloud."""
    from pulumi_atlas.client import Atlas

    with Atlas("mock") as client:
        yield client


@pytest.fixture
def atlas_program(atlas_mock_world: World) -> Callable[..., Program]:
    """Runs a Pulumi program without the engine; see `run_program` for its arguments and errors.

    ``atlas_program(program, *, config=None, secrets=None, stack="test", project=None, preview=False, others=None)``:
    `program` is a function, a file, or a folder with a `Pulumi.yaml`. Our resources are really checked against the
    provider that the program names, and made on the mock cloud. The result has `resources`, `outputs`, `secrets`,
    `of_type("Pod")`, and `result["name"]` with `id`, `inputs` and `outputs`. Bad arguments raise `InvalidSpec`.
    """
    from pulumi_atlas.testing._pulumi import run_program

    return run_program

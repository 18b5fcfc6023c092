"""The drift report beside a run that is held in the middle of a creation, and after it was killed there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_atlas.drift import report
from pulumi_atlas.drift.reconcile import reconcile
from pulumi_atlas.errors import Conflict
from tests.faults.world import World, make_template

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(make_template(tmp_path / "template"), tmp_path / "round")
    yield one
    one.close()
    one.destroy_everything()


def test_beside_a_running_up_its_things_are_in_progress_and_nothing_is_changed(world: World) -> None:
    world.begin(6, skip=1)
    begun = set(world.open_intents())
    found = report(world.folder, world.environ)
    assert found.of("in_progress") and {item.status for item in found.items} == {"in_progress"}
    assert found.clean and found.complete
    assert begun <= {path.name for path in world.intents()}, "no note of the run's is touched"
    with pytest.raises(Conflict, match="locked by process"):
        reconcile(world.folder, world.environ, leaks="terminate")
    world.let_go()
    assert world.ended() == 0
    assert report(world.folder, world.environ).items == ()


def test_after_a_kill_they_are_unfinished_with_their_ids_and_one_command_mends_it(world: World) -> None:
    world.begin(6, skip=1)
    world.kill("everything")
    world.let_go()
    world.ended()
    stored = {row.get("id") for row in world.resources().values()}
    rented = {thing.id for things in world.things().values() for thing in things} - stored
    found = report(world.folder, world.environ)
    assert {item.status for item in found.items} == {"unfinished"}
    assert rented <= {item.id for item in found.items}
    assert all(item.next == "atlas drift --reconcile" for item in found.items)
    assert reconcile(world.folder, world.environ).report.clean
    assert world.up("--expect-no-changes").code == 0

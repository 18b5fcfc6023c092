"""Recovery on the real engine: when it refuses, when it was itself killed, and when the notes are somewhere else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_atlas.drift.doctor import examine
from pulumi_atlas.drift.recovery import recover
from pulumi_atlas.errors import Conflict
from tests.faults.world import DECLARED, World, make_template

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(make_template(tmp_path / "template"), tmp_path / "round")
    yield one
    one.close()
    one.destroy_everything()


def all_there(world: World) -> bool:
    things = world.things()
    return {kind: sorted(str(thing.name) for thing in things[kind]) for kind in things} == {
        kind: sorted(names) for kind, names in DECLARED.items()
    }


def test_it_refuses_beside_a_running_up_and_changes_nothing(world: World) -> None:
    world.begin(5, skip=1)
    before = {path: path.read_bytes() for path in world.intents()}
    with pytest.raises(Conflict, match="running"):
        recover(world.folder, world.environ)
    assert {path: path.read_bytes() for path in world.intents()} == before
    report = examine(world.folder, world.environ)
    assert [lock["holder"] for lock in report.locks] == ["alive"]
    world.let_go()
    assert world.ended() == 0
    assert all_there(world)
    assert recover(world.folder, world.environ).complete


def test_one_that_was_not_approved_changes_nothing_and_one_that_was_cut_short_is_finished_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin(6, skip=2)
    world.kill("everything")
    world.let_go()
    world.ended()
    refused = recover(world.folder, world.environ, approve=lambda plan: False)
    assert not refused.approved and refused.plan.locks
    assert not examine(world.folder, world.environ).healthy

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pulumi_atlas.drift._pulumi_cli.PulumiCli.up_refresh", killed)
        recover(world.folder, world.environ)
    assert not all_there(world)
    assert recover(world.folder, world.environ).updated
    assert all_there(world)
    assert examine(world.folder, world.environ).healthy


def test_pending_creations_without_notes_are_found_by_their_birth(world: World) -> None:
    world.begin(6, skip=2)
    world.kill("everything")
    world.let_go()
    world.ended()
    shutil.rmtree(Path(world.environ["ATLAS_STATE_DIR"]) / "intents")  # as on a machine that did not write them
    rented = {thing.id for things in world.things().values() for thing in things}
    done = recover(world.folder, world.environ)
    assert done.complete and done.terminated > 0
    assert all_there(world)
    held = {row["id"] for row in world.resources().values()}
    gone = rented - held
    assert len(gone) == done.terminated


def test_a_state_file_that_the_kill_cut_off_gives_way_to_the_engines_copy(world: World) -> None:
    """The engine writes its state in place: killed in the middle of that, it cannot read it any more itself."""
    world.begin(6, skip=2)
    world.kill("everything")
    world.let_go()
    world.ended()
    (state,) = world.state.glob(".pulumi/stacks/*/dev.json")
    state.write_bytes(b"")
    assert any("cut off" in problem.what for problem in examine(world.folder, world.environ).problems)
    assert recover(world.folder, world.environ).complete
    assert all_there(world)
    assert world.open_intents() == []

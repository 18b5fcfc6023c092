"""`atlas release`, `atlas adopt-owner` and `atlas leaks` on stacks of the real engine."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_atlas.ids import Owner
from pulumi_atlas.providers.mock import World
from tests.e2e.command import atlas
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

PROGRAM = """
    data = atlas.Volume("data", size_gb=1)
    web = atlas.Pod("web", image="i", volumes={"/data": data.id}, env={"HF": pulumi.Output.secret("hf_PLANTED_0123456789")})
    solo = atlas.Pod("solo", image="i")
"""
ME = Owner("manual", getpass.getuser())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.open(tmp_path / "mock.json")


@pytest.fixture
def stack(new_project: Callable[..., Project], tmp_path: Path, world: World) -> Project:
    """A stack with three things on a mock cloud that other projects of the test share."""
    made = new_project("first", ATLAS_MOCK_FILE=str(tmp_path / "mock.json"), ATLAS_PROVIDER="mock")
    made.program(PROGRAM).up().ok()
    return made


def owner_ids(world: World) -> dict[str, str]:
    things = [*world.pods.values(), *world.volumes.values()]
    return {str(one.name): one.owner.id for one in things if one.owner}


def ids(project: Project) -> dict[str, str]:
    return {name: str(row["id"]) for name, row in project.resources().items()}


def copy_of(project: Project, folder: Path) -> Project:
    """The same project with a copy of its state, as a moved or forked repository has it."""
    copied = Project(
        folder,
        environ={k: v for k, v in project.environ.items() if k.startswith("ATLAS_MOCK") or k == "ATLAS_PROVIDER"},
    )
    shutil.copytree(project.state, copied.state, dirs_exist_ok=True)
    shutil.copytree(project.folder, copied.folder, dirs_exist_ok=True)
    copied._started = True
    copied.pulumi("stack", "select", "dev").ok()
    return copied


def test_a_released_thing_outlives_its_stack_and_is_no_leak(stack: Project, world: World) -> None:
    solo = ids(stack)["solo"]
    kept = atlas(stack, "release", solo).ok()
    assert "retain_on_delete=True" in kept.out
    assert world.pods[solo].owner == ME
    stack.program(
        PROGRAM.replace('"solo", image="i"', '"solo", image="i", opts=pulumi.ResourceOptions(retain_on_delete=True)')
    )
    stack.up().ok()
    assert world.pods[solo].owner == ME, "an update does not take it back"
    stack.destroy().ok()
    assert list(world.pods) == [solo] and not world.volumes
    assert atlas(stack, "leaks").code == 0


def test_forgotten_at_once_when_that_is_asked_for(stack: Project, world: World) -> None:
    solo = ids(stack)["solo"]
    assert atlas(stack, "release", solo, "--forget").code == 2, "nobody can be asked"
    assert "solo" in ids(stack)
    done = atlas(stack, "release", solo, "--forget", "--yes", "--json").ok().json
    assert (done["forget"], done["owner"]) == (True, str(ME))
    assert "solo" not in ids(stack)
    assert world.pods[solo].status == "running"
    stack.program(PROGRAM.replace('solo = atlas.Pod("solo", image="i")', "")).preview("--expect-no-changes").ok()
    back = atlas(stack, "import", "pod", solo).ok()
    stack.program(PROGRAM.replace('solo = atlas.Pod("solo", image="i")', "") + "\n" + indented(back.out))
    stack.preview("--expect-no-changes").ok()


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


def test_what_others_depend_on_is_not_forgotten(stack: Project, world: World) -> None:
    data = ids(stack)["data"]
    refused = atlas(stack, "release", data, "--forget", "--yes")
    assert refused.code != 0
    assert "data" in ids(stack)


def test_what_another_stack_of_the_backend_still_holds_is_not_taken(stack: Project, world: World) -> None:
    solo = ids(stack)["solo"]
    atlas(stack, "release", solo).ok()
    stack.pulumi("stack", "init", "prod", "--non-interactive").ok()
    refused = atlas(stack, "import", "pod", solo, "--stack", "prod")
    assert refused.code == 5 and "the state of stack proj/dev holds pod" in refused.err
    every = atlas(stack, "import", "--all", "--stack", "prod", "--yes", "--json").ok().json
    assert every["steps"] == [] and solo in {row["id"] for row in every["left"]}
    assert world.pods[solo].owner == ME


def test_another_stacks_thing_is_not_given_up_here(
    stack: Project, new_project: Callable[..., Project], world: World
) -> None:
    other = new_project(
        "second", **{k: v for k, v in stack.environ.items() if k.startswith(("ATLAS_MOCK", "ATLAS_PROV"))}
    )
    other.program("").up().ok()
    solo = ids(stack)["solo"]
    assert atlas(other, "release", solo).code == 5
    assert atlas(other, "import", "pod", solo).code == 5


def test_a_copied_state_gets_an_id_of_its_own_and_takes_over_what_it_keeps(
    stack: Project, world: World, tmp_path: Path
) -> None:
    old = ids(stack)["atlas"]
    copied = copy_of(stack, tmp_path / "copy")
    births = {name: row["inputs"].get("birth") for name, row in copied.resources().items()}
    shown = atlas(copied, "adopt-owner", "--preview", "--json").ok().json
    assert (shown["old_id"], shown["done"], len(shown["taken"])) == (old, False, 3)
    assert set(owner_ids(world).values()) == {old}
    assert atlas(copied, "adopt-owner").code == 2, "nobody can be asked"
    assert ids(copied)["atlas"] == old
    done = atlas(copied, "adopt-owner", "--yes", "--json").ok().json
    assert ids(copied)["atlas"] == done["new_id"] != old
    assert set(owner_ids(world).values()) == {done["new_id"]}
    assert {name: row["inputs"].get("birth") for name, row in copied.resources().items()} == births
    copied.preview("--expect-no-changes").ok()
    copied.drift().ok()
    text = json.dumps(copied.export())
    assert old not in text and "hf_PLANTED" not in text
    copied.destroy().ok()
    assert not world.pods and not world.volumes


def test_a_fork_leaves_everything_to_the_other_copy_and_makes_its_own(
    stack: Project, world: World, tmp_path: Path
) -> None:
    before, old = ids(stack), ids(stack)["atlas"]
    copied = copy_of(stack, tmp_path / "copy")
    atlas(copied, "adopt-owner", "--leave", "all", "--yes").ok()
    assert list(ids(copied)) == ["atlas"]
    assert set(owner_ids(world).values()) == {old}
    copied.up().ok()
    assert len(world.pods) == 4
    assert not set(before.values()) & set(ids(copied).values())
    copied.destroy().ok()
    assert set(world.pods) | set(world.volumes) == set(before.values()) - {old}
    stack.preview("--expect-no-changes").ok()
    assert atlas(stack, "leaks").code == 0


def test_an_interrupted_separation_goes_on_with_the_same_id(stack: Project, world: World, tmp_path: Path) -> None:
    old, solo = ids(stack)["atlas"], ids(stack)["solo"]
    copied = copy_of(stack, tmp_path / "copy")
    world.fail_next("retag", "transport", on=solo)
    assert atlas(copied, "adopt-owner", "--yes").code == 10
    assert ids(copied)["atlas"] == old, "the state is as it was"
    done = atlas(copied, "adopt-owner", "--yes", "--json").ok().json
    assert set(owner_ids(world).values()) == {done["new_id"]} == {ids(copied)["atlas"]}
    assert owner_ids(world)["solo"] == done["new_id"]
    with world.outage():
        assert atlas(copied, "adopt-owner", "--yes").code == 10


def test_two_stacks_of_the_same_names_never_call_each_others_things_leaked(
    stack: Project, new_project: Callable[..., Project], world: World
) -> None:
    twin = new_project("twin", **{k: v for k, v in stack.environ.items() if k.startswith(("ATLAS_MOCK", "ATLAS_PROV"))})
    twin.program(PROGRAM).up().ok()
    alone = atlas(stack, "leaks", "--json").json
    assert {row["standing"] for row in alone["items"]} == {"unknown_stack"}
    assert {row["id"] for row in alone["items"]} == set(ids(twin).values()) - {ids(twin)["atlas"]}
    assert atlas(stack, "leaks", "--stack", "dev", "--state-dir", str(twin.state)).code == 0
    stack.pulumi("state", "delete", stack.resources()["solo"]["urn"], "--yes").ok()
    lost = atlas(stack, "leaks", "--state-dir", str(stack.state), "--state-dir", str(twin.state), "--json")
    assert (lost.code, [row["standing"] for row in lost.json["items"]]) == (7, ["leaked"])

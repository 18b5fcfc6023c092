"""`atlas drift --reconcile` and `--accept` with the real engine: what is put back, what is kept, and when it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pulumi_atlas.drift import report
from pulumi_atlas.drift._pulumi_cli import PulumiCli
from pulumi_atlas.drift._unheld import Unheld
from pulumi_atlas.drift.reconcile import accept, reconcile
from pulumi_atlas.errors import Conflict
from pulumi_atlas.ids import Birth, Owner, Tag
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.processes import host_name
from pulumi_atlas.providers.mock import World
from tests.e2e.project import ONCE, Project
from tests.faults.world import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAM = """
atlas.Volume("data", size_gb=1)
for name in ("a", "b", "c"):
    atlas.Pod(name, command=["x"], image="x:1")
"""


@pytest.fixture
def mocked(tmp_path: Path) -> tuple[Project, World]:
    file = tmp_path / "world.json"
    project = Project(tmp_path, environ={"ATLAS_MOCK_FILE": str(file), "ATLAS_PROVIDER": "mock"})
    project.program(PROGRAM).up().ok()
    return project, World.open(file)


def plant(project: Project, world: World, name: str = "lost", birth: str = "c") -> Compute:
    """A thing of this stack that no state holds."""
    stack_id = project.resources()["atlas"]["id"]
    tag = Tag(Birth(birth * 20), Owner("stack", stack_id, f"atlas:Pod::{name}"))
    return world.plant(ComputeSpec(name=name, command=("x",)), tag=tag)


def lock(project: Project, pid: int, host: str) -> Path:
    folder = project.state / ".pulumi" / "locks" / "organization" / "proj" / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "1.json"
    path.write_text(json.dumps({"pid": pid, "hostname": host}))
    return path


def test_the_programs_will_is_put_back_and_leaks_are_kept_until_somebody_says_so(
    mocked: tuple[Project, World], atlas_command: Callable[..., tuple[int, Any]]
) -> None:
    project, world = mocked
    ids = {name: row["id"] for name, row in project.resources().items()}
    world.change(ids["a"], image="x:2")
    world.set_status(ids["b"], "stopped")
    world.remove(ids["c"])
    lost = plant(project, world)
    code, told = atlas_command(project, "drift", "--reconcile")
    assert code == 2 and "--yes" in told, "nobody can be asked"
    assert lost.id in world.pods and ids["c"] not in world.pods
    code, document = atlas_command(project, "drift", "--reconcile", "--yes", "--json")
    assert code == 7
    assert [(row["status"], row["id"]) for row in document["items"]] == [("leaked", lost.id)]
    a, b = world.pods[ids["a"]], world.pods[ids["b"]]
    assert a.spec is not None and a.spec.image == "x:1" and b.status == "running"
    code, document = atlas_command(project, "drift", "--reconcile", "--leaks", "terminate", "--yes", "--json")
    assert code == 0 and document == {"stack": "dev", "clean": True, "complete": True, "items": []}
    assert sorted(str(pod.name) for pod in world.pods.values()) == ["a", "b", "c"]


def test_each_leak_is_proven_anew_before_it_is_terminated(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    plant(project, world)
    [item] = report(project.folder, project.environ).items
    stranger = "stack:0123456789abcdef:atlas:Pod::lost"  # whose it has become meanwhile
    world.store.write(lambda state, now: state.put("pods", item.id, {**state.row("pods", item.id), "owner": stranger}))
    cli = PulumiCli(project.folder, project.environ)
    outcome = Unheld(project.folder, project.environ, cli).end([item], say=lambda line: None)
    assert not outcome.ended and "does not carry this stack's id" in str(outcome.failed[0][1])
    assert item.id in world.pods


def test_a_lock_is_an_obstacle_unless_its_holder_is_dead_here(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    [ident] = [row["id"] for name, row in project.resources().items() if name == "a"]
    world.change(ident, image="x:2")
    for pid, host in ((os.getpid(), host_name()), (2**22 + 1, "another-host")):
        path = lock(project, pid, host)
        for act in (reconcile, accept):
            with pytest.raises(Conflict, match="locked by process"):
                act(project.folder, project.environ)
        path.unlink()
    lock(project, 2**22 + 1, host_name())
    found = report(project.folder, project.environ)
    assert {item.status for item in found.items} == {"changed", "unfinished"}
    done = reconcile(project.folder, project.environ)
    assert done.acted and done.report.clean
    pod = world.pods[ident]
    assert pod.spec is not None and pod.spec.image == "x:1"


def test_what_is_accepted_becomes_the_state(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    ids = {name: row["id"] for name, row in project.resources().items()}
    world.change(ids["a"], image="x:2")
    world.remove(ids["b"])
    plans: list[list[str]] = []
    refused = accept(project.folder, project.environ, approve=lambda plan: bool(plans.append(list(plan.lines()))))
    assert not refused.acted and len(plans[0]) == 2
    assert accept(project.folder, project.environ).report.clean
    assert project.resources()["a"]["inputs"]["image"] == "x:2" and "b" not in project.resources()
    pod = world.pods[ids["a"]]
    assert pod.spec is not None and pod.spec.image == "x:2"


def test_a_leak_can_be_adopted_and_its_lines_keep_it(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    lost = plant(project, world)
    asked: list[str | None] = []
    done = reconcile(project.folder, project.environ, choose=lambda item: asked.append(item.id) or "adopt")  # type: ignore[func-returns-value]
    assert asked == [lost.id] and not done.failed
    assert done.report.clean
    assert lost.id in {row["id"] for row in project.resources().values()}
    project.program(PROGRAM + done.python.replace("import pulumi_atlas as atlas", "")).up("--expect-no-changes").ok()
    assert lost.id in world.pods


def test_what_was_let_go_on_purpose_is_terminated_only_when_asked_about_alone(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    kept = 'atlas.Pod("kept", command=["x"], opts=pulumi.ResourceOptions(retain_on_delete=True))\n'
    project.program(PROGRAM + kept).up().ok()
    project.program(PROGRAM).up().ok()
    [item] = report(project.folder, project.environ).items
    assert item.status == "leaked" and item.let_go
    done = reconcile(project.folder, project.environ, leaks="terminate")
    assert done.kept == (item,) and item.id in world.pods
    assert reconcile(project.folder, project.environ, choose=lambda item: "terminate").report.clean
    assert item.id not in world.pods


def test_nothing_is_done_when_not_everything_could_be_judged(
    mocked: tuple[Project, World], atlas_command: Callable[..., tuple[int, Any]]
) -> None:
    project, world = mocked
    plant(project, world)
    world.fail_next("list_volumes", "provider", times=None)
    calls = len(world.calls("terminate"))
    code, told = atlas_command(project, "drift", "--reconcile", "--leaks", "terminate", "--yes")
    assert code == 10 and "nothing was done" in told
    assert len(world.calls("terminate")) == calls


def test_what_was_replaced_and_not_yet_deleted_is_deleted(
    mocked: tuple[Project, World], atlas_command: Callable[..., tuple[int, Any]]
) -> None:
    """No lock, no pending operation, and nothing that differs: the state's own row is all that tells of it."""
    project, world = mocked
    old = project.resources()["a"]["id"]
    world.fail_next("terminate", "provider", times=None)
    project.up("--replace", "urn:pulumi:dev::proj::pulumi-python:dynamic/atlas:Pod::a").failed()
    world.clear_faults()
    assert old in world.pods
    [item] = report(project.folder, project.environ).items
    assert (item.status, item.id) == ("unfinished", old)
    code, told = atlas_command(project, "drift", "--reconcile", "--yes")
    assert code == 0, told
    assert old not in world.pods and len(world.pods) == 3


def test_a_copied_state_is_not_brought_to_order_before_it_is_separated(
    mocked: tuple[Project, World], tmp_path: Path
) -> None:
    """What this copy would make anew, the other would take for a leak and end."""
    project, world = mocked
    copied = tmp_path / "copied"
    shutil.copytree(project.state, copied)
    elsewhere = {**project.environ, "PULUMI_BACKEND_URL": f"file://{copied}"}
    alone = reconcile(project.folder, elsewhere, stack="dev")
    assert not alone.acted and [item.kind for item in alone.report.items] == ["stack"]
    world.remove(project.resources()["a"]["id"])
    there = sorted(world.pods)
    with pytest.raises(Conflict, match="moved or copied"):
        reconcile(project.folder, elsewhere, stack="dev")
    assert sorted(world.pods) == there


SLOW = """
import os, pathlib, time
from pulumi.dynamic import CreateResult, Resource, ResourceProvider
class Provider(ResourceProvider):
    def create(self, props):
        if os.environ.get("MARK"):
            pathlib.Path(os.environ["MARK"]).touch()
            time.sleep(600)
        return CreateResult("x", {})
class Slow(Resource):
    def __init__(self, name): super().__init__(Provider(), name, {})
"""


def test_a_pending_creation_of_somebody_elses_resource_is_named_and_left_to_a_person(
    mocked: tuple[Project, World], atlas_command: Callable[..., tuple[int, Any]], tmp_path: Path
) -> None:
    project, _ = mocked
    project.file("slow.py", SLOW)
    project.program(PROGRAM + "from slow import Slow\nSlow('theirs')\n")
    mark = tmp_path / "mark"
    with subprocess.Popen(
        ["pulumi", "up", *ONCE],
        cwd=project.folder,
        env={**project.environ, "MARK": str(mark)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        wait_until("the creation", mark.exists)
        for one in [*psutil.Process(run.pid).children(recursive=True), psutil.Process(run.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    code, document = atlas_command(project, "drift", "--reconcile", "--yes", "--json")
    assert code == 7
    [row] = document["items"]
    assert row["urn"].endswith("::theirs") and "--clear-pending-creates" in row["next"]
    assert atlas_command(project, "drift", "--reconcile", "--yes", "--json") == (7, document)
    project.refresh("--clear-pending-creates").ok()
    assert report(project.folder, project.environ).clean


def test_what_the_program_does_not_declare_is_named_before_the_update_deletes_it(
    mocked: tuple[Project, World], atlas_command: Callable[..., tuple[int, Any]]
) -> None:
    project, world = mocked
    ids = {name: row["id"] for name, row in project.resources().items()}
    world.change(ids["a"], image="x:2")
    project.program(PROGRAM.replace(', "c"', ""))
    plans: list[list[str]] = []
    reconcile(project.folder, project.environ, approve=lambda plan: bool(plans.append(list(plan.lines()))))
    assert f"by that delete pod c ({ids['c']}), which the program does not declare" in plans[0]
    assert ids["c"] in world.pods
    project.program(PROGRAM + "raise RuntimeError('boom')\n")
    code, document = atlas_command(project, "drift", "--reconcile", "--yes", "--json")
    assert code == 10 and "RuntimeError: boom" in document["error"]["message"]
    assert world.pods[ids["a"]].spec.image == "x:2"  # type: ignore[union-attr]

"""`atlas drift` with the real engine: what it finds, what it never says, and that it changes nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.access import Access
from pulumi_atlas.drift import DriftReport, report
from pulumi_atlas.drift.forking import Forker
from pulumi_atlas.ids import Birth, EndpointId, Owner, PodId, Tag, VolumeId
from pulumi_atlas.models import ComputeSpec, EndpointSpec, VolumeSpec
from pulumi_atlas.providers.local import LocalProvider
from pulumi_atlas.providers.mock import World
from pulumi_atlas.rules.diff import PLACEMENT
from tests.e2e.project import Project

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECRET = "sk-planted-0123456789"

#: Each property that the provider returns, changed in one resource that is named after it.
POD: dict[str, tuple[str, Any]] = {
    "command": ('["a", "b"]', ["a", "c"]),
    "container_disk_gb": ("5", 6),
    "env": ('{"A": "1", "T": secret}', {"A": "1", "T": "another-planted"}),
    "gpu_count": ("1", 2),
    "image": ('"x:1"', "x:2"),
    "max_lifetime_s": ("9000", 9001),
    "name": ("", "other"),
    "on_exit": ('"keep"', "stop"),
    "ports": ('["80/http"]', ["81/http"]),
    "provider_options": ('{"exit_code": 3}', {"exit_code": 4}),
    "spot": ("False", True),
    "volume_gb": ("5", 6),
    "volumes": ('{"/d": data.id}', {}),
    "working_dir": ('"/a"', "/b"),
}
VOLUME: dict[str, tuple[str, Any]] = {"name": ("", "other"), "region": ('"eu"', "us"), "size_gb": ("5", 6)}
ENDPOINT: dict[str, tuple[str, Any]] = {
    "command": ('["a", "b"]', ["a", "c"]),
    "env": ('{"T": secret}', {"T": "another-planted"}),
    "execution_timeout_s": ("50", 60),
    "gpu_count": ("1", 2),
    "handler": ("", "m:f"),
    "image": ('"x:1"', "x:2"),
    "max_retries": ("1", 2),
    "name": ("", "other"),
    "queue_ttl_s": ("50", 60),
    "workers": ("atlas.Workers(min=0, max=1)", {"min": 0, "max": 3, "idle_timeout_s": 30.0}),
    "working_dir": ('"/a"', "/b"),
}


def look(project: Project, **more: Any) -> DriftReport:
    return report(project.folder, project.environ, **more)


def told(found: DriftReport) -> dict[str, str]:
    return {(item.urn or item.id or "").rpartition("::")[2]: item.status for item in found.items}


def edit(world: World, table: Any, ident: str, name: str, value: Any) -> None:
    """Change a property as somebody would in a vendor's console."""

    def act(state: Any, now: float) -> None:
        row = state.row(table, ident)
        state.put(table, ident, {**row, "spec": {**row["spec"], name: value}})

    world.store.write(act)


def declared(kind: str, table: dict[str, tuple[str, Any]], always: str) -> str:
    lines = []
    for name, (value, _) in table.items():
        given = "" if not value or f"{name}=" in always else f", {name}={value}"
        lines.append(f'atlas.{kind}("{kind.lower()}-{name.replace("_", "-")}", {always}{given})\n')
    return "".join(lines)


@pytest.fixture
def mocked(tmp_path: Path) -> tuple[Project, World]:
    file = tmp_path / "world.json"
    return Project(tmp_path, environ={"ATLAS_MOCK_FILE": str(file), "ATLAS_PROVIDER": "mock"}), World.open(file)


def test_the_tables_hold_every_property_that_a_provider_returns() -> None:
    assert POD.keys() == ComputeSpec.model_fields.keys() - PLACEMENT - {"template_id"}
    assert VOLUME.keys() == VolumeSpec.model_fields.keys() - {"provider_options"}
    assert ENDPOINT.keys() == EndpointSpec.model_fields.keys() - PLACEMENT - {"provider_options"}


def test_each_property_changed_behind_its_back_is_named_and_nothing_else(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    text = f'secret = pulumi.Output.secret("{SECRET}")\ndata = atlas.Volume("data", size_gb=1)\n'
    text += declared("Pod", POD, "gpu=['h100']") + declared("Volume", VOLUME, "region='eu'").replace(
        '"volume-size-gb", region=', '"volume-size-gb", size_gb=5, region='
    ).replace('"volume-name", region=', '"volume-name", size_gb=5, region=').replace(
        '"volume-region", region=', '"volume-region", size_gb=5, region='
    ).replace(", size_gb=5)", ")")
    text += declared("Endpoint", ENDPOINT, "image='x:1'")
    project.program(text + 'atlas.Pod("pod-power", gpu=["h100"])\n').up().ok()
    for _ in range(5):
        assert look(project).items == (), "an untouched stack"
    before = project.export()
    tables = {"pod": ("pods", POD), "volume": ("volumes", VOLUME), "endpoint": ("endpoints", ENDPOINT)}
    held = project.resources()
    for kind, (table, properties) in tables.items():
        for name, (_, value) in properties.items():
            edit(world, table, held[f"{kind}-{name.replace('_', '-')}"]["id"], name, value)
    world.set_status(held["pod-power"]["id"], "stopped")
    found = look(project)
    wanted = {f"{kind}-{name.replace('_', '-')}": {name} for kind, (_, many) in tables.items() for name in many}
    named = {item.name: {change.property.partition(".")[0] for change in item.changes} for item in found.items}
    assert named == {**wanted, "pod-power": {"desired_status"}}
    assert {item.status for item in found.items if item.name != "pod-power"} == {"changed"}
    assert told(found)["pod-power"] == "stopped"
    assert "planted" not in json.dumps(found.as_json())
    assert project.export() == before, "looking changes nothing"


def test_what_verifies_visitors_changed_behind_its_back_is_named_and_never_shown(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    project.program('pod = atlas.Pod("web", image="x:1", auth="signed_url", env={"A": "1"})\n')
    project.up().ok()
    assert look(project).items == ()
    row = project.resources()["web"]
    env = world.pods[row["id"]].spec.env
    edit(world, "pods", row["id"], "env", {**env, "ATLAS_TOKEN_HASHES": "0" * 64})
    found = look(project)
    [item] = found.items
    assert (item.status, {change.property for change in item.changes}) == ("changed", {"auth"})
    shown = json.dumps(found.as_json())
    for value in env.values():
        assert len(value) < 6 or value not in shown
    project.pulumi("up", "--refresh", "--yes", "--skip-preview").ok()
    assert world.pods[row["id"]].spec.env == env, "the token that was handed out stays good"
    assert look(project).items == ()


def test_on_local_each_property_is_named_too(project: Project) -> None:
    project.program("""
        data = atlas.Volume("data", provider="local", size_gb=1)
        for name in ("command", "env", "max_lifetime_s", "name", "on_exit", "working_dir"):
            atlas.Pod(name.replace("_", "-"), provider="local", command=["sleep", "600"], env={"A": "1"}, max_lifetime_s=9000)
        atlas.Endpoint("workers", provider="local", command=["sleep", "600"], workers=atlas.Workers(min=0, max=1))
        atlas.Pod("stopped", provider="local", command=["sleep", "600"])
        atlas.Pod("job", provider="local", command=["true"])
        atlas.Pod("gone", provider="local", command=["sleep", "600"])
    """).up().ok()
    for _ in range(2):
        assert told(look(project)) == {"job": "finished"}
        assert look(project).clean
    ids = {name: row["id"] for name, row in project.resources().items()}
    local = LocalProvider(Access("local", environ=project.environ))
    changes = {
        "command": ["sleep", "601"],
        "env": {"A": "2"},
        "max_lifetime_s": 9001.0,
        "name": "other",
        "on_exit": "restart",
        "working_dir": str(project.folder),
    }

    async def change() -> None:
        for name, value in changes.items():
            pod = await local.get_compute(PodId(ids[name.replace("_", "-")]))
            assert pod.spec is not None
            spec = ComputeSpec.model_validate({**pod.spec.model_dump(), name: value})
            await local.update_compute(PodId(pod.id), spec, restart=False)
        await local.update_volume(VolumeId(ids["data"]), VolumeSpec(name="data", size_gb=2))
        endpoint = await local.get_endpoint(EndpointId(ids["workers"]))
        assert endpoint.spec is not None
        spec = EndpointSpec.model_validate({**endpoint.spec.model_dump(), "workers": {"min": 0, "max": 2}})
        await local.update_endpoint(EndpointId(endpoint.id), spec, restart=False)
        await local.stop(PodId(ids["stopped"]))
        await local.terminate(PodId(ids["gone"]))

    asyncio.run(change())
    found = look(project)
    assert told(found)["gone"] == "gone" and told(found)["stopped"] == "stopped"
    named = {item.name: {c.property.partition(".")[0] for c in item.changes} for item in found.of("changed")}
    assert named == {**{n.replace("_", "-"): {n} for n in changes}, "data": {"size_gb"}, "workers": {"workers"}}


def test_a_provider_that_does_not_answer_gives_exit_10_and_nothing_gone_or_leaked(
    mocked: tuple[Project, World], atlas_command: Callable[..., tuple[int, Any]]
) -> None:
    project, world = mocked
    project.program("""
        atlas.Volume("data", size_gb=1)
        atlas.Pod("a", command=["x"])
        atlas.Pod("b", command=["x"])
    """).up().ok()
    stack_id = project.resources()["atlas"]["id"]
    world.remove(project.resources()["a"]["id"])
    tag = Tag(Birth("c" * 20), Owner("stack", stack_id, "atlas:Pod::lost"))
    world.plant(ComputeSpec(name="lost", command=("x",)), tag=tag)
    assert sorted(told(look(project)).values()) == ["gone", "leaked"]

    def faults(kind: Any) -> None:
        for operation in ("list_compute", "get_compute"):
            world.fail_next(operation, kind, times=None)

    for kind in ("provider", "timeout"):
        faults(kind)
        found = look(project)
        world.clear_faults()
        assert set(told(found).values()) == {"unreachable"}, kind
        assert not found.complete
        assert all(item.kind == "pod" for item in found.items), "what could be asked was asked"
    world.configure(listing_complete=False)
    assert {item.status for item in look(project).items} <= {"unreachable", "leaked"}
    world.configure(listing_complete=True)
    world.switch_account("other")
    code, document = atlas_command(project, "drift", "--json")
    world.switch_account(None)
    assert code == 10 and document["complete"] is False
    assert {row["status"] for row in document["items"]} == {"unreachable"}


def test_two_stacks_of_the_same_names_never_call_each_others_things_leaked(
    mocked: tuple[Project, World], tmp_path: Path
) -> None:
    project, _ = mocked
    other = Project(
        tmp_path / "second", environ={name: project.environ[name] for name in ("ATLAS_MOCK_FILE", "ATLAS_PROVIDER")}
    )
    for one in (project, other):
        one.program('atlas.Pod("web", command=["x"])\natlas.Volume("data", size_gb=1)').up().ok()
    for one in (project, other):
        assert look(one).items == ()


def test_a_copied_state_is_detected_and_nothing_is_called_leaked(mocked: tuple[Project, World], tmp_path: Path) -> None:
    project, _ = mocked
    project.program('atlas.Pod("web", command=["x"])').up().ok()
    assert look(project).items == ()
    copied = tmp_path / "copied"
    shutil.copytree(project.state, copied)
    project.program('atlas.Pod("web", command=["x"])\natlas.Pod("more", command=["x"])').up().ok()
    project.refresh().ok()
    elsewhere = {**project.environ, "PULUMI_BACKEND_URL": f"file://{copied}"}
    found = report(project.folder, elsewhere, stack="dev")
    assert {item.kind: item.status for item in found.items} == {"stack": "changed", "pod": "unreachable"}
    assert not found.complete
    assert look(project).clean
    forker = Forker(project.folder, elsewhere, stack="dev")
    forker.run(forker.plan())
    assert report(project.folder, elsewhere, stack="dev").clean

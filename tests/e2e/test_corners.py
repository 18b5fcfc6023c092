"""The corners of dynamic providers that users suffer from, on the real engine."""

from __future__ import annotations

import asyncio

import pytest

from pulumi_atlas.access import Access
from pulumi_atlas.ids import PodId
from pulumi_atlas.providers.local import LocalProvider
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

POD = """
pod = atlas.Pod("p", provider="local", command=["sleep", "600"], env={{"A": "{value}"}}, max_lifetime_s=86400,
                ready=atlas.Ready(timeout_s=60), trigger={{"n": 3}})
pulumi.export("id", pod.id)
pulumi.export("exit_code", pod.exit_code)
"""


def test_a_pod_changed_behind_pulumis_back_is_shown_by_property_and_put_back(project: Project) -> None:
    project.program(POD.format(value="1")).up().ok()
    pod = project.atlas.get_compute(project.outputs()["id"])
    assert pod.spec is not None
    local = LocalProvider(Access("local", environ=project.environ))
    changed = pod.spec.model_copy(update={"env": {"A": "other", "B": "new"}})
    asyncio.run(local.update_compute(PodId(pod.id), changed, restart=True))
    seen = project.drift()
    assert seen.code == 7
    assert '"1" => "other"' in seen.out and "+ B" in seen.out
    assert "status" not in seen.out.replace("desired_status", "")
    project.up("--refresh").ok()
    again = project.atlas.get_compute(pod.id)
    assert again.spec is not None and again.spec.env == {"A": "1"}
    assert project.drift().code == 0


def test_an_update_keeps_every_output_and_numbers_stay_whole(project: Project) -> None:
    project.program(POD.format(value="1")).up().ok()
    before = project.resources()["p"]["outputs"]
    project.program(POD.format(value="2")).up().ok()
    after = project.resources()["p"]["outputs"]
    assert after.keys() == before.keys()
    assert after["trigger"] == {"n": 3} and after["max_lifetime_s"] == 86400
    assert project.program(POD.format(value="2")).up("--expect-no-changes").ok()


def test_a_program_that_prints_and_reads_the_clock_runs_once(project: Project) -> None:
    """Nothing of the program is executed in the provider process: only the package is imported there."""
    project.program("""
        import pathlib
        pathlib.Path("runs").open("a").write("x")
        atlas.Pod("p", provider="local", command=["sleep", "600"])
    """).up().ok()
    assert (project.folder / "runs").read_text() == "x"
    project.refresh().ok()
    project.destroy().ok()
    assert (project.folder / "runs").read_text() == "x"


def test_one_failed_create_does_not_lose_the_others(project: Project) -> None:
    project.program("""
        atlas.Pod("bad", provider="local", command=["sh", "-c", "exit 3"])
        for n in range(3):
            atlas.Pod(f"good{n}", provider="local", command=["sleep", "600"])
    """).up().failed()
    kept = [name for name in project.resources() if name.startswith("good")]
    assert len(project.rented()) == len(kept) <= 3
    assert [path for path in project.intents() if '"open"' in path.read_text()] == []
    project.destroy().ok()
    assert project.rented() == []

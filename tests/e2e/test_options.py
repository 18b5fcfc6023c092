"""Pulumi's own options and ways of running work with our resources."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

SLEEP = 'command=["sleep", "600"]'


def test_ignore_changes(project: Project) -> None:
    text = """
    atlas.Pod("p", provider="local", {command}, env={{"A": "{value}"}}, opts=pulumi.ResourceOptions(ignore_changes=["env"]))
    """
    project.program(text.format(command=SLEEP, value="1")).up().ok()
    project.program(text.format(command=SLEEP, value="2")).up("--expect-no-changes").ok()


def test_protect_keeps_the_pod(project: Project) -> None:
    project.program(f'atlas.Pod("p", provider="local", {SLEEP}, opts=pulumi.ResourceOptions(protect=True))').up().ok()
    assert len(project.rented()) == 1
    project.destroy().failed()
    assert len(project.rented()) == 1
    project.pulumi("state", "unprotect", "--all", "--yes").ok()
    project.destroy().ok()
    assert project.rented() == []


def test_retain_on_delete_leaves_the_pod_running(project: Project) -> None:
    project.program(
        f'atlas.Pod("p", provider="local", {SLEEP}, opts=pulumi.ResourceOptions(retain_on_delete=True))'
    ).up().ok()
    (pod_id,) = project.rented()
    project.destroy().ok()
    assert project.atlas.get_compute(pod_id).status == "running"


def test_depends_on_is_obeyed(project: Project) -> None:
    project.program(f"""
        first = atlas.Pod("first", provider="local", {SLEEP})
        atlas.Pod("second", provider="local", {SLEEP}, opts=pulumi.ResourceOptions(depends_on=[first]))
    """)
    done = project.up().ok()
    assert done.out.index("Pod first created") < done.out.index("Pod second creating")


def test_an_alias_keeps_the_pod(project: Project) -> None:
    project.program(f'atlas.Pod("old", provider="local", {SLEEP})').up().ok()
    before = project.rented()
    opts = 'opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(name="old")])'
    project.program(f'atlas.Pod("new", provider="local", {SLEEP}, {opts})').up().ok()
    assert project.rented() == before
    assert project.atlas.get_compute(before[0]).name == "new"


def test_a_pod_in_a_component_is_owned_by_its_qualified_name(project: Project) -> None:
    project.program(f"""
        class Box(pulumi.ComponentResource):
            def __init__(self, name):
                super().__init__("my:Box", name)
                self.pod = atlas.Pod("inner-" + name, provider="local", {SLEEP}, opts=pulumi.ResourceOptions(parent=self))
        a, b = Box("a"), Box("b")
    """).up().ok()
    owners = {str(pod.owner) for pod in project.atlas.list_compute()}
    assert {owner.split(":", 2)[2] for owner in owners} == {
        "my:Box$atlas:Pod::inner-a",
        "my:Box$atlas:Pod::inner-b",
    }
    assert project.up("--expect-no-changes").ok()


def test_an_output_is_another_ones_input_and_an_update_causes_no_cascade(project: Project) -> None:
    text = """
    web = atlas.Pod("web", provider="local", command=["python", "serve.py"], working_dir=".", ports=["80"],
                    env={{"WORD": "{word}"}})
    user = atlas.Pod("user", provider="local", {command}, env={{"URL": web.urls["80"], "ID": web.id}})
    """
    project.program(text.format(word="a", command=SLEEP)).up().ok()
    user = next(pod for pod in project.atlas.list_compute(name="user"))
    url = project.resources()["web"]["outputs"]["urls"]["80"]
    assert user.spec is not None and user.spec.env["URL"] == url
    shown = project.program(text.format(word="b", command=SLEEP)).preview().ok()
    assert "~ 1 to update" in shown.out and "3 unchanged" in shown.out


def test_a_read_pod_is_not_managed(project: Project) -> None:
    pod = project.atlas.spawn_compute(command=["sleep", "600"], name="by-hand")
    project.program(f"""
        seen = atlas.Pod.get("seen", "{pod.id}", provider="local")
        pulumi.export("status", seen.status)
    """).up().ok()
    assert project.outputs()["status"] == "running"
    project.destroy().ok()
    assert project.atlas.get_compute(pod.id).status == "running"


def test_an_inline_program_of_the_automation_api(project: Project) -> None:
    script = project.file("inline.py", """
        import json, os, sys
        import pulumi, pulumi_atlas as atlas
        from pulumi import automation as auto

        def program():
            pod = atlas.Pod("p", provider="local", command=["sleep", "600"])
            pulumi.export("id", pod.id)

        settings = auto.ProjectSettings(name="inline", runtime="python",
                                        backend=auto.ProjectBackend(os.environ["PULUMI_BACKEND_URL"]))
        options = auto.LocalWorkspaceOptions(project_settings=settings)
        stack = auto.create_or_select_stack("dev", project_name="inline", program=program, opts=options)
        made = stack.up()
        again = stack.up()
        seen = stack.refresh()
        stack.destroy()
        print(json.dumps([made.outputs["id"].value, again.summary.resource_changes, seen.summary.resource_changes]))
    """)  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=project.folder,
        env=project.environ,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pod_id, again, seen = json.loads(done.stdout.splitlines()[-1])
    assert pod_id.startswith("pod-")
    assert again == {"same": 3} and seen == {"same": 3}
    assert project.rented() == []

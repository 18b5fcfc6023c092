"""The life of a pod under the real engine: made, unchanged, changed in place, restarted, replaced, stopped, ended, deleted."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable

import psutil
import pytest

from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

WEB = """
pod = atlas.Pod("web", provider="local", command=["python", "serve.py"], working_dir=".", ports=["8888"],
                env={{"WORD": "{word}"}}{more})
pulumi.export("id", pod.id)
pulumi.export("url", pod.urls["8888"])
pulumi.export("status", pod.status)
pulumi.export("exit_code", pod.exit_code)
"""


def web(project: Project, word: str = "one", more: str = "") -> Project:
    return project.program(WEB.format(word=word, more=", " + more if more else ""))


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def wait_until(condition: Callable[[], object], timeout: float = 20) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "this did not come true in time"
        time.sleep(0.05)


def test_a_pod_is_previewed_made_left_alone_and_deleted(project: Project) -> None:
    web(project)
    shown = project.preview().ok()
    assert "+ pulumi-python:dynamic/atlas:Pod: (create)" in shown.out
    assert project.rented() == []
    project.up().ok()
    outputs = project.outputs()
    assert outputs["status"] == "running"
    assert get(outputs["url"]) == "one"
    again = project.up("--expect-no-changes").ok()
    assert "unchanged" in again.out
    assert project.outputs() == outputs
    assert project.intents() == []
    project.destroy().ok()
    assert project.rented() == []
    assert project.resources() == {}
    assert project.intents() == []


def test_changed_environment_restarts_the_pod_in_place(project: Project) -> None:
    web(project).up().ok()
    before = project.outputs()
    pid = project.pod_pid(before["id"])
    shown = web(project, "two").preview().ok()
    assert "WORD" in shown.out and '"one" => "two"' in shown.out
    assert "replace" not in shown.out
    project.up().ok()
    after = project.outputs()
    assert (after["id"], after["url"]) == (before["id"], before["url"])
    assert get(after["url"]) == "two"
    assert project.pod_pid(after["id"]) != pid


def test_a_change_of_our_own_settings_touches_no_process(project: Project) -> None:
    web(project).up().ok()
    before = project.outputs()
    pid = project.pod_pid(before["id"])
    web(project, more="timeouts=atlas.Timeouts(create_s=30)").up().ok()
    assert project.pod_pid(before["id"]) == pid


def test_changed_ports_make_the_new_pod_before_the_old_one_goes(project: Project) -> None:
    web(project).up().ok()
    before = project.outputs()
    web(project, more="")
    project.program(WEB.format(word="one", more="").replace('"8888"', '"9999"'))
    shown = project.preview().ok()
    assert "ports" in shown.out and "replace" in shown.out
    done = project.up().ok()
    after = project.outputs()
    assert after["id"] != before["id"]
    assert project.rented() == [after["id"]]
    assert done.out.index("created replacement") < done.out.index("deleted original")


def test_delete_before_replace_is_obeyed(project: Project) -> None:
    more = "opts=pulumi.ResourceOptions(delete_before_replace=True)"
    web(project, more=more).up().ok()
    before = project.outputs()
    project.program(WEB.format(word="one", more=", " + more).replace('"8888"', '"9999"'))
    done = project.up().ok()
    assert project.rented() == [project.outputs()["id"]] != [before["id"]]
    assert done.out.index("deleted original") < done.out.index("created replacement")


def test_a_forced_replacement_never_adopts_the_old_pod(project: Project) -> None:
    web(project).up().ok()
    before, born = project.outputs(), project.resources()["web"]["inputs"]["birth"]
    urn = project.resources()["web"]["urn"]
    project.up("--replace", urn).ok()
    assert project.outputs()["id"] != before["id"]
    assert project.resources()["web"]["inputs"]["birth"] != born
    assert project.rented() == [project.outputs()["id"]]


def test_a_pod_is_stopped_and_started_by_its_desired_status(project: Project) -> None:
    web(project).up().ok()
    before = project.outputs()
    web(project, more='desired_status="stopped"').up().ok()
    assert project.outputs()["status"] == "stopped"
    assert project.drift().code == 0
    web(project).up().ok()
    after = project.outputs()
    assert after["status"] == "running" and after["id"] == before["id"]
    assert get(after["url"]) == "one"


def test_a_command_that_ends_well_is_finished_and_no_drift(project: Project) -> None:
    text = """
    pod = atlas.Pod("job", provider="local", command=["python", "-c", "import pathlib; pathlib.Path('ran').open('a').write('x')"],
                    working_dir=".", trigger={trigger!r})
    pulumi.export("id", pod.id); pulumi.export("status", pod.status); pulumi.export("exit_code", pod.exit_code)
    """
    project.program(text.format(trigger="a")).up().ok()
    wait_until(lambda: project.atlas.get_compute(project.outputs()["id"]).status == "finished")
    assert project.drift().code == 0
    project.up("--refresh").ok()
    assert project.outputs()["status"] == "finished" and project.outputs()["exit_code"] == 0
    assert (project.folder / "ran").read_text() == "x"
    project.program(text.format(trigger="b")).up().ok()
    wait_until(lambda: (project.folder / "ran").read_text() == "xx")


def test_a_command_that_fails_later_is_drift_and_is_run_again(project: Project) -> None:
    project.file("once.py", """
        import pathlib, sys, time
        marker = pathlib.Path("marker")
        if marker.exists():
            time.sleep(600)
        marker.touch()
        while not pathlib.Path("fail").exists():
            time.sleep(0.05)
        sys.exit(3)
    """)  # fmt: skip
    project.program("""
        pod = atlas.Pod("job", provider="local", command=["python", "once.py"], working_dir=".")
        pulumi.export("id", pod.id); pulumi.export("status", pod.status); pulumi.export("exit_code", pod.exit_code)
    """).up().ok()
    pod_id = project.outputs()["id"]
    (project.folder / "fail").touch()
    wait_until(lambda: project.atlas.get_compute(pod_id).status == "failed")
    seen = project.drift()
    assert seen.code == 7
    assert 'desired_status: "running" => "failed"' in seen.out
    project.refresh().ok()
    assert project.resources()["job"]["outputs"]["exit_code"] == 3
    project.up("--refresh").ok()
    assert project.outputs()["status"] == "running"
    assert project.outputs()["id"] == pod_id


def test_a_killed_pod_is_shown_by_refresh_and_repaired_by_up(project: Project) -> None:
    web(project).up().ok()
    before = project.outputs()
    os.kill(project.pod_pid(before["id"]), signal.SIGKILL)
    wait_until(lambda: project.atlas.get_compute(before["id"]).status == "failed")
    seen = project.drift()
    assert seen.code == 7
    assert 'desired_status: "running" => "failed"' in seen.out
    project.up("--refresh").ok()
    assert get(project.outputs()["url"]) == "one"
    assert project.outputs()["url"] == before["url"]
    assert project.drift().code == 0


def test_a_pod_stopped_behind_pulumis_back_is_started_again(project: Project) -> None:
    web(project).up().ok()
    before = project.outputs()
    project.atlas.stop(before["id"])
    seen = project.drift()
    assert seen.code == 7 and 'desired_status: "running" => "stopped"' in seen.out
    project.refresh().ok()
    project.up().ok()  # after a plain refresh, a plain up repairs too
    assert get(project.outputs()["url"]) == "one"


def test_a_removed_pod_is_made_anew(project: Project) -> None:
    web(project).up().ok()
    before = project.outputs()
    project.atlas.terminate(before["id"])
    seen = project.drift()
    assert seen.code == 7 and "delete" in seen.out
    project.up("--refresh").ok()
    assert project.outputs()["id"] != before["id"]
    assert get(project.outputs()["url"]) == "one"


def test_an_update_of_a_vanished_pod_names_the_way_out(project: Project) -> None:
    web(project).up().ok()
    project.atlas.terminate(project.outputs()["id"])
    failed = web(project, "two").up().failed()
    assert "`pulumi up --refresh` makes it anew" in failed.out
    web(project, "two").up("--refresh").ok()
    assert get(project.outputs()["url"]) == "two"


def test_destroying_what_is_gone_already_is_done(project: Project) -> None:
    web(project).up().ok()
    project.atlas.terminate(project.outputs()["id"])
    project.destroy().ok()
    assert project.resources() == {}


def test_destroy_works_when_the_program_is_gone(project: Project) -> None:
    web(project).up().ok()
    pid = project.pod_pid(project.outputs()["id"])
    (project.folder / "__main__.py").write_text("import nothing_of_that_name\n")
    project.destroy().ok()
    assert project.rented() == []
    assert not psutil.pid_exists(pid)

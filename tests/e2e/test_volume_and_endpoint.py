"""Volumes and endpoints under the real engine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.project import Project
from tests.e2e.test_pod_life import wait_until

pytestmark = pytest.mark.e2e

ENDPOINT = """
api = atlas.Endpoint("api", provider="local", handler="{handler}", working_dir=".", env={{"WORD": "{word}"}},
                     workers=atlas.Workers(min=0, max={most}))
pulumi.export("id", api.id)
pulumi.export("url", api.url)
pulumi.export("status", api.status)
"""

HANDLERS = """
import os
def echo(job):
    return {"said": job["input"], "word": os.environ["WORD"]}
def shout(job):
    return str(job["input"]).upper()
"""


def endpoint(project: Project, *, handler: str = "handlers:echo", word: str = "one", most: int = 1) -> Project:
    project.file("handlers.py", HANDLERS)
    return project.program(ENDPOINT.format(handler=handler, word=word, most=most))


def ask(project: Project, what: object) -> object:
    return project.atlas.run_job(endpoint=project.outputs()["id"], input=what, mode="sync", timeout_s=60).output


def test_an_endpoint_is_made_changed_in_place_and_deleted(project: Project) -> None:
    endpoint(project).up().ok()
    before = project.outputs()
    assert ask(project, "a") == {"said": "a", "word": "one"}
    endpoint(project, word="two", most=2).up().ok()
    after = project.outputs()
    assert (after["id"], after["url"]) == (before["id"], before["url"])
    assert ask(project, "a") == {"said": "a", "word": "two"}
    endpoint(project, word="two", most=2).up("--expect-no-changes").ok()
    project.destroy().ok()
    assert project.rented("endpoints") == []
    assert project.intents() == []


def test_a_killed_endpoint_is_drift_and_is_started_again(project: Project) -> None:
    endpoint(project).up().ok()
    before = project.outputs()
    pid = int(project.atlas.get_endpoint(before["id"]).raw["pid"])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: project.atlas.get_endpoint(before["id"]).status == "failed")
    seen = project.drift()
    assert seen.code == 7, seen.out
    project.up("--refresh").ok()
    assert project.outputs()["url"] == before["url"]
    assert ask(project, "b") == {"said": "b", "word": "one"}
    assert project.drift().code == 0


def test_a_wrong_handler_is_a_clear_error_and_leaves_nothing(project: Project) -> None:
    failed = endpoint(project, handler="handlers:nothing").up().failed()
    assert "nothing" in failed.out and "Traceback" not in failed.out
    assert project.rented("endpoints") == []
    assert project.intents() == []


def test_a_volume_keeps_its_data_over_pods_and_grows_in_place(project: Project) -> None:
    text = """
    data = atlas.Volume("data", provider="local", size_gb={size})
    pod = atlas.Pod("writer", provider="local", volumes={{"/data": data.id}},
                    command=["sh", "-c", "echo {word} >> data/log; exec sleep 600"])
    pulumi.export("path", data.path)
    """
    project.program(text.format(size=1, word="one")).up().ok()
    path = Path(project.outputs()["path"])
    wait_until(lambda: (path / "log").exists() and (path / "log").read_text() == "one\n")
    project.program(text.format(size=2, word="two")).up().ok()
    assert Path(project.outputs()["path"]) == path
    wait_until(lambda: (path / "log").read_text() == "one\ntwo\n")
    project.program(text.format(size=1, word="two")).up().failed()
    project.program('atlas.Volume("data", provider="local", size_gb=2)').up().ok()
    assert (path / "log").read_text() == "one\ntwo\n"
    project.destroy().ok()
    assert not path.exists()
    assert project.rented("volumes") == []


def test_a_removed_volume_is_shown_and_made_anew(project: Project) -> None:
    project.program('atlas.Volume("data", provider="local", size_gb=1)').up().ok()
    (volume_id,) = project.rented("volumes")
    project.atlas.delete_volume(volume_id)
    assert project.drift().code == 7
    project.up("--refresh").ok()
    assert len(project.rented("volumes")) == 1

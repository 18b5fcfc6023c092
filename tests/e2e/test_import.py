"""`atlas import` with the real engine: what is taken is taken whole, its secrets stay secret, and a preview finds nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import Atlas
from pulumi_atlas.ids import Owner
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import World
from tests.e2e.project import Project
from tests.e2e.test_secrets import files_with

pytestmark = pytest.mark.e2e

SECRET = "hf_PLANTED_0123456789"
PROGRAM = [sys.executable, "-c", "from pulumi_atlas.cli import main; main()"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> Done:
        assert self.code == 0, self.out + self.err
        return self


def atlas(project: Project, *words: str) -> Done:
    done = subprocess.run(
        [*PROGRAM, *words],
        cwd=project.folder,
        env=project.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def started(project: Project) -> Project:
    project.program("")
    project.start()
    return project


@pytest.fixture
def mocked(new_project: Callable[..., Project], tmp_path: Path) -> Iterator[tuple[Project, World]]:
    file = tmp_path / "mock.json"
    made = new_project("mocked", ATLAS_MOCK_FILE=str(file), ATLAS_PROVIDER="mock")
    made.program("")
    made.start()
    yield made, World.open(file)


def paste(project: Project, code: str) -> None:
    project.program(code)


def nothing_changes(project: Project) -> None:
    project.preview("--expect-no-changes").ok()
    project.drift().ok()
    project.up("--expect-no-changes").ok()
    project.drift().ok()


def nowhere_in_clear(project: Project, secret: str) -> None:
    for folder in (project.state, project.home, project.folder, Path(project.environ["ATLAS_STATE_DIR"])):
        assert files_with(folder, secret) == [], folder


def test_a_pod_made_by_hand_with_its_secrets(started: Project) -> None:
    pod = started.atlas.spawn_compute(
        name="trainer", command=["sleep", "600"], ports=["8000"], env={"HF": SECRET, "RUN": "7"}, on_exit="stop"
    )
    done = atlas(started, "import", "pod", pod.id, "--provider", "local").ok()
    assert SECRET not in done.out + done.err
    nowhere_in_clear(started, SECRET)
    row = started.resources()["trainer"]
    assert (row["id"], row["inputs"]["birth"]) == (pod.id, pod.birth)
    live = started.atlas.get_compute(pod.id)
    assert live.owner == Owner("stack", started.resources()["atlas"]["id"], "atlas:Pod::trainer")
    assert (live.birth, live.raw["pid"]) == (pod.birth, pod.raw["pid"])
    paste(started, done.out + 'pulumi.export("env", trainer.env)\n')
    started.preview("--expect-no-changes").ok()
    nothing_changes(started)
    nowhere_in_clear(started, SECRET)
    assert started.outputs(secrets=True)["env"] == {"HF": SECRET, "RUN": "7"}
    started.destroy().ok()
    assert started.rented() == []
    nowhere_in_clear(started, SECRET)

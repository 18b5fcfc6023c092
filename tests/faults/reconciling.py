"""Rounds of `atlas drift --reconcile`: eight resources, a run of some kind killed at a random moment, then brought to order.

Each round: the run, SIGKILL to everything, the engine or the provider process; `atlas drift --reconcile --leaks terminate
--yes`; `pulumi up`; and then nothing may be leaked, twice there, or lost, no state refused, and no further step needed.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.project import Project
from tests.faults.world import Broken, World, wait_until

__all__ = ["DRIFT_DECLARED", "RUNS", "DriftWorld", "hurt", "make_drift_template"]

DRIFT_DECLARED = {
    "pods": {"one", "two", "three", "four"},
    "volumes": {"data", "more"},
    "endpoints": {"api", "second"},
}

#: What is killed. `lost`: a creation whose notes are lost with the machine that wrote them.
RUNS = ("create", "update", "lost", "replace", "destroy", "refresh")

VICTIMS = ("everything", "engine", "provider")

#: A kill comes at most so many seconds after the provider process is there.
_SPAN_S = 4.0

_PROGRAM = """
import os
word = os.environ.get("ROUND_WORD", "1")
data = atlas.Volume("data", provider="local", size_gb=1)
atlas.Volume("more", provider="local", size_gb=1)
for name in ("one", "two", "three", "four"):
    mounts = {"/data": data.id} if name == "one" else None
    atlas.Pod(name, provider="local", command=["sleep", "9999"], env={"WORD": word}, volumes=mounts)
for name in ("api", "second"):
    atlas.Endpoint(name, provider="local", handler="worker:handle", workers=atlas.Workers(min=0, max=1),
                   working_dir=".", env={"WORD": word})
"""

_TYPE = "urn:pulumi:dev::rounds::pulumi-python:dynamic/atlas:"
_REPLACED = (f"{_TYPE}Pod::two", f"{_TYPE}Pod::three", f"{_TYPE}Endpoint::api")


def make_drift_template(folder: Path) -> Path:
    """A project with its stack, made once and copied for each round."""
    project = Project(folder, name="rounds").program(_PROGRAM)
    project.file("worker.py", "def handle(job):\n    return job['input']\n")
    project.start()
    return folder


class DriftWorld(World):
    """A copy of that template."""

    declared = DRIFT_DECLARED

    def begin_run(self, words: Sequence[str], **environ: str) -> None:
        """Start the engine, and wait until its provider process is there (or it has ended)."""
        with self.log.open("wb") as log:
            self.engine = subprocess.Popen(
                ["pulumi", *words, "--yes", "--skip-preview", "--non-interactive"],
                cwd=self.folder, env={**self.environ, **environ}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        engine = self.engine
        wait_until("the provider process", lambda: engine.poll() is not None or self.processes()["provider"])

    def kill_now(self, target: str) -> bool:
        """Whether there was still something to kill."""
        try:
            self.kill(target)
        except Broken:
            return False
        return True

    def reconcile(self) -> subprocess.CompletedProcess[str]:
        """The one command that a person runs."""
        return self.atlas_command("drift", "--reconcile", "--leaks", "terminate", "--yes")


def hurt(world: World, number: int) -> str:
    """One run of one kind killed at a random moment; the same number gives the same case. Its name."""
    assert isinstance(world, DriftWorld)
    chance = random.Random(number)
    kind, victim = RUNS[number % len(RUNS)], VICTIMS[number // len(RUNS) % len(VICTIMS)]
    if kind not in ("create", "lost"):
        world.up().ok()
    environ = {"ROUND_WORD": "2"} if kind == "update" else {}
    replaced = [word for urn in _REPLACED for word in ("--replace", urn)] if kind == "replace" else []
    verb = kind if kind in ("destroy", "refresh") else "up"
    world.begin_run([verb, *replaced, *(["--run-program"] if verb == "refresh" else [])], **environ)
    delay = chance.uniform(0, _SPAN_S)
    time.sleep(delay)
    hit = world.kill_now(victim)
    world.let_go()
    world.ended()
    if kind == "lost":
        wait_until("orphans to end", lambda: not world.orphans(), timeout=120)
        shutil.rmtree(Path(world.environ["ATLAS_STATE_DIR"]) / "intents", ignore_errors=True)
    return f"{kind} {victim} {f'after {delay:.1f} s' if hit else 'too late'}"

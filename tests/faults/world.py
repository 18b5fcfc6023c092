"""One round's world: a project of its own on `local`, the processes of its run, and what is really there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from pulumi_atlas.drift._runs import find_provider_processes
from pulumi_atlas.processes import ProcessIdentity, identify, processes_with, send_signal
from tests.e2e.project import Project

DECLARED = {"pods": {"one", "two", "three"}, "volumes": {"data"}, "endpoints": {"api"}}

_PROGRAM = """
data = atlas.Volume("data", provider="local", size_gb=1)
serve = "import os,socket,time; s=socket.create_server(('127.0.0.1',int(os.environ['PORT']))); time.sleep(9999)"
atlas.Pod("one", provider="local", command=["sleep", "9999"], volumes={"/data": data.id})
atlas.Pod("two", provider="local", command=["python3", "-c", serve], ports=["8000/tcp"])
atlas.Pod("three", provider="local", command=["sleep", "9999"])
atlas.Endpoint("api", provider="local", handler="worker:handle", workers=atlas.Workers(min=0, max=1), working_dir=".")
"""


class Broken(Exception):
    """The round did not go as it must; the message says how."""


def wait_until(what: str, condition: Callable[[], Any], timeout: float = 60) -> Any:
    """The first true value of the condition. Raises Broken."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Broken(f"waited {timeout:g} s for {what}")
        time.sleep(0.02)


def make_template(folder: Path) -> Path:
    """A project with its stack, made once and copied for each round."""
    project = Project(folder, name="rounds").program(_PROGRAM)
    project.file("worker.py", "def handle(job):\n    return job['input']\n")
    project.start()
    return folder


class World(Project):
    """A copy of the template. `declared`: names by kind. `close` ends what a broken round left, by pid."""

    declared: Mapping[str, set[str]] = DECLARED

    def __init__(self, template: Path, folder: Path) -> None:
        shutil.copytree(template, folder)
        super().__init__(folder, name="rounds", environ={"PULUMI_STACK": "dev"})
        self._started = True
        self.points = folder / "points"
        self.points.mkdir()
        self.log = folder / "first.log"
        self.engine: subprocess.Popen[bytes] | None = None
        self._let_go = threading.Event()
        self._closed = threading.Event()
        self.duplicates: set[str] = set()
        self._threads = [
            threading.Thread(target=self._watch, daemon=True),
            threading.Thread(target=self._sweep, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    # -- the run that is hurt

    def begin(self, step: int, skip: int) -> None:
        """Start `pulumi up` and wait until its provider process is held at the step, `skip` times let on before."""
        environ = {**self.environ, "ATLAS_FAILPOINT": f"create.{step}", "ATLAS_FAILPOINT_DIR": str(self.points)}
        with self.log.open("wb") as log:
            self.engine = subprocess.Popen(
                ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive"],
                cwd=self.folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        for _ in range(skip):
            self._held().unlink()
            time.sleep(0.05)
        self._held()

    def _held(self) -> Path:
        def found() -> Path | None:
            marks = list(self.points.iterdir())
            if not marks and self.engine is not None and self.engine.poll() is not None:
                raise Broken(f"the first run ended before the step: {self.log.read_text()[-2000:]}")
            return marks[0] if marks else None

        mark: Path = wait_until("the step to be reached", found)
        return mark

    def processes(self) -> dict[str, list[ProcessIdentity]]:
        """Engine, provider and the rest of this run, by identity; only descendants of our own engine."""
        assert self.engine is not None
        found: dict[str, list[ProcessIdentity]] = {"engine": [], "provider": [], "host": []}
        one = identify(self.engine.pid)
        found["engine"] += [one] if one else []
        for child in _descendants(self.engine.pid):
            with contextlib.suppress(
                psutil.NoSuchProcess
            ):  # short-lived ones come and go: one that went hides no other
                words = " ".join(child.cmdline())
                known = identify(child.pid)
                if known:
                    provider = "pulumi-resource-pulumi-python" in words or "pulumi.dynamic" in words
                    found["provider" if provider else "host"].append(known)
        return found

    def kill(self, target: str) -> None:
        """SIGKILL to everything, the engine alone, or the provider process alone."""
        found = self.processes()
        chosen = {"everything": ("engine", "host", "provider"), "engine": ("engine",), "provider": ("provider",)}[
            target
        ]
        if not all(found[group] for group in chosen):
            raise Broken(f"cannot find {chosen} among {found}")
        for one in (one for group in chosen for one in found[group]):
            send_signal(one, signal.SIGKILL)

    def interrupt(self, times: int) -> None:
        assert self.engine is not None
        for number in range(times):
            time.sleep(0.5 if number else 0)
            self.engine.send_signal(signal.SIGINT)

    def let_go(self) -> None:
        """From now on nobody is held at any step."""
        self._let_go.set()

    def ended(self) -> int:
        """The first run's exit code."""
        assert self.engine is not None
        try:
            return self.engine.wait(90)
        except subprocess.TimeoutExpired:
            raise Broken(f"the first run does not end: {self.log.read_text()[-1000:]}") from None

    # -- what is there

    def things(self) -> dict[str, list[Any]]:
        """All live things of the provider."""
        atlas = self.atlas
        pods = [pod for pod in atlas.list_compute() if pod.status != "terminated"]
        return {"pods": pods, "volumes": list(atlas.list_volumes()), "endpoints": list(atlas.list_endpoints())}

    def recover(self, *more: str) -> dict[str, Any]:
        """`atlas doctor --recover --yes --json`."""
        done = self.atlas_command("doctor", "--recover", "--yes", "--json", *more)
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
        if done.returncode:
            why = answer.get("failed") or answer.get("error") or answer
            raise Broken(f"recovery ended with {done.returncode}: {why} {done.stderr[-1000:]}")
        return answer

    def atlas_command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`atlas` in the project's folder."""
        return subprocess.run(
            [sys.executable, "-c", "from pulumi_atlas.cli import main; main()", *words],
            cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip

    def orphans(self) -> list[ProcessIdentity]:
        """Provider processes of this world that still run."""
        return [one.identity for one in find_provider_processes(self.folder)]

    def open_intents(self) -> list[str]:
        return [path.name for path in self.intents() if json.loads(path.read_bytes())["state"] == "open"]

    def running(self) -> list[ProcessIdentity]:
        """Everything that runs in this world: pods, supervisors, provider processes, engines."""
        ours = list(processes_with("ATLAS_LOCAL_DIR", self.environ["ATLAS_LOCAL_DIR"]))
        return [one for one in ours if one.pid != os.getpid()]

    def leftovers(self) -> Iterator[str]:
        """After destroy: what should not be there."""
        yield from (f"{kind} {thing.name}" for kind, things in self.things().items() for thing in things)
        yield from (f"folder {kind}/{name}" for kind in self.declared for name in self.rented(kind))
        yield from (f"intent {name}" for name in self.open_intents())
        with contextlib.suppress(Broken):
            wait_until("processes to end", lambda: not self._remaining(), timeout=10)
        for one in self._remaining():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(one.pid)
                yield f"process {one.pid} (parent {process.ppid()}) {' '.join(process.cmdline())[:200]}"

    def _remaining(self) -> list[ProcessIdentity]:
        """Without the engine's language host, which is not ours: orphaned, it looks for its engine every five minutes."""
        return [one for one in self.running() if not _is_language_host(one.pid)]

    def close(self) -> None:
        self._let_go.set()
        self._closed.set()
        for thread in self._threads:
            thread.join()
        for one in self.running():
            send_signal(one, signal.SIGKILL)
        if self.engine is not None and self.engine.poll() is None:
            self.engine.kill()
            self.engine.wait()

    def _watch(self) -> None:
        """Look at the inventory all the time: no owner may ever have two live things."""
        while not self._closed.wait(0.1):
            with contextlib.suppress(Exception):
                owners = Counter(str(thing.owner) for things in self.things().values() for thing in things)
                self.duplicates |= {owner for owner, count in owners.items() if count > 1}

    def _sweep(self) -> None:
        self._let_go.wait()
        while not self._closed.wait(0.02):
            for mark in self.points.iterdir():
                mark.unlink(missing_ok=True)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_language_host(pid: int) -> bool:
    try:
        return Path(psutil.Process(pid).cmdline()[0]).name == "pulumi-language-python"
    except (psutil.Error, IndexError):
        return False

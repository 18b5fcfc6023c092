"""`atlas` in this process (quick) and as a process of its own (true), over a mock world and over real local pods."""

from __future__ import annotations

import contextlib
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

from pulumi_atlas import processes
from pulumi_atlas.cli._main import run
from pulumi_atlas.providers.mock import World

PROGRAM = [sys.executable, "-c", "from pulumi_atlas.cli import main; main()"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output, which must be lines of JSON and nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]


Atlas = Callable[..., Done]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A mock world that every `atlas` of this test shares."""
    file = tmp_path / "mock" / "world.json"
    monkeypatch.setenv("ATLAS_MOCK_FILE", str(file))
    monkeypatch.setenv("ATLAS_PROVIDER", "mock")
    return World.open(file)


@pytest.fixture
def atlas(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Atlas:
    """Runs a command line in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Done:
        capsys.readouterr()
        code = run(words)
        seen = capsys.readouterr()
        return Done(int(code), seen.out, seen.err)

    return call


@pytest.fixture
def shell(tmp_path: Path) -> Atlas:
    """Runs a command line as a process of its own, with nobody at its terminal."""

    def call(*words: str, stdin: str = "", **environ: str) -> Done:
        done = subprocess.run(
            [*PROGRAM, *words],
            input=stdin,
            cwd=tmp_path,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command line and does not wait for it; whatever still runs at the end of the test is ended."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PROGRAM, *words],
            cwd=tmp_path,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with process:
            if process.poll() is None:
                process.kill()


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The provider is `local`; pods that the test leaves are ended."""
    monkeypatch.setenv("ATLAS_PROVIDER", "local")
    monkeypatch.delenv("ATLAS_MOCK_FILE", raising=False)
    yield
    place = os.environ["ATLAS_LOCAL_DIR"]
    for process in processes.processes_with("ATLAS_LOCAL_DIR", place):
        if process.pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], object], *, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until

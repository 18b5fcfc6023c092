"""`make demo`: every step is as it says, a step that is not ends it, and nothing is ever left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pulumi_atlas import engine, processes

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The demo takes its folder in the test's own temporary folder."""
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "ATLAS_ENGINE_DIR": str(engine.cache_folder()), "TMPDIR": str(tmp_path / "tmp")}


def test_the_demo_does_what_it_says(environ: dict[str, str], tmp_path: Path) -> None:
    done = _run(EXAMPLES / "demo.py", environ)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "+ 4 to create",
        "→ Hello from a pod",
        'COMPLETED {"text": "IT WORKS!"}',
        "without the key → 401",
        "SIGKILL",
        '~ desired_status: "running" => "failed"',
        "~ 1 updated",
        "- 4 deleted",
        "processes: none",
        "folders:   none",
        "intents:   none open",
        "All 8 steps were as said",
    ):
        assert words in done.stdout, f"{words!r} is missing in\n{done.stdout}"
    assert done.stdout.count("Hello from a pod") == 2, "the page answers again after the repair"
    _nothing_is_left(tmp_path)


def test_a_step_that_is_not_as_it_says_ends_the_demo_and_nothing_is_left(
    environ: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copy)
    worker = copy / "01-local-pod" / "shout.py"
    worker.write_text(worker.read_text().replace(".upper()", ".lower()"))
    done = _run(copy / "demo.py", environ)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT AS SAID" in done.stderr
    assert 'expected: {"text": "IT WORKS!"}' in done.stderr
    assert "it works!" in done.stderr.split("seen:")[1]
    assert "Nothing is left." in done.stderr
    assert "Behind Pulumi's back" not in done.stdout
    _nothing_is_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_demo_that_is_stopped_in_mid_up_leaves_nothing(
    number: signal.Signals, environ: dict[str, str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / "demo.py")],
        env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        try:
            _until(lambda: list((tmp_path / "tmp").glob("*/machines/pods/*")))
            demo.send_signal(number)
            said, _ = demo.communicate(timeout=150)
        finally:
            demo.kill()
    assert demo.returncode == 130, said
    assert "Nothing is left." in said
    _nothing_is_left(tmp_path)


def test_without_an_engine_the_demo_says_how_to_have_one(environ: dict[str, str], tmp_path: Path) -> None:
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ATLAS_ENGINE_DIR": str(tmp_path / "none")}
    if engine.find(bare).path is not None:
        pytest.skip("an engine is installed where every user finds it")
    done = _run(EXAMPLES / "demo.py", {**bare, "TMPDIR": environ["TMPDIR"]})
    assert done.returncode == 1
    assert "no Pulumi CLI was found" in done.stderr
    assert "make engine" in done.stderr


def _run(script: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script)],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _nothing_is_left(folder: Path) -> None:
    _until(lambda: not _running_in(folder / "tmp"))
    assert list((folder / "tmp").iterdir()) == []


def _running_in(folder: Path) -> list[int]:
    """Pids of processes whose environment names the folder: state, machines or intents of a demo."""
    import psutil

    return [pid for pid in psutil.pids() if any(str(folder) in v for v in _variables(pid)) and processes.identify(pid)]


def _variables(pid: int) -> list[str]:
    if pid == os.getpid():
        return []
    environment = processes.environment_of(pid)
    return [value for name, value in environment.items() if name != "TMPDIR"]


def _until(condition: object, seconds: float = 120) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)

"""Orphaned provider processes: waited for while they may be renting, ended when they can rent nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_atlas.drift._runs import wait_for_orphans
from pulumi_atlas.errors import TimedOut
from pulumi_atlas.processes import ProcessIdentity

# `python … -m pulumi.dynamic <address>` as the engine starts it; here a program that only looks like it.
_IDLE = "import time; print('there', flush=True); time.sleep(600)"


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = [sys.executable, "-c", _IDLE, "-m", "pulumi.dynamic", f"127.0.0.1:{port}"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def wait(folder: Path, *, creates: bool) -> list[str]:
    said: list[str] = []

    def noted(identity: ProcessIdentity) -> bool:
        return creates

    wait_for_orphans(folder, (), timeout_s=0.5, say=said.append, creates=noted, idle_s=0.0)
    return said


def test_one_that_has_begun_nothing_is_ended(orphan: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert wait(tmp_path, creates=False) == [f"waiting for process {orphan.pid} to record what it began"]
    assert orphan.wait(10) != 0


def test_one_that_may_be_renting_is_never_ended(orphan: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match=str(orphan.pid)):
        wait(tmp_path, creates=True)
    assert orphan.poll() is None

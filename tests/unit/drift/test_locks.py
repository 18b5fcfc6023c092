"""Locks, and whether who took them still lives."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pulumi_atlas.backend import Backend
from pulumi_atlas.drift.locks import Lock, find_locks
from pulumi_atlas.processes import host_name


def lock(root: Path, pid: int, host: str, taken_at: float, *, stack: str = "dev", project: str = "proj") -> Lock:
    folder = root / ".pulumi" / "locks" / "organization" / project / stack
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(taken_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "693Z"  # nanoseconds, as Go writes
    fields = {"pid": pid, "username": "me", "hostname": host, "timestamp": stamp}
    (folder / "075b446a.json").write_text(json.dumps(fields))
    (folder / "075b446a.json.attrs").write_text("{}")
    [found] = find_locks(Backend("file://x", "a test", "file", root), project=project, stack=stack)
    return found


def test_a_living_holder_is_alive(tmp_path: Path) -> None:
    found = lock(tmp_path, os.getpid(), host_name(), time.time())
    assert (found.holder, found.is_stale) == ("alive", False)
    assert (found.project, found.stack) == ("proj", "dev")


def test_a_holder_that_has_ended_is_dead(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert lock(tmp_path, child.pid, host_name(), time.time()).is_stale


def test_a_pid_that_was_given_to_a_later_process_does_not_hold_the_lock(tmp_path: Path) -> None:
    assert lock(tmp_path, os.getpid(), host_name(), time.time() - 30 * 86_400).is_stale


def test_of_another_host_nothing_is_known(tmp_path: Path) -> None:
    found = lock(tmp_path, os.getpid(), "elsewhere.example", time.time())
    assert (found.holder, found.is_stale) == ("elsewhere", False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', "{}"])
def test_a_damaged_lock_is_never_stale(tmp_path: Path, content: str) -> None:
    folder = tmp_path / ".pulumi" / "locks" / "organization" / "proj" / "dev"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(content)
    [found] = find_locks(Backend("file://x", "a test", "file", tmp_path))
    assert found.holder == "unreadable" and not found.is_stale


def test_other_stacks_and_projects_are_left_out(tmp_path: Path) -> None:
    lock(tmp_path, os.getpid(), host_name(), time.time(), stack="prod")
    lock(tmp_path, os.getpid(), host_name(), time.time(), project="other")
    backend = Backend("file://x", "a test", "file", tmp_path)
    assert find_locks(backend, project="proj", stack="dev") == []
    assert len(find_locks(backend)) == 2


def test_a_backend_without_a_folder_shows_no_locks() -> None:
    assert find_locks(Backend("https://api.pulumi.com", "a test", "cloud")) == []

"""State files that a killed engine left cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pulumi_atlas.backend import Backend
from pulumi_atlas.drift.checkpoints import find_damaged, restore
from pulumi_atlas.errors import Conflict

WHOLE = json.dumps({"version": 3, "checkpoint": {}}).encode()


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    folder = tmp_path / ".pulumi" / "stacks" / "proj"
    folder.mkdir(parents=True)
    return folder


def backend(tmp_path: Path) -> Backend:
    return Backend(f"file://{tmp_path}", "a test", "file", tmp_path)


@pytest.mark.parametrize("rest", [b"", WHOLE[:20]])
def test_a_state_that_was_cut_off_gives_way_to_the_copy_and_is_kept(stacks: Path, tmp_path: Path, rest: bytes) -> None:
    (stacks / "dev.json").write_bytes(rest)
    (stacks / "dev.json.bak").write_bytes(WHOLE)
    (stacks / "other.json").write_bytes(WHOLE)
    (damaged,) = find_damaged(backend(tmp_path), "proj")
    assert damaged.stack == "dev"
    kept = restore(damaged)
    assert (stacks / "dev.json").read_bytes() == WHOLE
    assert kept.read_bytes() == rest
    assert find_damaged(backend(tmp_path), "proj") == []


@pytest.mark.parametrize("copy", [None, b""])
def test_without_a_readable_copy_nothing_is_touched(stacks: Path, tmp_path: Path, copy: bytes | None) -> None:
    (stacks / "dev.json").write_bytes(b"")
    if copy is not None:
        (stacks / "dev.json.bak").write_bytes(copy)
    (damaged,) = find_damaged(backend(tmp_path), "proj")
    with pytest.raises(Conflict, match="cut off"):
        restore(damaged)
    assert (stacks / "dev.json").read_bytes() == b""


def test_other_backends_show_none(tmp_path: Path) -> None:
    assert find_damaged(Backend("https://x", "a test", "cloud"), "proj") == []

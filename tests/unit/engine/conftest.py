"""Engines made of small shell scripts, and a machine that has nothing but them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pulumi_atlas.engine import PARTS

MakeEngine = Callable[..., Path]


@pytest.fixture
def make_engine() -> MakeEngine:
    def make(folder: Path, version: str = "3.259.0", *, without: tuple[str, ...] = (), script: str = "") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            if part not in without:
                (folder / part).write_text(f"#!/bin/sh\n{script or f'echo v{version}'}\n")
                (folder / part).chmod(0o755)
        return folder

    return make


@pytest.fixture
def machine(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a machine without Pulumi and without Go: an empty home, and a PATH of the bare necessities."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "env", "cat", "cp", "chmod", "mkdir", "dirname", "basename", "sleep", "true"):
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    (tools / "python3").symlink_to(sys.executable)
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": str(tools), "HOME": str(home), "LANG": os.environ.get("LANG", "C.UTF-8")}

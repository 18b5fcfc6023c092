"""The engine that the tests run with is a whole one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pulumi_atlas import engine

pytestmark = pytest.mark.e2e

PROGRAM = """
import sys

import pulumi

pulumi.export("python", sys.executable)
pulumi.export("parallel", __import__("os").environ["PULUMI_PARALLEL"])
"""


def test_a_preview_runs_in_this_python(tmp_path: Path) -> None:
    found = engine.require()
    (tmp_path / "Pulumi.yaml").write_text("name: smoke\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / "state").mkdir()
    environ = engine.command_environment(
        found,
        {
            **os.environ,
            "PULUMI_HOME": str(tmp_path / "home"),
            "PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
        },
    )

    def pulumi(*words: str) -> str:
        done = subprocess.run(
            [str(found.path), "--non-interactive", *words],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert pulumi("version").strip().removeprefix("v") == found.version
    pulumi("stack", "init", "dev")
    assert "pulumi:pulumi:Stack" in pulumi("preview")
    pulumi("up", "--yes", "--skip-preview")
    outputs = json.loads(pulumi("stack", "output", "--json"))
    assert Path(outputs["python"]).parent == Path(environ["PULUMI_PYTHON_CMD"]).parent
    assert outputs["parallel"] == "64"
    pulumi("destroy", "--yes", "--skip-preview")

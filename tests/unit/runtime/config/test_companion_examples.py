"""What examples/companion holds is right: settings, a unit for systemd, a Dockerfile."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pulumi_atlas.cli._main import run
from pulumi_atlas.runtime.configuration import examine

HOOK = "whsec_" + "B" * 43 + "="


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "examples" / "companion"


def test_the_settings_are_in_order(folder: Path) -> None:
    environ = {"MODEL_KEY": "x", "ATLAS_HOOK_SECRET": HOOK}
    report = examine(folder / "atlas.yaml", environ=environ)
    assert [str(fault) for fault in (*report.faults, *report.warnings)] == []
    assert report.settings is not None
    assert set(report.settings.templates) == {"studio"}


def test_the_command_accepts_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["runtime", "serve", "--config", str(folder / "atlas.yaml"), "--check-config"]
    assert run(words) == 2
    told = capsys.readouterr().out
    assert "MODEL_KEY is not set here" in told
    assert "ATLAS_HOOK_SECRET" not in told or "whsec_B" not in told
    monkeypatch.setenv("MODEL_KEY", "x")
    monkeypatch.setenv("ATLAS_HOOK_SECRET", HOOK)
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ok": True, "file": str(folder / "atlas.yaml"), "faults": [], "warnings": [],
    }  # fmt: skip


def test_the_unit_is_one(folder: Path, tmp_path: Path) -> None:
    unit = folder / "atlas-runtime.service"
    text = unit.read_text()
    parsed = configparser.RawConfigParser(strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(text)
    service = parsed["Service"]
    assert service["Restart"] == "on-failure"
    assert service["KillMode"] == "process", "pods of `local` must outlive the companion"
    assert int(service["TimeoutStopSec"]) > 40
    assert service["NoNewPrivileges"] == "yes"
    assert service["ReadWritePaths"] == service["Environment"].split()[0].partition("=")[2]
    for name in ("ExecStartPre", "ExecStart"):
        _is_a_command(shlex.split(service[name]))
    if shutil.which("systemd-analyze"):  # with programs that are there, for it looks for them
        moved = tmp_path / unit.name
        moved.write_text(text.replace("/opt/atlas/bin/atlas", shutil.which("true") or "/bin/true"))
        done = subprocess.run(["systemd-analyze", "verify", str(moved)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _is_a_command(words: list[str]) -> None:
    """Its options are those that the command has."""
    from typer.main import get_command

    from pulumi_atlas.cli._app import app

    command = get_command(app).commands["runtime"].commands["serve"]  # type: ignore[attr-defined]
    assert words[1:3] == ["runtime", "serve"]
    command.make_context("serve", words[3:], resilient_parsing=True)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_dockerfile_is_one(folder: Path, root: Path) -> None:
    text = (folder / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    steps = [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]
    told = dict(steps)
    assert steps[0][0] == "FROM"
    assert told["USER"] not in ("0", "root")
    assert [step for step, _ in steps].index("USER") < [step for step, _ in steps].index("ENTRYPOINT")
    assert "/healthz" in told["HEALTHCHECK"]
    assert not re.search(r"(KEY|SECRET|TOKEN|PASSWORD)\s*=", text), "an image holds no secrets"
    for rule, rest in steps:
        if rule == "COPY":
            *sources, _ = rest.split()
            assert [name for name in sources if not (root / name).exists()] == []
    entry = json.loads(told["ENTRYPOINT"])
    _is_a_command(entry)

"""How the program begins: quickly, with completion, and under both of its names."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pulumi_atlas

pytestmark = pytest.mark.slow  # real processes; not part of `make check`

Atlas = Callable[..., Any]

HEAVY = ("pulumi", "grpc", "httpx", "rich", "yaml", "psutil", "starlette", "asyncio")
HEAVY_OF_OURS = ("pulumi_atlas.models", "pulumi_atlas.client", "pulumi_atlas.providers", "pulumi_atlas.resources")

LOADED = """
import json, sys
from pulumi_atlas.cli._main import run
code = run(sys.argv[1:])
sys.stderr.write(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def loaded(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, timeout=60, check=False
    )
    return set(json.loads(done.stderr[done.stderr.rindex("[") :]))


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("compute", "spawn", "--help"), ("jobs", "--help")])
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    modules = loaded(*words)
    assert not modules & set(HEAVY)
    assert "pydantic" not in modules or len(words) > 1, "only typer itself may load it, to read a command's options"
    assert not [name for name in modules if name.startswith(HEAVY_OF_OURS)]


def test_no_command_loads_pulumi(world: object) -> None:
    for words in (("compute", "list"), ("providers",), ("gpus",), ("endpoints", "list", "--json")):
        assert not {name for name in loaded(*words) if name == "pulumi" or name.startswith("pulumi.")}


def test_the_version_is_told(shell: Atlas) -> None:
    assert shell("--version").out == f"atlas {pulumi_atlas.__version__}\n"


def test_both_names_start_the_same_program() -> None:
    points = importlib.metadata.entry_points(group="console_scripts")
    values = {point.name: point.value for point in points if point.name in ("atlas", "pulumi-atlas")}
    assert values == {"atlas": "pulumi_atlas.cli:main", "pulumi-atlas": "pulumi_atlas.cli:main"}


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_scripts_are_made(shell: Atlas, kind: str) -> None:
    done = shell(_ATLAS_COMPLETE=f"source_{kind}")
    assert done.code == 0
    assert f"_ATLAS_COMPLETE=complete_{kind}" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("atlas comp", {"compute"}),
        ("atlas compute sp", {"spawn"}),
        ("atlas compute list --prov", {"--provider"}),
        ("atlas compute list --provider mo", {"mock"}),
        ("atlas compute spawn --gpu h10", {"h100", "h100_nvl", "h100_pcie"}),
    ],
)
def test_words_are_completed(shell: Atlas, words: str, answers: set[str]) -> None:
    place = str(len(words.split()) - 1)
    done = shell(_ATLAS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place)
    assert done.code == 0
    assert answers <= set(done.out.split())


def test_completion_can_be_installed(shell: Atlas, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    settings = {"HOME": str(home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = shell("--install-completion", "bash", **settings)
    assert done.code == 0, done
    written = [path.read_text() for path in home.rglob("*") if path.is_file()]
    assert any("_ATLAS_COMPLETE" in text for text in written)


def test_every_command_and_option_has_words() -> None:
    from typer.main import get_command

    from pulumi_atlas.cli._app import app

    silent = []
    for path, command in _tree(get_command(app), ("atlas",)):
        if not command.help:
            silent.append(" ".join(path))
        silent += [f"{' '.join(path)} {option.opts[0]}" for option in command.params if not getattr(option, "help", "")]
    assert not silent, silent


def _tree(command: Any, path: tuple[str, ...]) -> Any:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _tree(inner, (*path, name))


def test_the_command_works_where_the_folder_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os; os.rmdir({str(gone)!r}); from pulumi_atlas.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "--version"],
        cwd=gone,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr

"""Which engine is taken, and what is said about one that cannot be used."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pulumi_atlas import engine
from pulumi_atlas.errors import ConfigError

from .conftest import MakeEngine


def test_a_machine_without_an_engine_is_told_how_to_get_one(machine: Mapping[str, str]) -> None:
    found = engine.find(machine)
    assert (found.path, found.folder, found.version, found.usable) == (None, None, None, False)
    (problem,) = found.problems
    assert problem.what == "no Pulumi CLI was found"
    assert "make engine" in problem.mend


def test_the_one_on_path_is_taken_first(machine: Mapping[str, str], tmp_path: Path, make_engine: MakeEngine) -> None:
    on_path = make_engine(tmp_path / "opt", "3.260.1")
    make_engine(Path(machine["HOME"]) / ".pulumi" / "bin", "3.272.0")
    found = engine.find({**machine, "PATH": f"{on_path}{os.pathsep}{machine['PATH']}"})
    assert found == engine.Engine(on_path / "pulumi", "3.260.1", on_path / "pulumi-language-python")
    assert found.usable
    assert found.folder == on_path


def test_the_vendors_newest_version_comes_before_the_cache(machine: Mapping[str, str], make_engine: MakeEngine) -> None:
    versions = Path(machine["HOME"]) / ".pulumi" / "versions"
    for version in ("3.99.0", "3.260.0", "3.254.0"):
        make_engine(versions / version / "bin", version)
    make_engine(engine.cache_folder(machine) / "3.272.0", "3.272.0")
    assert engine.find(machine).version == "3.260.0"


def test_pulumi_home_replaces_the_folder_in_the_home(
    machine: Mapping[str, str], tmp_path: Path, make_engine: MakeEngine
) -> None:
    make_engine(tmp_path / "elsewhere" / "bin", "3.261.0")
    assert engine.find({**machine, "PULUMI_HOME": str(tmp_path / "elsewhere")}).version == "3.261.0"


def test_the_cache_is_found_without_touching_path(machine: Mapping[str, str], make_engine: MakeEngine) -> None:
    kept = make_engine(engine.cache_folder(machine) / "3.259.0")
    assert engine.find(machine).folder == kept


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"ATLAS_ENGINE_DIR": "/caches/engines"}, "/caches/engines"),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/pulumi_atlas/engine"),
        ({"ATLAS_ENGINE_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/somebody"}, "/somebody/.cache/pulumi_atlas/engine"),
    ],
)
def test_the_cache_folder_follows_the_settings(settings: Mapping[str, str], folder: str) -> None:
    assert engine.cache_folder(settings) == Path(folder)


def test_one_that_is_too_old_is_passed_over_for_a_newer_one(
    machine: Mapping[str, str], tmp_path: Path, make_engine: MakeEngine
) -> None:
    old = make_engine(tmp_path / "opt", "3.253.9")
    environ = {**machine, "PATH": f"{old}{os.pathsep}{machine['PATH']}"}
    assert "3.254.0 or newer" in engine.find(environ).problems[0].what
    make_engine(engine.cache_folder(machine) / "3.259.0")
    assert engine.find(environ).version == "3.259.0"


@pytest.mark.parametrize("part", engine.PARTS[1:])
def test_a_missing_part_is_named(
    part: str, tmp_path: Path, machine: Mapping[str, str], make_engine: MakeEngine
) -> None:
    folder = make_engine(tmp_path / "opt", without=(part,))
    found = engine.inspect(folder / "pulumi", machine)
    assert [problem.what.split()[0] for problem in found.problems] == [part]
    assert not found.usable


def test_the_language_host_may_stand_elsewhere_on_path(
    machine: Mapping[str, str], tmp_path: Path, make_engine: MakeEngine
) -> None:
    cli = make_engine(tmp_path / "cli", without=engine.PARTS[1:])
    hosts = make_engine(tmp_path / "hosts", without=("pulumi",))
    found = engine.find({**machine, "PATH": os.pathsep.join([str(cli), str(hosts), machine["PATH"]])})
    assert found.usable
    assert found.language_host == hosts / "pulumi-language-python"


def test_parts_beside_the_file_that_a_link_points_to_count(
    machine: Mapping[str, str], tmp_path: Path, make_engine: MakeEngine
) -> None:
    real = make_engine(tmp_path / "cellar")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "pulumi").symlink_to(real / "pulumi")
    assert engine.inspect(tmp_path / "links" / "pulumi", machine).usable


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo nonsense", "nonsense"),
        ("exit 3", "ended with 3"),
        ("echo broken library >&2; exit 127", "broken library"),
    ],
)
def test_one_that_does_not_run_says_why(
    script: str, said: str, tmp_path: Path, machine: Mapping[str, str], make_engine: MakeEngine
) -> None:
    folder = make_engine(tmp_path / "opt", script=script)
    (problem,) = engine.inspect(folder / "pulumi", machine).problems
    assert "does not run" in problem.what
    assert said in problem.what


def test_a_file_for_another_machine_is_a_problem_and_no_exception(tmp_path: Path, machine: Mapping[str, str]) -> None:
    (tmp_path / "pulumi").write_bytes(b"\x7fELF of another world")
    (tmp_path / "pulumi").chmod(0o755)
    assert "does not run" in engine.inspect(tmp_path / "pulumi", machine).problems[0].what
    assert "does not run" in engine.inspect(tmp_path / "nowhere", machine).problems[0].what


def test_require_raises_with_the_way_to_mend_it(
    machine: Mapping[str, str], tmp_path: Path, make_engine: MakeEngine
) -> None:
    with pytest.raises(ConfigError) as caught:
        engine.require(machine)
    assert "no Pulumi CLI" in str(caught.value)
    assert "make engine" in caught.value.hint
    make_engine(engine.cache_folder(machine) / "3.259.0")
    assert engine.require(machine).version == "3.259.0"


def test_windows_is_refused_with_a_sentence(machine: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.platform_problem("Linux") is None
    assert engine.platform_problem("Darwin") is None
    monkeypatch.setattr("platform.system", lambda: "Windows")
    (problem,) = engine.find(machine).problems
    assert str(problem) == "pulumi_atlas does not run on Windows — use Linux or macOS; on Windows, WSL is a Linux"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v3.259.0", (3, 259, 0)),
        ("3.259.0-alpha.1+dirty", (3, 259, 0)),
        ("3.1000.20", (3, 1000, 20)),
        ("3.2", None),
        ("", None),
    ],
)
def test_versions_are_compared_as_numbers(text: str, version: engine.Version | None) -> None:
    assert engine.parse_version(text) == version


def test_the_sdk_of_this_interpreter_is_new_enough() -> None:
    found = engine.sdk()
    assert found.problems == ()
    assert found.version == importlib.metadata.version("pulumi")


@pytest.mark.parametrize(("installed", "said"), [("3.259.0", "3.272.0 or newer"), (None, "not installed")])
def test_an_old_or_missing_sdk_is_a_problem(installed: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr("importlib.metadata.version", version)
    (problem,) = engine.sdk().problems
    assert said in problem.what
    assert "pip install" in problem.mend


def test_as_json_has_text_only(tmp_path: Path, machine: Mapping[str, str], make_engine: MakeEngine) -> None:
    folder = make_engine(tmp_path / "opt", "3.200.0")
    told = engine.inspect(folder / "pulumi", machine).as_json()
    assert told["path"] == str(folder / "pulumi")
    assert told["version"] == "3.200.0"
    assert set(told["problems"][0]) == {"what", "mend"}


def test_the_file_works_before_anything_is_installed(root: Path) -> None:
    code = "import pulumi_atlas.engine as e; print(e.MINIMUM[0])"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_the_command_runs_with_our_python_and_the_engine_first(tmp_path: Path) -> None:
    chosen = engine.Engine(tmp_path / "eng" / "pulumi", "3.259.0", tmp_path / "eng" / "pulumi-language-python")
    environ = {"PATH": f"/usr/bin:{tmp_path / 'eng'}:/bin", "PULUMI_BACKEND_URL": "file:///state", "KEY": "k"}
    told = engine.command_environment(chosen, environ)
    assert told["PATH"].split(":") == [str(tmp_path / "eng"), str(Path(sys.executable).parent), "/usr/bin", "/bin"]
    assert told["PULUMI_PYTHON_CMD"] == sys.executable
    assert told["PULUMI_PARALLEL"] == "64"
    assert told["PULUMI_SKIP_UPDATE_CHECK"] == "true"
    assert (told["KEY"], told["PULUMI_BACKEND_URL"]) == ("k", "file:///state")
    assert not {"PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE"} & set(told)


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    chosen = engine.Engine(tmp_path / "pulumi")
    mine = {"PATH": "/bin", "PULUMI_PARALLEL": "2", "PULUMI_PYTHON_CMD": "/their/venv/bin/python"}
    told = engine.command_environment(chosen, mine)
    assert told["PULUMI_PARALLEL"] == "2"
    assert told["PULUMI_PYTHON_CMD"] == "/their/venv/bin/python"
    assert told["PATH"].split(":")[1] == "/their/venv/bin"
    asked = engine.command_environment(chosen, mine, python=Path("/asked/bin/python"))
    assert asked["PULUMI_PYTHON_CMD"] == "/asked/bin/python"

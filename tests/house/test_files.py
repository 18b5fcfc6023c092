"""What the project's own files must and must not hold."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pulumi_atlas

SOURCES = {".py", ".sh", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".js", ".ts", ""}
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
HOMES = re.compile(r"(?<![\w.$}~-])/(home/[a-z]\w*/|Users/\w+/|ro" + r"ot/|wo" + r"rk/)")
TEMPORARY = re.compile(r"(?<![\w.$}~-])/tm" + r"p/")


def test_no_file_holds_a_path_of_somebodys_machine(root: Path, tracked: list[Path]) -> None:
    wrong = [f"{path.relative_to(root)}:{line}" for path in tracked for line in _lines_with(HOMES, path)]
    documents = [path for path in tracked if path.suffix == ".md"]
    wrong += [f"{path.relative_to(root)}:{line}" for path in documents for line in _lines_with(TEMPORARY, path)]
    assert not wrong, wrong


def test_nothing_in_the_source_is_marked_unfinished(root: Path, tracked: list[Path]) -> None:
    sources = [path for path in tracked if path.suffix in SOURCES and path.name != "LICENSE"]
    wrong = [f"{path.relative_to(root)}:{line}" for path in sources for line in _lines_with(UNFINISHED, path)]
    assert not wrong, wrong


def test_the_change_log_begins_with_this_version(root: Path) -> None:
    headings = re.findall(r"^## \[?v?(\d+\.\d+\.\d+\w*)", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    metadata = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert headings[:1] == [pulumi_atlas.__version__] == [metadata["project"]["version"]]


def test_the_change_log_gives_the_reason_of_each_dependency(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8").lower()
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    session = tomllib.loads((root / "sdk/python/pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *session["optional-dependencies"]["guard"]]
    names = [re.split(r"[<>=~!\[ ;]", line)[0].lower() for line in lines]
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)] == []


def test_every_example_is_a_pulumi_project_or_has_a_companion_and_a_readme(root: Path) -> None:
    examples = [folder for folder in sorted((root / "examples").iterdir()) if folder.name[:2].isdigit()]
    assert examples
    lacking = [example.name for example in examples if not (example / "README.md").exists()]
    lacking += [
        one.name for one in examples if not any((one / name).exists() for name in ("Pulumi.yaml", "atlas.yaml"))
    ]
    assert not lacking, lacking


def test_licence_and_security_policy_are_there(root: Path) -> None:
    assert "Apache License" in (root / "LICENSE").read_text(encoding="utf-8")
    assert "report" in (root / "SECURITY.md").read_text(encoding="utf-8").lower()


def _lines_with(pattern: re.Pattern[str], path: Path) -> list[int]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    return [number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]

"""What we import is declared, and what is declared is locked."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture
def project(root: Path) -> dict[str, Any]:
    fields = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(fields, dict)
    return fields


#: Ours, beside this package: not in the lock, since it is no release of somebody else's.
OURS = "atlas-session"

#: The only part of atlas-session that may use more than the standard library: the guard as a reverse proxy.
PROXY = "atlas_session.guard._proxy"


@pytest.fixture
def session_project(root: Path) -> dict[str, Any]:
    fields = tomllib.loads((root / "sdk" / "python" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(fields, dict)
    return fields


def test_what_runs_in_other_peoples_pods_needs_the_standard_library_only(
    session_project: dict[str, Any], modules: dict[str, Path]
) -> None:
    assert session_project["dependencies"] == []
    extra = _names(session_project["optional-dependencies"]["guard"])
    providers = packages_distributions()
    wrong = []
    for name, path in modules.items():
        if not name.startswith("atlas_session"):
            continue
        allowed = extra if name.startswith(PROXY) else set()
        for top in _foreign(path):
            if not {canonicalize_name(owner) for owner in providers.get(top, [top])} & allowed:
                wrong.append(f"{name} imports {top}")
    assert not wrong, wrong


def test_every_foreign_import_is_a_declared_dependency(project: dict[str, Any], modules: dict[str, Path]) -> None:
    modules = {name: path for name, path in modules.items() if name.startswith("pulumi_atlas")}
    declared = _names(project["dependencies"])
    extras = {room: _names(project["optional-dependencies"][room]) for room in ("testing", "runtime")}
    providers = packages_distributions()
    wrong = []
    for name, path in modules.items():
        allowed = declared | extras.get(name.split(".")[1] if "." in name else "", set())
        for top in _foreign(path):
            owners = {canonicalize_name(owner) for owner in providers.get(top, [top])}
            if not owners & allowed:
                wrong.append(f"{name} imports {top}, which pyproject.toml does not ask for")
    assert not wrong, wrong


def test_the_lock_satisfies_every_declared_dependency(
    root: Path, project: dict[str, Any], session_project: dict[str, Any]
) -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", _lock(root), re.M))
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    wanted += session_project["optional-dependencies"]["guard"]
    wanted = [line for line in wanted if not line.startswith(OURS)]
    wanted += [line for line in (root / "requirements" / "dev.in").read_text().splitlines() if line and line[0] != "#"]
    for requirement in map(Requirement, wanted):
        version = locked.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), f"{requirement}: `make lock` (locked: {version})"


def test_every_locked_package_has_a_hash_and_no_address(root: Path) -> None:
    text = _lock(root)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 50
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def _lock(root: Path) -> str:
    return (root / "requirements" / "dev.txt").read_text(encoding="utf-8")


def _names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def _foreign(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"pulumi_atlas", "atlas_session"}

"""The storeys of DESIGN section 3: who may import whom."""

from __future__ import annotations

import ast
import configparser
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAY_IMPORT_PULUMI = ("pulumi_atlas.resources", "pulumi_atlas.drift", "pulumi_atlas.testing._pulumi")

IMPORT_ALL = """
import importlib, json, sys, traceback

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "pulumi" or name.startswith("pulumi."):
            raise ModuleNotFoundError(f"No module named {name!r} (hidden by the test)", name=name)

sys.meta_path.insert(0, Hidden())
failed = {}
for name in json.load(sys.stdin):
    try:
        importlib.import_module(name)
    except Exception:
        failed[name] = traceback.format_exc().strip().splitlines()[-1]
json.dump(failed, sys.stdout)
"""


def test_import_linter_finds_every_storey_kept(root: Path) -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    done = subprocess.run([*command, "--no-cache", "--no-logo"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_stands_on_a_storey(root: Path, modules: dict[str, Path]) -> None:
    plan = configparser.ConfigParser()
    plan.read(root / ".importlinter")
    words = plan["importlinter:contract:storeys"]["layers"].replace("(", " ").replace(")", " ").split()
    placed = set(words) - {"|"}
    modules = {name: path for name, path in modules.items() if name.startswith("pulumi_atlas.")}
    rooms = {name for name in modules if name.count(".") == 1} - {"pulumi_atlas.providers"}
    rooms |= {name for name in modules if name.startswith("pulumi_atlas.providers.") and name.count(".") == 2}
    assert rooms <= placed, f"give these a storey in .importlinter: {sorted(rooms - placed)}"


def test_private_modules_are_imported_only_inside_their_own_folder(modules: dict[str, Path]) -> None:
    wrong = []
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for target in _imports(path, package):
            parts = target.split(".")
            private = next((place for place, part in enumerate(parts) if _is_private(part)), len(parts))
            owner = ".".join(parts[:private])
            if (
                private < len(parts)
                and ".".join(parts[: private + 1]) in modules
                and not f"{package}.".startswith(f"{owner}.")
            ):
                wrong.append(f"{name} imports {target}")
    assert not wrong, wrong


def test_everything_but_the_pulumi_rooms_imports_with_pulumi_hidden(modules: dict[str, Path]) -> None:
    without = [
        name
        for name in modules
        if not name.endswith("__main__") and not f"{name}.".startswith(tuple(f"{room}." for room in MAY_IMPORT_PULUMI))
    ]
    assert "pulumi_atlas.client" in without
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], input=json.dumps(without), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {}


def _imports(path: Path, package: str) -> Iterator[str]:
    """Dotted names that a file imports; `from a import b` gives `a.b`, since b may be a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            source = ".".join(word for word in (base, node.module) if word)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _is_private(part: str) -> bool:
    return part.startswith("_") and not part.startswith("__")

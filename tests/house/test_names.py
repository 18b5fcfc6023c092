"""Public names: each module lists its own, and the documents mention those of the front door."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pulumi_atlas


def test_every_public_module_lists_its_names_sorted_and_has_them_all(modules: dict[str, Path]) -> None:
    wrong = []
    for name, path in modules.items():
        if any(part.startswith("_") for part in name.split(".")):
            continue
        listed = getattr(importlib.import_module(name), "__all__", None)
        if listed is None:
            if _defines_something_public(path):
                wrong.append(f"{name} has no __all__")
            continue
        if list(listed) != sorted(listed, key=_order):
            wrong.append(f"{name}.__all__ is not sorted")
        wrong += [f"{name}.{word} is in __all__ and nowhere else" for word in listed if not _has(name, word)]
    assert not wrong, wrong


def test_every_name_of_the_front_door_is_in_the_documents(root: Path) -> None:
    documents = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents)
    words = set(re.findall(r"\w+", text))
    assert pulumi_atlas.__all__
    missing = [name for name in pulumi_atlas.__all__ if name not in words]
    assert not missing, f"say what these are in README.md or docs/: {missing}"


def test_every_name_of_the_front_door_can_be_had() -> None:
    assert set(pulumi_atlas.__all__) <= set(dir(pulumi_atlas))
    for name in pulumi_atlas.__all__:
        assert getattr(pulumi_atlas, name) is not None


def _has(module: str, word: str) -> bool:
    return hasattr(importlib.import_module(module), word)


def _order(word: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: as ruff sorts them."""
    return (0 if word.isupper() else 1 if word[:1].isupper() else 2, word)


def _defines_something_public(path: Path) -> bool:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            return True
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and not target.id.startswith("_") for target in targets):
                return True
    return False

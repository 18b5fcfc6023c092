"""The states that tell which things are known: every stack of a `file://` backend, or those that the engine exports."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_atlas.backend import find_backend, find_project
from pulumi_atlas.drift._stack_editor import StackEditor
from pulumi_atlas.drift.stack_state import StackState, parse
from pulumi_atlas.errors import AtlasError, ConfigError

__all__ = ["KnownState", "given_states", "read_folder", "unreadable"]


@dataclass(frozen=True)
class KnownState:
    """One stack by name. `state` is None when it could not be read: then nothing of it is known."""

    label: str
    state: StackState | None

    @property
    def holds(self) -> frozenset[str]:
        """Ids and births of what it manages, pending operations included; what it only reads is not its own."""
        if self.state is None:
            return frozenset()
        things = [one for one in self.state.things if not one.external]
        things += [one.thing for one in self.state.pending]
        return frozenset({one.id for one in things if one.id} | {one.birth for one in things if one.birth})


def given_states(
    cwd: Path, environ: Mapping[str, str], *, folders: Sequence[Path] = (), stacks: Sequence[str] = ()
) -> list[KnownState]:  # fmt: skip
    """The states of `folders` (file backends) and of the project's `stacks`; when neither is given, all of its backend.

    Outside a project, and with nothing given, none. Raises ConfigError for a folder that is no backend.
    """
    found = [one for folder in folders for one in read_folder(folder)]
    project = find_project(cwd)
    if stacks:
        if project is None:
            raise ConfigError(f"{cwd} is in no Pulumi project", hint="--stack names stacks of the project in --cwd")
        return found + [_exported(project.folder, environ, name) for name in stacks]
    if folders or project is None:
        return found
    backend = find_backend(environ, project)
    if backend.root is not None:
        return read_folder(backend.root)
    return [_exported(project.folder, environ, name) for name in StackEditor(project.folder, environ).stack_names()]


def read_folder(root: Path) -> list[KnownState]:
    """Every stack below a `file://` backend's folder. Raises ConfigError when it is none."""
    folder = root / ".pulumi" / "stacks"
    if not folder.is_dir():
        raise ConfigError(f"{root} is no folder of states", hint="give the folder that a file:// backend names")
    return [_read(path, folder) for path in sorted(folder.rglob("*")) if path.name.endswith((".json", ".json.gz"))]


def _exported(folder: Path, environ: Mapping[str, str], name: str) -> KnownState:
    return KnownState(name, parse(StackEditor(folder, environ, stack=name).stack_export()))


def _read(path: Path, folder: Path) -> KnownState:
    label = str(path.relative_to(folder)).removesuffix(".gz").removesuffix(".json")
    try:
        content = path.read_bytes()
        fields: Any = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        return KnownState(label, parse({"deployment": fields["checkpoint"].get("latest") or {}}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AtlasError):
        return KnownState(label, None)


def unreadable(states: Iterable[KnownState]) -> list[str]:
    """The names of those that could not be read."""
    return [one.label for one in states if one.state is None]

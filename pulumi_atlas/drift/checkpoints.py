"""State files of a `file://` backend that a killed engine left cut off, and the copy from before that the engine keeps.

The engine copies the state to `<stack>.json.bak` and then writes `<stack>.json` in place: killed in between, it leaves a file
that it cannot read any more itself. What the copy lacks is protected by intents, as after any other crash.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_atlas import files
from pulumi_atlas.backend import Backend
from pulumi_atlas.errors import Conflict

__all__ = ["Checkpoint", "find_damaged", "restore"]


@dataclass(frozen=True)
class Checkpoint:
    """One state file that cannot be read. `backup` is the engine's readable copy, None when there is none."""

    path: Path
    stack: str
    backup: Path | None

    def __str__(self) -> str:
        return f"the state of stack {self.stack} was cut off by a run that was killed"

    def as_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "stack": self.stack, "backup": str(self.backup) if self.backup else None}


def find_damaged(backend: Backend, project: str) -> list[Checkpoint]:
    """The project's state files that are no JSON, by stack. A file that is being written now looks the same: ask its lock."""
    if backend.root is None:
        return []
    folder = backend.root / ".pulumi" / "stacks" / project
    return [_damaged(path) for path in sorted(folder.glob("*.json")) if not _is_readable(path)]


def restore(damaged: Checkpoint) -> Path:
    """Put the engine's copy in place; the damaged file is kept beside it, and its new path returned.

    Raises Conflict when there is no readable copy. Call it only when nobody runs on that stack.
    """
    if damaged.backup is None:
        hint = "`pulumi stack import` takes a copy of your own, or the newest of .pulumi/history and .pulumi/backups"
        raise Conflict(f"{damaged}, and the engine's copy of it cannot be read", operation="recover", hint=hint)
    kept = damaged.path.with_name(f"{damaged.path.name}.damaged-{int(time.time())}")
    content, mode = damaged.backup.read_bytes(), damaged.backup.stat().st_mode & 0o777
    files.write_atomically(kept, damaged.path.read_bytes(), mode=mode)
    files.write_atomically(damaged.path, content, mode=mode)
    return kept


def _damaged(path: Path) -> Checkpoint:
    backup = path.with_name(f"{path.name}.bak")
    return Checkpoint(path, path.stem, backup if _is_readable(backup) else None)


def _is_readable(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False

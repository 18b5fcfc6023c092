"""Which births the engine has known: from the checkpoints that a `file://` backend keeps of each update."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from pulumi_atlas.backend import Backend
from pulumi_atlas.drift.stack_state import parse
from pulumi_atlas.errors import AtlasError

__all__ = ["births_once_held"]


def births_once_held(backend: Backend, project: str, stack: str) -> frozenset[str] | None:
    """Births that a resource of an earlier state held; None when the backend's history cannot be read here.

    What was held and is held no more was let go by the engine: deleted, or kept on purpose (`retain_on_delete`).
    """
    if backend.root is None:
        return None
    folders = [backend.root / ".pulumi" / "history" / project / stack, backend.root / ".pulumi" / "history" / stack]
    found: set[str] = set()
    for folder in folders:
        for path in folder.glob("*.checkpoint.json*"):
            if not path.name.endswith(".attrs"):
                found |= _births(path)
    return frozenset(found)


def _births(path: Path) -> set[str]:
    try:
        content = path.read_bytes()
        fields = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        state = parse({"deployment": fields["checkpoint"]["latest"]})
    except (OSError, ValueError, KeyError, TypeError, AtlasError):
        return set()
    return {str(thing.birth) for thing in state.things if thing.birth}

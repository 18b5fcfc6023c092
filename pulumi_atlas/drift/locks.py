"""Locks that runs of the engine left in a `file://` backend, and whether their holders still live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psutil

from pulumi_atlas import files, processes
from pulumi_atlas.backend import Backend
from pulumi_atlas.errors import AtlasError

__all__ = ["Holder", "Lock", "find_locks"]

#: `alive` and `dead` are known only on this host; of another host's process nothing can be known.
Holder = Literal["alive", "dead", "elsewhere", "unreadable"]

#: Clocks of the engine and of the kernel may differ a little.
_SLACK_S = 2.0


@dataclass(frozen=True)
class Lock:
    """One lock file. `taken_at` is in seconds since the epoch."""

    path: Path
    project: str
    stack: str
    pid: int | None
    host: str | None
    taken_at: float
    holder: Holder

    @property
    def is_stale(self) -> bool:
        """Whether its holder is known to be dead."""
        return self.holder == "dead"

    def __str__(self) -> str:
        who = f"process {self.pid} on {self.host}" if self.pid else "an unknown process"
        return f"stack {self.stack} of {self.project} is locked by {who}"

    def as_json(self) -> dict[str, Any]:
        names = ("project", "stack", "pid", "host", "taken_at", "holder")
        return {"path": str(self.path), **{name: getattr(self, name) for name in names}}


def find_locks(backend: Backend, *, project: str | None = None, stack: str | None = None) -> list[Lock]:
    """The locks of the backend, of one project and stack where these are given. Other kinds of backend show none."""
    if backend.root is None:
        return []
    folder = backend.root / ".pulumi" / "locks"
    found = [_lock(path, path.relative_to(folder).parts) for path in sorted(folder.rglob("*.json"))]
    return [
        lock
        for lock in found
        if (project is None or lock.project in ("", project)) and (stack is None or lock.stack == stack)
    ]


def _lock(path: Path, parts: tuple[str, ...]) -> Lock:
    """`organization/<project>/<stack>/<uuid>.json`; backends of old have no project: `<stack>/<uuid>.json`."""
    stack = parts[-2] if len(parts) > 1 else ""
    project = parts[-3] if len(parts) > 2 else ""
    try:
        fields = files.read_json(path)
        return _read(path, project, stack, fields if isinstance(fields, dict) else {})
    except (AtlasError, OSError, ValueError, TypeError):
        return Lock(path, project, stack, None, None, 0.0, "unreadable")


def _read(path: Path, project: str, stack: str, fields: Mapping[str, Any]) -> Lock:
    pid, host = int(fields.get("pid") or 0), str(fields.get("hostname") or "")
    taken_at = _time(fields.get("timestamp")) or path.stat().st_mtime
    holder = _holder(pid, host, taken_at) if pid and host else "unreadable"
    return Lock(path, project, stack, pid or None, host or None, taken_at, holder)


def _holder(pid: int, host: str, taken_at: float) -> Holder:
    if host != processes.host_name():
        return "elsewhere"
    if processes.identify(pid) is None:
        return "dead"
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return "dead"
    except psutil.Error:
        return "alive"  # somebody's process that cannot be looked at: it may be the holder
    return "dead" if started > taken_at + _SLACK_S else "alive"  # the pid was given to a later process


def _time(text: Any) -> float | None:
    if not isinstance(text, str) or not text:
        return None
    whole, _, rest = text.partition(".")
    fraction = "".join(c for c in rest if c.isdigit()) if rest.endswith("Z") else ""
    plain = f"{whole}.{fraction[:6].ljust(6, '0')}+00:00" if fraction else text
    try:
        return datetime.fromisoformat(plain).timestamp()
    except ValueError:
        return None

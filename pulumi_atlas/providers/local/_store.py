"""The provider's folder: one folder per thing, whose `record.json` makes it exist.

::

    <root>/<kind>/<id>/record.json    kind: pods, volumes, endpoints
    <root>/locks/<kind>.<id>.lock     held while a thing is changed; gone with the thing
    <root>/ports/<port>               host ports that are spoken for (see `_ports`)

A thing exists from the moment its record is written until the record is removed, so a process killed in between leaves
either a whole thing or rubbish without a record, which `sweep` removes. Ids are never used twice. All methods block.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pulumi_atlas import files
from pulumi_atlas.errors import ProviderFailure, TimedOut

__all__ = ["Kind", "Store"]

Kind = Literal["pods", "volumes", "endpoints"]

_RECORD = "record.json"


class Store:
    """Records of pods, volumes and endpoints below `root`, safe for several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, kind: Kind, id: str) -> Path:
        """Where the thing keeps its files. Pure: makes nothing."""
        return self.root / kind / id

    def read(self, kind: Kind, id: str) -> dict[str, Any] | None:
        """The record, or None when there is no such thing. Raises ProviderFailure naming a damaged file."""
        if not _plain(id):
            return None
        path = self.folder(kind, id) / _RECORD
        record = files.read_json(path)
        if record is not None and not isinstance(record, dict):
            raise ProviderFailure(
                f"{path} is damaged: not an object", hint="move the file away and look at its content"
            )
        return record

    def ids(self, kind: Kind) -> list[str]:
        """The names of all folders of that kind, half-made ones too; sorted."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root / kind) if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ProviderFailure(f"cannot list {self.root / kind}: {error.strerror or error}") from error

    def all(self, kind: Kind) -> list[dict[str, Any]]:
        """All records of that kind, by id. Skips half-made folders; raises ProviderFailure naming a damaged file."""
        return [record for id in self.ids(kind) if (record := self.read(kind, id)) is not None]

    def write(self, kind: Kind, id: str, record: dict[str, Any]) -> None:
        """Write the record, whole or not at all, and durably. On failure the old one stays."""
        folder = files.make_private_folder(self.folder(kind, id))
        files.write_json(folder / _RECORD, record)

    def remove(self, kind: Kind, id: str) -> None:
        """Remove the thing: its record first, then all its files (links are removed, never followed), then its ports."""
        folder = self.folder(kind, id)
        if folder.exists():
            files.remove(folder / _RECORD)
            _remove_tree(folder)
        for port in ports_in(id):
            (self.root / "ports" / str(port)).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, kind: Kind, id: str | None, *, timeout_s: float = 30.0) -> Iterator[None]:
        """Hold the lock of one thing, or with None that of the whole kind. Raises TimedOut after `timeout_s` seconds.

        A lock file is removed again when its thing is not there at the end.
        """
        folder = files.make_private_folder(self.root / "locks")
        path = folder / (f"{kind}.lock" if id is None else f"{kind}.{id}.lock")
        with files.locked(path, timeout_s=timeout_s):
            try:
                yield
            finally:
                if id is not None and not self.folder(kind, id).exists():
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)

    def sweep(self, kind: Kind) -> None:
        """Remove what killed processes left: folders without a record, unless somebody works on them now."""
        for id in self.ids(kind):
            folder = self.folder(kind, id)
            if (folder / _RECORD).exists():
                continue
            with contextlib.suppress(TimedOut), self.locked(kind, id, timeout_s=0):
                if not (folder / _RECORD).exists():
                    self.remove(kind, id)


def ports_in(id: str) -> list[int]:
    """The host ports that an id names: the numbers after its first two parts."""
    return [int(part) for part in id.split("-")[2:] if part.isdigit()]


def _plain(id: str) -> bool:
    return bool(id) and "/" not in id and "\x00" not in id and not id.startswith(".") and len(id) < 256


def _remove_tree(folder: Path) -> None:
    """Remove a folder tree, also where a pod has left folders that may not be written."""
    try:
        shutil.rmtree(folder, onerror=_unlock_and_retry)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ProviderFailure(
            f"cannot remove {error.filename or folder}: {error.strerror or error}",
            hint="remove the folder by hand, or repeat the command",
        ) from error


def _unlock_and_retry(function: Callable[..., Any], path: str, raised: Any) -> None:
    error = raised[1]
    if isinstance(error, FileNotFoundError):
        return
    if not isinstance(error, PermissionError):
        raise error
    for place in (Path(path).parent, Path(path)):
        if place.is_dir() and not place.is_symlink():
            place.chmod(stat.S_IRWXU)
    if function in (os.open, os.scandir, os.rmdir):
        shutil.rmtree(path)
    else:
        function(path)

"""Which file on which machine a store is, so that a copy is told from the original; and the making of that file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pulumi_atlas.errors import AtlasError
from pulumi_atlas.files import make_private_folder
from pulumi_atlas.processes import host_name
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["Place", "machine_name", "make_file", "place_of"]

_MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is. `machine` names it without telling its id; `path` is without symbolic links."""

    machine: str
    path: str
    inode: str

    def differs_from(self, recorded: Place) -> str:
        """What is not as it was recorded, as a sentence; "" when all of it is."""
        said = []
        if self.machine != recorded.machine:
            said.append("this is another machine than the one that used it last")
        if self.path != recorded.path:
            said.append(f"it was {recorded.path} when it was used last")
        elif self.inode != recorded.inode:
            said.append("its file is another one than before, as after a copy")
        return "; ".join(said)


def machine_name() -> str:
    """A name of this machine that stays: derived from its id where it has one (the id itself is confidential), else its
    host name."""
    try:
        ident = _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        ident = ""
    if not ident:
        return f"host:{host_name()}"
    return "id:" + hashlib.sha256(b"pulumi-atlas store\0" + ident.encode()).hexdigest()[:20]


def place_of(path: Path) -> Place:
    """Raises StoreUnavailable when there is no such file."""
    try:
        inode = path.stat().st_ino
    except OSError as error:
        raise StoreUnavailable(f"the store {path} is not there: {error.strerror or error}") from error
    return Place(machine_name(), str(path.resolve()), str(inode))


def make_file(path: Path) -> bool:
    """Make an empty file (0600) with its folder (0700) unless it is there. Whether it was made.

    The file is opened only when it is new: closing it would drop locks that this process has on it. Raises StoreUnavailable.
    """
    try:
        make_private_folder(path.parent)
        if path.exists():
            return False
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreUnavailable(f"cannot make the store {path}: {error.strerror or error}") from error
    except AtlasError as error:
        raise StoreUnavailable(error.message, hint=error.hint) from error
    return True

"""The first start: a store without keys gets one for its admin, in a file that only its owner can read."""

from __future__ import annotations

import logging
from pathlib import Path

from pulumi_atlas import files
from pulumi_atlas.runtime.http.keys import minted
from pulumi_atlas.runtime.store.contract import Store

__all__ = ["FIRST_KEY", "admin_key_file", "ensure_admin_key"]

_log = logging.getLogger("pulumi_atlas.runtime")

#: What is added to the store's name for the file of the first key.
FIRST_KEY = ".admin-key"


def admin_key_file(store: Path) -> Path:
    """The file of the first key of the store in that file."""
    return store.with_name(f"{store.name}{FIRST_KEY}")


async def ensure_admin_key(store: Store, path: Path, *, now: float) -> bool:
    """Make one when the store has no key at all; its text goes to `path` (0600), and only the path to the log.

    Returns whether one was made. The file is there before the key counts, so that no key is ever lost. Raises
    AtlasError when it cannot be written.
    """
    if await store.keys():
        return False
    key, text = minted("admin", "first", now)
    files.write_atomically(path, f"{text}\n".encode())
    await store.add_key(key)
    _log.warning("made an admin key, since there was no key yet: it is in %s", path)
    return True

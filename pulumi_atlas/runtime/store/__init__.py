"""Where sessions are kept: one small contract, and what implements it.

::

    contract ──► sqlite ──► _database   one file: writes in line, reads beside them
                    │
                    ├── _sessions, _events, _meta, _schema, _rows    statements, the same for every database
                    ├── _migrate, migrations/                        its tables, revision by revision
                    └── _lock, _place                                who may use it, and whether it is a copy
    backup          what a drill needs: backup, verify, restore
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_atlas.runtime.store._url import path_of

if TYPE_CHECKING:
    from pulumi_atlas.runtime.store.contract import Store

__all__ = ["open_for_tools", "open_store", "store_path"]


def open_store(url: str) -> Store:
    """The store at ``sqlite:///PATH``, as a companion uses it: alone. Nothing is touched before its `open`.

    PATH is relative to the working folder, or absolute: ``sqlite:////var/lib/atlas/atlas.db``. Raises ConfigError.
    """
    from pulumi_atlas.runtime.store.sqlite import SqliteStore

    return SqliteStore(path_of(url))


def open_for_tools(url: str, *, may_create: bool = False) -> Store:
    """The same store for a command beside a running companion: keys, confirmation, reading. It takes no lock.

    Its `open` takes any deployment when `name` is "". Where there is no store yet it raises ConfigError, or makes one that
    the first companion gives its name to (`may_create`). Its events reach no webhook: those belong to the companion.
    """
    from pulumi_atlas.runtime.store.sqlite import SqliteStore

    return SqliteStore(path_of(url), exclusive=False, may_create=may_create)


def store_path(url: str) -> Path:
    """The database file of an address, absolute and without symbolic links. Raises ConfigError."""
    return path_of(url)

"""What a failing database means, in a sentence. The one door through which its exceptions become ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["failure_of", "mapped", "sqlite_code"]

_ROOM = "free some space; it goes on by itself then"
_BACKUP = "stop the companion, keep the file, and restore a backup: atlas runtime restore"

#: By primary result code: what to say, with the file's path for {}, and the hint.
_SAID: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("no space left to write the store {}", _ROOM),
    sqlite3.SQLITE_BUSY: ("another process keeps the store {} locked", "see which program has that file open"),
    sqlite3.SQLITE_LOCKED: ("another process keeps the store {} locked", "see which program has that file open"),
    sqlite3.SQLITE_CORRUPT: ("the store {} is damaged", _BACKUP),
    sqlite3.SQLITE_NOTADB: ("{} is not a store, or it is damaged", "check the address; or restore a backup"),
    sqlite3.SQLITE_IOERR: ("reading or writing the store {} failed", "check the disk and its free space"),
    sqlite3.SQLITE_CANTOPEN: ("the store {} cannot be opened", "check that the file is there and yours"),
    sqlite3.SQLITE_READONLY: ("the store {} cannot be written", "check that file, folder and disk are writable"),
    sqlite3.SQLITE_PERM: ("the store {} cannot be opened", "check that the file is yours"),
    sqlite3.SQLITE_NOMEM: ("no memory left to use the store {}", ""),
}


def sqlite_code(error: BaseException) -> int:
    """SQLite's primary result code, 0 when there is none."""
    original = getattr(error, "orig", None) or error
    return int(getattr(original, "sqlite_errorcode", 0) or 0) & 0xFF


def failure_of(error: BaseException, path: Path) -> StoreUnavailable:
    """The failure in our words. Holds no values of the statement."""
    said, hint = _SAID.get(sqlite_code(error), ("the store {} does not answer as it should", ""))
    return StoreUnavailable(said.format(path), hint=hint)


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Failures of the database become StoreUnavailable."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise failure_of(error, path) from error

"""Backups of a store while its companion runs, and the way back.

A backup is a folder: `store.db`, `keys.json` (the master keys, when there are any) and `backup.json`, which says what they
are. It is made whole or not at all, and only its owner can read it. Its store is marked: whichever way it comes back, a
companion on it kills nothing until ``atlas runtime confirm-store``, because it does not know what happened since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from atlas_session.errors import CannotSign
from atlas_session.keys import KeyRing
from pulumi_atlas import files
from pulumi_atlas.errors import AtlasError, ConfigError
from pulumi_atlas.runtime.store._failures import failure_of
from pulumi_atlas.runtime.store._lock import StoreLock
from pulumi_atlas.runtime.store._meta import restored_sentence
from pulumi_atlas.runtime.store._migrate import known
from pulumi_atlas.runtime.store._url import path_of
from pulumi_atlas.runtime.store.contract import StoreUnavailable
from pulumi_atlas.runtime.store.sqlite import APPLICATION_ID

__all__ = ["Backup", "Restored", "backup", "keyring_path", "restore", "verify"]

_STORE, _KEYS, _SAYS = "store.db", "keys.json", "backup.json"


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds. `made_at`: unix seconds. `revision`: of its schema. `sums`: SHA-256 of each file, hex."""

    made_at: float
    deployment_id: str
    name: str
    revision: str
    sessions: int
    live: int
    last_event: int
    sums: dict[str, str]


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, and where the files that were in its place are now."""

    backup: Backup
    store: Path
    moved_aside: tuple[Path, ...]


def keyring_path(store: Path) -> Path:
    """The file of the master keys that belong to a store."""
    return store.with_name(f"{store.name}.keys")


def backup(url: str, folder: Path, *, now: float | None = None) -> Backup:
    """Write the store and its keys, as they are at one moment, into `folder`, which must not hold anything yet.

    Raises ConfigError when there is no store or the folder is taken, StoreUnavailable when reading or writing fails; then
    nothing is left behind.
    """
    store, made_at = path_of(url), time.time() if now is None else now
    if not store.is_file():
        raise ConfigError(f"there is no store at {store}", hint="check the address of the store")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already", hint="name a new folder, for example with the date in it")
    folder = folder.absolute()
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        with _storage(draft):
            files.make_private_folder(draft.parent)
            draft.mkdir(mode=0o700)
            _copy(store, draft / _STORE)
            if keyring_path(store).exists():  # after the store: a ring only grows
                files.write_atomically(draft / _KEYS, keyring_path(store).read_bytes())
            made = _describe(draft, made_at)
            files.write_json(draft / _SAYS, asdict(made))
            draft.rename(folder)
            _sync(folder.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return made


def verify(folder: Path) -> Backup:
    """Whether a backup is whole: its files are those that were written, its database is sound, its keys are keys, and this
    version can use it. Raises ConfigError, saying what is wrong."""
    says = _says(folder)
    for name, wanted in says.sums.items():
        if not (folder / name).is_file() or _sum(folder / name) != wanted:
            raise ConfigError(f"{folder / name} is not the file that was backed up", hint="use another backup")
    with _opened(folder / _STORE, "mode=ro&immutable=1") as database:
        (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise ConfigError(f"the store in {folder} is damaged: {found}", hint="use another backup")
    if not known(says.revision):
        raise ConfigError(
            f"the backup is of a newer version (schema {says.revision})", hint="upgrade pulumi-atlas, then restore"
        )
    if _KEYS in says.sums:
        _check_ring(folder / _KEYS)
    return says


def restore(folder: Path, url: str, *, force: bool = False, now: float | None = None) -> Restored:
    """Put a backup where a store is to be. No companion may run on it. What is there already is an error, or (`force`) is
    moved aside, because it may know of pods that the backup does not.

    Raises ConfigError (also for a damaged backup: see `verify`), StoreBusy, StoreUnavailable.
    """
    says, store, at = verify(folder), path_of(url), time.time() if now is None else now
    with _storage(store):
        files.make_private_folder(store.parent)
        lock = StoreLock.take(store, at)
        try:
            taken = [path for path in _places(store) if path.exists()]
            if taken and not force:
                raise ConfigError(
                    f"there is something at {taken[0]} already",
                    hint="name another place, or use force: what is there is moved aside, not removed",
                )
            moved = tuple(_move_aside(path, store, at) for path in taken)
            _sync(store.parent)
            if _KEYS in says.sums:
                files.write_atomically(keyring_path(store), (folder / _KEYS).read_bytes())
            _put(folder / _STORE, store)  # the last step: without it there is no store
        finally:
            lock.release()
    return Restored(says, store, moved)


def _places(store: Path) -> list[Path]:
    """The store and what belongs to it. A journal without its store would be taken for the next one's."""
    return [store, *(store.with_name(store.name + end) for end in ("-wal", "-shm", "-journal")), keyring_path(store)]


def _move_aside(path: Path, store: Path, at: float) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    aside = store.name + f".replaced-{stamp}"
    target = path.with_name(aside + path.name.removeprefix(store.name))
    if target.exists():
        raise ConfigError(f"{target} is there already", hint="move it away, then restore")
    path.rename(target)
    return target


def _put(source: Path, store: Path) -> None:
    """Copy it durably beside its place, then rename."""
    draft = store.with_name(f".{store.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out, source.open("rb") as read:
            shutil.copyfileobj(read, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(store)
        _sync(store.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _copy(store: Path, target: Path) -> None:
    """SQLite's online backup: one moment of it, while others write. In one step, since a busy store would begin it anew."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with _opened(store, "mode=ro") as source:
        if source.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise ConfigError(f"{store} is no store of a companion", hint="check the address of the store")
        with _opened(target, "mode=rw") as copy:
            source.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode=DELETE")


def _describe(draft: Path, made_at: float) -> Backup:
    """Mark the copy, check it, and say what it holds."""
    with _opened(draft / _STORE, "mode=rw") as copy:
        copy.execute("PRAGMA synchronous=FULL")
        with copy:
            copy.execute("UPDATE meta SET restored = ?", (restored_sentence(made_at),))
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise StoreUnavailable(f"the store is damaged: {found}", hint="restore an older backup")
        ident, name, last = copy.execute("SELECT deployment_id, name, last_event FROM meta").fetchone()
        (revision,) = copy.execute("SELECT version_num FROM alembic_version").fetchone()
        counts = "SELECT count(*), count(*) FILTER (WHERE state NOT IN ('terminated', 'failed')) FROM sessions"
        total, live = copy.execute(counts).fetchone()
    there = [one for one in (_STORE, _KEYS) if (draft / one).exists()]
    return Backup(made_at, ident, name, revision, total, live, last, {one: _sum(draft / one) for one in there})


def _says(folder: Path) -> Backup:
    try:
        fields = json.loads((folder / _SAYS).read_bytes())
        found = Backup(**fields)
        sums = {name: str(value) for name, value in found.sums.items() if name in (_STORE, _KEYS)}
    except (OSError, ValueError, TypeError, AttributeError):
        raise ConfigError(f"{folder} is no backup of a store", hint=f"it should hold {_SAYS} and {_STORE}") from None
    if _STORE not in sums:
        raise ConfigError(f"{folder} is no backup of a store", hint=f"it should hold {_STORE}")
    return found


def _check_ring(path: Path) -> None:
    try:
        KeyRing.from_json(path.read_text())
    except (OSError, UnicodeDecodeError, CannotSign) as error:
        raise ConfigError(f"{path} holds no master keys: {type(error).__name__}", hint="use another backup") from None


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as database:
            yield database
    except sqlite3.Error as error:
        raise failure_of(error, path) from error


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Failures of the disk become StoreUnavailable."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"cannot use {path}: {error.strerror or error}", hint="check the disk") from error
    except (ConfigError, StoreUnavailable):
        raise
    except AtlasError as error:
        if error.kind == "provider":
            raise StoreUnavailable(error.message, hint=error.hint) from error
        raise

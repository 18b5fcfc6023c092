"""Durable small files: whole or not at all, on disk before the call returns, and one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pulumi_atlas.errors import AtlasError, ProviderFailure, TimedOut

__all__ = ["locked", "make_private_folder", "read_json", "remove", "write_atomically", "write_json"]


def make_private_folder(folder: Path) -> Path:
    """Make a folder, and those above it that are not there (mode 0700 each, whatever the umask): who may write into one
    above could put another in its place. Raises AtlasError naming the folder when it cannot be made."""
    try:
        above = [one for one in folder.parents if not one.exists()]
        for one in (*reversed(above), folder):
            one.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _storage_error(folder, error) from error
    return folder


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace the file by `content` and make it durable. On failure, a full disk included, the old content stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _storage_error(path, error) from error


def write_json(path: Path, value: Any, *, mode: int = 0o600) -> None:
    """`write_atomically` for a JSON value, readable by a person."""
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode(), mode=mode)


def read_json(path: Path) -> Any | None:
    """The JSON value of a file; None when there is no such file. Raises ProviderFailure when it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ProviderFailure(
            f"{path} is damaged: {error}", hint="move the file away and look at its content"
        ) from error
    except OSError as error:
        raise _storage_error(path, error) from error


def remove(path: Path, *, durable: bool = True) -> bool:
    """Remove a file, by default durably. False when it was not there."""
    try:
        path.unlink()
        if durable:
            _sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _storage_error(path, error) from error
    return True


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float = 30.0) -> Iterator[None]:
    """Hold the lock file at `path` against other processes and threads. Raises TimedOut after `timeout_s` seconds.

    The kernel drops the lock of a killed holder. Keep it only for the short work of reading and writing records.
    """
    import filelock  # it brings much with it, and most of what is written here needs no lock

    try:
        with filelock.FileLock(path, timeout=timeout_s, mode=0o600, is_singleton=False, thread_local=False):
            yield
    except filelock.Timeout as error:
        raise TimedOut(
            f"another process holds {path} for more than {timeout_s:g} s",
            hint="see which atlas or pulumi process hangs and end it",
        ) from error
    except OSError as error:
        raise _storage_error(path, error) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_error(path: Path, error: OSError) -> AtlasError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ProviderFailure(f"no space left to write {path}", hint="free some space and run the same command again")
    return ProviderFailure(
        f"cannot use {path}: {error.strerror or error}", hint="check that the folder is yours and writable"
    )

"""One companion for one store: an exclusive lock that its holder's end releases, and that says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from pulumi_atlas.processes import host_name
from pulumi_atlas.runtime.store.contract import StoreBusy, StoreUnavailable

__all__ = ["StoreLock"]


class StoreLock:
    """A held lock on the file ``PATH.lock``. The kernel releases it when the process ends, however it ends."""

    def __init__(self, path: Path, descriptor: int, now: float) -> None:
        self._path, self._descriptor, self._now = path, descriptor, now

    @classmethod
    def take(cls, store: Path, now: float) -> StoreLock:
        """Raises StoreBusy naming the holder, or StoreUnavailable."""
        path = store.with_name(f"{store.name}.lock")
        try:
            return cls(path, _take(path, now), now)
        except BlockingIOError:
            raise StoreBusy(
                f"{_holder(path)} has the store {store}",
                hint="stop that companion, or give this one a store of its own",
            ) from None
        except OSError as error:
            raise StoreUnavailable(f"cannot lock {path}: {error.strerror or error}") from error

    def check(self) -> None:
        """Whether it still excludes others. A lock file that somebody removed is made anew, unless another companion was
        faster: then StoreUnavailable."""
        if _is_at(self._path, self._descriptor):
            return
        try:
            fresh = _take(self._path, self._now)
        except BlockingIOError:
            raise StoreUnavailable(
                f"the lock file {self._path} was removed, and {_holder(self._path)} has the store now",
                hint="stop one of the two companions",
            ) from None
        except OSError as error:
            raise StoreUnavailable(f"cannot lock {self._path}: {error.strerror or error}") from error
        os.close(self._descriptor)
        self._descriptor = fresh

    def release(self) -> None:
        """Give it back. Safe to repeat. The file stays: removing it would let two in at once."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def _take(path: Path, now: float) -> int:
    """The descriptor of the locked file. Raises BlockingIOError when somebody else has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                _say_who(descriptor, now)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed before it was locked


def _say_who(descriptor: int, now: float) -> None:
    said = json.dumps({"pid": os.getpid(), "host": host_name(), "since": round(now, 3)}).encode()
    with contextlib.suppress(OSError):  # a full disk does not make the lock less good
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, said, 0)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(float(said["since"])))
        return f"process {int(said['pid'])} on {said['host']} (since {since} UTC)"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"

"""Free host ports on loopback, each spoken for by a file so that no two things ever hold the same one.

A port is picked below the range from which the system takes ports for outgoing connections, so that a stopped pod finds
its port free again. `reserve` makes ``<root>/ports/<port>`` in one step, without a lock; the port then belongs to the
thing whose id names it, and `Store.remove` gives it back with the thing.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from pulumi_atlas import files, processes
from pulumi_atlas.errors import NoCapacity, ProviderFailure
from pulumi_atlas.providers.local._store import Store, ports_in

__all__ = ["is_free", "release", "reserve", "sweep"]

_LOWEST, _HIGHEST = 15_000, 32_767
_TRIES = 2_000
_FORGOTTEN_AFTER_S = 600.0


def reserve(store: Store, count: int) -> list[int]:
    """That many free loopback ports, spoken for until `release` or the removal of the thing whose id names them.

    Never one that a pod or an endpoint holds, a stopped one included. Raises NoCapacity when too few are free. The caller
    gives them back with `release` when it fails before its record is written; if it dies, `sweep` does.
    """
    if count == 0:
        return []
    folder = files.make_private_folder(store.root / "ports")
    held = _held(store)
    picked: list[int] = []
    try:
        for port in _candidates():
            if port not in held and is_free(port, strict=True) and _claim(folder / str(port)):
                picked.append(port)
            if len(picked) == count:
                return picked
    except BaseException:
        release(store, picked)
        raise
    release(store, picked)
    raise NoCapacity(f"fewer than {count} ports are free on this computer", hint="terminate pods that are not needed")


def release(store: Store, ports: Iterable[int]) -> None:
    """Give ports back. Those that are not spoken for are passed over."""
    for port in ports:
        with contextlib.suppress(OSError):
            (store.root / "ports" / str(port)).unlink(missing_ok=True)


def is_free(port: int, *, strict: bool = False) -> bool:
    """Whether a server could listen on this loopback port now; `strict`: not even a closing connection uses it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if not strict:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def sweep(store: Store) -> None:
    """Give back what was spoken for by processes that died before they wrote a record."""
    held = _held(store)
    try:
        names = os.listdir(store.root / "ports")  # noqa: PTH208 -- names only, for speed
    except FileNotFoundError:
        return
    for name in names:
        path = store.root / "ports" / name
        if name.isdigit() and int(name) not in held and _is_forgotten(path) and int(name) not in _held(store):
            path.unlink(missing_ok=True)


def _candidates() -> Iterable[int]:
    ports = range(_LOWEST, _HIGHEST + 1)
    return random.sample(ports, _TRIES)


def _held(store: Store) -> set[int]:
    return {port for kind in ("pods", "endpoints") for id in store.ids(kind) for port in ports_in(id)}


def _claim(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise ProviderFailure(f"cannot write {path}: {error.strerror or error}", hint="free some space") from error
    with contextlib.suppress(OSError), os.fdopen(descriptor, "w") as file:  # an empty mark holds as well
        json.dump(processes.me().as_json(), file)
    return True


def _is_forgotten(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S:
            return True
        return not processes.ProcessIdentity.from_json(json.loads(path.read_bytes())).may_be_alive()
    except (OSError, ValueError, KeyError, TypeError):
        return False

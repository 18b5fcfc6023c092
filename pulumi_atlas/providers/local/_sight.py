"""Looking at a pod's processes: which one is above its command, whether it lives, how the last run ended. All block."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pulumi_atlas import processes
from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.processes import ProcessIdentity
from pulumi_atlas.providers.local._translate import Sight

__all__ = ["call_off", "is_of", "look", "members", "shim_of"]


def look(record: Mapping[str, Any], folder: Path) -> Sight:
    """What is seen of the pod now."""
    writer = _identity(record["writer"])
    shim = shim_of(record, folder)
    if shim is None and not writer.may_be_alive():
        with contextlib.suppress(ProviderFailure):
            call_off(record, folder)  # or a process on its way would start after all
        shim = shim_of(record, folder)
    called_off = False
    if shim is None and claim_path(record, folder).exists():
        shim = shim_of(record, folder)  # made since the first look, or empty: then nothing will ever start
        called_off = shim is None
    exit_note = note_of(record, folder)  # after the process: it may have ended in between
    begun = shim or writer
    alive = shim is not None and shim.is_alive()
    if not alive and exit_note is None:
        exit_note = note_of(record, folder)
    return Sight(
        alive=alive,
        rebooted=begun.boot != processes.boot_id(),
        elsewhere=begun.host if _is_elsewhere(begun) else "",
        writer_alive=writer.is_alive() and not called_off,
        exit=exit_note,
        command=_read(folder / "command.json") if alive else {},
        shim_pid=shim.pid if shim else None,
    )


def shim_of(record: Mapping[str, Any], folder: Path) -> ProcessIdentity | None:
    """The process above the command in the present run, dead or alive; None when it never came to be.

    When the writer died before it noted the process, the claim tells the pid, and the environment of that process
    whether it is still the same.
    """
    if record["process"] is not None:
        return _identity(record["process"])
    claim = _read(claim_path(record, folder))
    pid = claim.get("pid")
    if not isinstance(pid, int):
        return None
    found = processes.identify(pid)
    if found and is_of(record, pid):
        return found
    writer = _identity(record["writer"])
    return ProcessIdentity(pid, writer.boot, 0, writer.host)  # it has ended; its ticks are not known any more


def call_off(record: Mapping[str, Any], folder: Path) -> None:
    """Make sure that a run that has not claimed its start never starts. Raises ProviderFailure when it cannot."""
    try:
        descriptor = os.open(claim_path(record, folder), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.close(descriptor)
    except (FileExistsError, FileNotFoundError):
        return
    except OSError as error:
        raise ProviderFailure(f"cannot write in {folder}: {error.strerror or error}", hint="free some space") from error


def note_of(record: Mapping[str, Any], folder: Path) -> Mapping[str, Any] | None:
    """How the present run ended, if it has noted that."""
    note = _read(folder / "exit.json")
    return note if note.get("run") == record["run"] else None


def claim_path(record: Mapping[str, Any], folder: Path) -> Path:
    """The file that the first of starter and caller-off makes."""
    return folder / f"claim-{record['run']}.json"


def members(record: Mapping[str, Any]) -> Iterable[ProcessIdentity]:
    """Every process on this machine that carries the pod's birth and id, wherever it has moved itself; not the caller."""
    found = processes.processes_with("ATLAS_BIRTH", record["birth"])
    return [process for process in found if process.pid != os.getpid() and is_of(record, process.pid)]


def is_of(record: Mapping[str, Any], pid: int) -> bool:
    """Whether the process itself, by its environment, belongs to the pod."""
    told = processes.environment_of(pid)
    return (told.get("ATLAS_BIRTH"), told.get("ATLAS_POD_ID")) == (record["birth"], record["id"])


def _is_elsewhere(identity: ProcessIdentity) -> bool:
    return identity.boot != processes.boot_id() and identity.host != processes.host_name()


def _identity(fields: Mapping[str, Any]) -> ProcessIdentity:
    """An identity from a record. This boot is on this host, whatever the host is called by now."""
    found = ProcessIdentity.from_json(fields)
    if found.boot == processes.boot_id():
        return ProcessIdentity(found.pid, found.boot, found.started, processes.host_name())
    return found


def _read(path: Path) -> Mapping[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        value = json.loads(path.read_bytes())
        if isinstance(value, dict):
            return value
    return {}

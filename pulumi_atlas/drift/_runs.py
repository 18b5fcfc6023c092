"""Runs of the engine that are still going on in a project's folder, seen through their dynamic provider processes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from pulumi_atlas import processes
from pulumi_atlas.errors import TimedOut

__all__ = ["ProviderProcess", "find_provider_processes", "wait_for_orphans"]

_POLL_S = 0.1

#: Seconds in which an orphan that has begun nothing ends by itself; one that was never asked anything does not even know how.
_IDLE_S = 20.0


@dataclass(frozen=True)
class ProviderProcess:
    """`python -m pulumi.dynamic <engine>`. `engine_lives`: its engine takes connections; otherwise it is an orphan."""

    identity: processes.ProcessIdentity
    engine_lives: bool


def find_provider_processes(folder: Path, pids: Iterable[int] = ()) -> list[ProviderProcess]:
    """Those that work in `folder` or below it, and those among `pids`."""
    wanted = set(pids)
    found = []
    for process in psutil.process_iter():
        address = _engine_address(process)
        if address is None or not (process.pid in wanted or _works_in(process, folder)):
            continue
        identity = processes.identify(process.pid)
        if identity is not None:
            found.append(ProviderProcess(identity, _answers(address)))
    return found


def wait_for_orphans(
    folder: Path,
    pids: Iterable[int],
    *,
    timeout_s: float,
    say: Callable[[str], None],
    creates: Callable[[processes.ProcessIdentity], bool] = lambda identity: True,
    idle_s: float = _IDLE_S,
) -> list[ProviderProcess]:
    """Wait until provider processes without an engine have ended by themselves. One that may be renting is never killed.

    `creates`: whether a process has an unclosed note. One that has none after `idle_s` seconds rents nothing, since a note
    comes before each request and no engine asks it any more: it is ended. Returns those whose engine lives. Raises TimedOut
    naming the processes that are left.
    """
    pids = list(pids)
    began, told = time.monotonic(), False
    deadline = began + timeout_s
    while True:
        found = find_provider_processes(folder, pids)
        orphans = [one for one in found if not one.engine_lives]
        if not orphans:
            return found
        names = ", ".join(str(one.identity.pid) for one in orphans)
        if time.monotonic() >= deadline:
            raise TimedOut(
                f"process {names} of a run without an engine has not ended within {timeout_s:g} s",
                operation="recover",
                hint="it may be renting something; run the same command again when it has ended",
            )
        if time.monotonic() - began >= idle_s:
            for one in orphans:
                if not creates(one.identity):
                    processes.send_signal(one.identity, signal.SIGTERM)
        if not told:
            say(f"waiting for process {names} to record what it began")
            told = True
        time.sleep(_POLL_S)


def _engine_address(process: psutil.Process) -> tuple[str, int] | None:
    try:
        words = process.cmdline()
    except psutil.Error:
        return None
    if "pulumi.dynamic" not in words[:-1] or words[words.index("pulumi.dynamic") - 1] != "-m":
        return None
    host, _, port = words[-1].rpartition(":")
    return (host or "127.0.0.1", int(port)) if port.isdigit() else None


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        place = Path(process.cwd())
    except (psutil.Error, OSError):
        return False
    return place.is_relative_to(folder.resolve())


def _answers(address: tuple[str, int]) -> bool:
    """As the watchdog judges: only a refusal proves that the engine is gone."""
    try:
        with socket.create_connection(address, timeout=2):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True

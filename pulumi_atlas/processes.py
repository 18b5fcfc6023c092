"""Which process is meant: boot, pid and start time together, because pids are used again.

Used for the writer of an intent, for pods and supervisors of `local`, and for locks of the engine.
"""

from __future__ import annotations

import functools
import os
import platform
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

__all__ = [
    "ProcessIdentity",
    "boot_id",
    "environment_of",
    "host_name",
    "identify",
    "me",
    "processes_with",
    "send_signal",
]


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one boot of one host. `started` is in clock ticks since boot (Linux) or epoch milliseconds."""

    pid: int
    boot: str
    started: int
    host: str

    def is_here(self) -> bool:
        """Whether it belongs to this host and this boot; only then can be said whether it lives."""
        return self.host == host_name() and self.boot == boot_id()

    def is_alive(self) -> bool:
        """Whether that very process runs here and now. A zombie has ended. False for another boot of this host."""
        return self.is_here() and identify(self.pid) == self

    def may_be_alive(self) -> bool:
        """As `is_alive`, but True for another host's process, of which nothing can be known."""
        return self.is_alive() if self.host == host_name() else True

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError on a damaged record."""
        return cls(int(fields["pid"]), str(fields["boot"]), int(fields["started"]), str(fields["host"]))


@functools.cache
def boot_id() -> str:
    """A name of this boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"boot-{int(psutil.boot_time())}"


@functools.cache
def host_name() -> str:
    """This machine's name on its network."""
    return platform.node() or "localhost"


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process, or None when there is none with that pid (a zombie counts as none)."""
    started = _start_of(pid)
    return None if started is None else ProcessIdentity(pid, boot_id(), started, host_name())


def me() -> ProcessIdentity:
    """The calling process: another one after a fork."""
    return _me(os.getpid())


@functools.cache
def _me(pid: int) -> ProcessIdentity:
    found = identify(pid)
    if found is None:
        raise RuntimeError("this process cannot see itself; is /proc mounted?")
    return found


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty when it is gone or belongs to somebody else."""
    try:
        return dict(psutil.Process(pid).environ())
    except (psutil.Error, OSError):
        return {}


def processes_with(variable: str, value: str) -> Iterator[ProcessIdentity]:
    """All running processes whose environment at start holds `variable=value`."""
    for pid in psutil.pids():
        found = identify(pid)
        if found and environment_of(pid).get(variable) == value:
            yield found


def send_signal(target: ProcessIdentity, number: signal.Signals, *, group: bool = False) -> bool:
    """Send a signal to that very process (or to the group it leads). False when it is gone already."""
    if not target.is_alive():
        return False
    try:
        if group:
            os.killpg(target.pid, number)
        else:
            os.kill(target.pid, number)
    except ProcessLookupError:
        return False
    return True


def _start_of(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self").exists() else _start_elsewhere(pid)
    except OSError:
        return None
    state, *rest = text[text.rindex(")") + 2 :].split()  # the name may hold spaces and brackets
    return None if state in "ZX" else int(rest[18])


def _start_elsewhere(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 1000)
    except psutil.Error:
        return None

"""Ending a pod's processes, and proof that none is left."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi_atlas import processes
from pulumi_atlas.errors import Conflict, ProviderFailure
from pulumi_atlas.processes import ProcessIdentity
from pulumi_atlas.providers.local import _sight

__all__ = ["end_processes", "kill_now"]

_POLL_S = 0.02
_MARGIN_S = 2.0
_KILL_TIMEOUT_S = 10.0


async def end_processes(record: Mapping[str, Any], folder: Path, *, grace_s: float) -> None:
    """TERM, and KILL after `grace_s` seconds. Returns when no process carries the pod's birth any more.

    Raises Conflict when the pod runs on another machine, and ProviderFailure when a process cannot be ended.
    """
    sight = await asyncio.to_thread(_sight.look, record, folder)
    if sight.elsewhere and sight.exit is None:
        raise Conflict(
            f"pod {record['id']} was started on {sight.elsewhere} and can be ended only there",
            hint=f"run the same command on {sight.elsewhere}",
        )
    await asyncio.to_thread(_sight.call_off, record, folder)
    shim = _sight.shim_of(record, folder)
    if shim and _is_ours(shim, record):
        # The process above the command passes TERM on, once to each, and KILLs after the grace by itself.
        processes.send_signal(shim, signal.SIGTERM)
        await _gone(shim, grace_s + _MARGIN_S)
        await asyncio.to_thread(_kill_group, shim, record)
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while left := await asyncio.to_thread(_kill_members, record):
        if time.monotonic() > deadline:
            pids = ", ".join(str(p.pid) for p in left)
            raise ProviderFailure(
                f"processes of pod {record['id']} do not end: {pids}", hint="repeat the command later"
            )
        await asyncio.sleep(_POLL_S)


def kill_now(record: Mapping[str, Any], folder: Path) -> None:
    """KILL at once whatever the pod runs, without grace: undoes a start that failed. Blocks shortly."""
    _sight.call_off(record, folder)
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    shim = _sight.shim_of(record, folder)
    if shim:
        _kill_group(shim, record)
    while _kill_members(record) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


async def _gone(shim: ProcessIdentity, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    pause = 0.005
    while time.monotonic() < deadline and shim.is_alive():
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def _kill_group(shim: ProcessIdentity, record: Mapping[str, Any]) -> None:
    if _is_ours(shim, record):
        processes.send_signal(shim, signal.SIGKILL, group=True)


def _kill_members(record: Mapping[str, Any]) -> list[ProcessIdentity]:
    """KILL each process that carries the birth; those that were found."""
    found = list(_sight.members(record))
    for member in found:
        processes.send_signal(member, signal.SIGKILL)
    return found


def _is_ours(target: ProcessIdentity, record: Mapping[str, Any]) -> bool:
    """Boot, pid and start ticks agree, and the process itself carries the birth."""
    return target.is_alive() and _sight.is_of(record, target.pid)

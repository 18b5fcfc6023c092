"""The last duty: when a supervisor dies, no worker of its lives on, whatever it was killed with.

A tiny process forked before anything is loaded. It waits on a pipe whose other end dies with the supervisor, then ends
every process whose environment names the supervisor's run, those that moved to a session of their own included.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

__all__ = ["MARK", "end_all", "keep_watch"]

#: In the environment of every worker: the run of the supervisor that started it.
MARK = "ATLAS_SUPERVISOR_RUN"


def keep_watch(run: str) -> int:
    """Fork the warden of this supervisor run; its pid. Call before threads and event loops exist."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reading)
        os.set_inheritable(writing, False)
        return pid
    code = 0
    try:
        os.close(writing)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        while os.read(reading, 1):
            pass
        end_all(run)
    except BaseException:  # noqa: BLE001 -- a forked child must not return into its parent's code
        code = 1
    os._exit(code)


def end_all(run: str) -> None:
    """Kill every process of that run, until none is found any more."""
    from pulumi_atlas import processes

    for _ in range(50):
        found = [target for target in processes.processes_with(MARK, run) if target.pid != os.getpid()]
        if not found:
            return
        for target in found:
            with contextlib.suppress(OSError):
                processes.send_signal(target, signal.SIGKILL)
        time.sleep(0.02)

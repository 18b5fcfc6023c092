"""Processes that are measured from outside: their CPU time and memory, as Linux tells them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.project import MeasurementFailed

__all__ = ["ROOT", "Process", "running"]

#: Where the programs of the bench are found.
ROOT = Path(__file__).resolve().parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A program that runs. `first`: the first line that it printed; empty when it ended without one."""

    def __init__(self, popen: subprocess.Popen[str], first: str) -> None:
        self.popen, self.first = popen, first

    def cpu_s(self) -> float:
        """Seconds of CPU time so far, all threads. Raises MeasurementFailed where there is no /proc."""
        fields = _told(self.popen.pid, "stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_mb(self) -> float:
        """Memory that it holds (resident), megabytes of 1,000,000 bytes."""
        pages = int(_told(self.popen.pid, "statm").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Iterator[Process]:
    """The program, once it printed a line. At the end it is told to stop, and is killed when it does not.

    What it writes to standard error goes to `log`. Raises MeasurementFailed with its end when there was no line.
    """
    with log.open("w") as errors:
        popen = subprocess.Popen(
            list(command), cwd=cwd, env=environ and dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=errors, text=True,
        )  # fmt: skip
        try:
            assert popen.stdout is not None
            late = threading.Timer(timeout_s, popen.kill)
            late.start()
            first = popen.stdout.readline().strip()
            late.cancel()
            if not first:
                raise MeasurementFailed(f"{command[0]} did not start: {log.read_text()[-2000:]}")
            yield Process(popen, first)
        finally:
            _stop(popen)


def _stop(popen: subprocess.Popen[str]) -> None:
    popen.send_signal(signal.SIGTERM)
    try:
        popen.wait(timeout=60)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
    assert popen.stdout is not None
    popen.stdout.close()


def _told(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except OSError as error:
        raise MeasurementFailed(f"this machine does not tell what a process uses: {error}") from None

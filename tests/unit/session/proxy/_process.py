"""The guard as a process, as in a pod: its environment, its output, its end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from atlas_session.tokens import mint_token

DEADLINE_S = 30.0
TOKEN, HASH = mint_token(key=b"k" * 32)
GUARD_KEY = "guard-key-guard-key-guard-key"
URL_KEY = "dXJsLWtleS11cmwta2V5LXVybC1rZXktdXJsLWtleS0x"
BEARER = f"Authorization: Bearer {TOKEN}".encode()


class Running:
    """A guard that was started; `port` is where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.port = 0

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@contextlib.contextmanager
def guard(
    folder: Path,
    arguments: Sequence[str],
    command: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> Iterator[Running]:
    """Start the guard on a free port of 127.0.0.1 and wait until it listens; it is killed at the end of the block.

    `before`: a command that runs its arguments, which are the guard's.
    """
    log = folder / "guard.log"
    line = [sys.executable, "-m", "atlas_session.guard", "--host", "127.0.0.1", "--port", "0", *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*before, *line, *(["--", *command] if command else [])],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "ATLAS_TOKEN_HASHES": HASH, "ATLAS_URL_KEYS": f"k1:{URL_KEY}", **(environ or {})},
        )
    running = Running(process, log)
    try:
        running.port = int(_found(r"guarding \S+ on http://127\.0\.0\.1:(\d+)", running))
        yield running
    finally:
        process.kill()
        process.wait()


def _found(pattern: str, running: Running) -> str:
    def look() -> str | None:
        match = re.search(pattern, running.output)
        return match.group(1) if match else None

    until(lambda: look() is not None or running.process.poll() is not None)
    found = look()
    assert found is not None, running.output
    return found


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must happen; fails at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "this did not happen"
        threading.Event().wait(0.01)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ignores(*numbers: signal.Signals) -> str:
    """A line of Python that ignores signals."""
    return "".join([f"signal.signal({int(number)}, signal.SIG_IGN); " for number in numbers])

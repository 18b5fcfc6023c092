"""The command behind the guard: started in a process group of its own, which goes when the guard goes.

The group is led by a minder, a process of a few lines that waits for the guard's end of a pipe to close, which the system
does however the guard ends, and then kills the group and so itself. What makes a session or group of its own (a daemon)
leaves the group: it is out of the minder's reach. So is everything when the minder itself is killed first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

__all__ = ["Child", "CommandFailed", "exit_code", "start"]

_MINDER = """
import os, signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
os.write(1, b".")
while os.read(0, 1):
    pass
os.killpg(0, signal.SIGKILL)
"""


class CommandFailed(Exception):
    """The command cannot be started; `code` is what a shell would end with."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Child:
    """A running command and its group."""

    def __init__(self, process: asyncio.subprocess.Process, minder: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._minder = minder

    async def wait(self) -> int:
        """The command's return code: negative for a signal."""
        return await self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the whole group, and to the command if it has left the group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._minder.pid, number)
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None and os.getpgid(self._process.pid) != self._minder.pid:
                self._process.send_signal(number)

    async def stop(self, grace_s: float) -> int:
        """Wait `grace_s` seconds for the command to end, then kill what is left of the group. Returns as `wait`."""
        try:
            async with asyncio.timeout(grace_s):
                return await self._process.wait()
        except TimeoutError:
            pass
        finally:
            self.kill()
        return await self._process.wait()

    def kill(self) -> None:
        """Kill what is left of the group, and end the minder. May be called again."""
        if self._minder.returncode is None:  # its number is ours until it is waited for
            self.signal(signal.SIGKILL)
            self._minder.wait()
            for pipe in (self._minder.stdin, self._minder.stdout):
                if pipe is not None:
                    pipe.close()


async def start(command: Sequence[str], environ: Mapping[str, str]) -> Child:
    """Start the command. Raises CommandFailed (code 126 or 127)."""
    minder = subprocess.Popen(  # noqa: ASYNC220 (returns at once; there is nothing else to serve yet)
        [sys.executable, "-I", "-S", "-c", _MINDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={},
        process_group=0,
    )
    try:
        if minder.stdout is None or minder.stdout.read(1) != b".":
            raise CommandFailed("the command's minder cannot be started", 126)
        process = await asyncio.create_subprocess_exec(*command, env=dict(environ), process_group=minder.pid)
    except BaseException as error:
        minder.kill()
        minder.communicate()
        if isinstance(error, FileNotFoundError):
            raise CommandFailed(f"there is no command {command[0]!r}", 127) from None
        if isinstance(error, OSError):
            raise CommandFailed(f"the command {command[0]!r} cannot be run: {error.strerror}", 126) from None
        raise
    return Child(process, minder)


def exit_code(returncode: int) -> int:
    """As a shell says it: 128+n for signal n."""
    return returncode if returncode >= 0 else 128 - returncode

"""How many visitors there is room for: every connection is an open file, and the system allows so many to a process."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Complaints", "Room", "open_files", "places"]

_OWN_FILES = 64  # what is neither a visitor's nor an upstream's connection
_MOST_FILES = 1 << 20
_FEWEST = 8
_AGAIN_S = 60.0


class _Connection(Protocol):
    transport: asyncio.Transport


class Room:
    """Who waits for nothing but its visitor gives way when it is full, those first that have waited longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[_Connection, None] = {}

    def wait(self, one: _Connection) -> None:
        """`one` owes its visitor no answer. Said again, this changes nothing."""
        self._waiting.setdefault(one)

    def leave(self, one: _Connection) -> None:
        """`one` has something to do, or is no more."""
        self._waiting.pop(one, None)

    def admit(self, number: int) -> bool:
        """Whether there is room for the last one of `number` connections. Another one may be cut for it."""
        if number <= self._most:
            return True
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.transport.abort()  # to close it in order might take as long as its visitor likes
        return True


class Complaints:
    """A loop's exception handler that says once a minute that there are too many connections, not a thousand times a second.

    asyncio tries to accept as many connections at once as may queue, and complains of each.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._quiet_until = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not str(context.get("message")).startswith("socket.accept() out of system resource"):
            loop.default_exception_handler(context)
        elif self._clock() >= self._quiet_until:
            self._quiet_until = self._clock() + _AGAIN_S
            self._say("too many files are open: new connections wait")


def open_files() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, _MOST_FILES)


def places(files: int, burst: int) -> int:
    """How many visitors `files` are enough for, each with a connection to the upstream.

    Up to `burst` connections are accepted at once and looked at then, while as many are being closed.
    """
    return max(_FEWEST, (files - _OWN_FILES - 2 * burst) // 2)

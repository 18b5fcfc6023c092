"""The guard's environment holds its keys, and the system shows a process's environment to others of the same user."""

from __future__ import annotations

import contextlib
import ctypes
import sys

__all__ = ["shield"]

_PR_SET_DUMPABLE = 4


def shield() -> None:
    """Show this process's environment and memory to no other, where the system can do that (Linux); nor dump its core.

    What the process starts is not concerned. Whoever may look into any process (CAP_SYS_PTRACE, CAP_PERFMON, CAP_SYS_ADMIN;
    root in a container commonly has none of them) still sees all.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

"""Exit codes: what a script can rely on.

==== ======================================================================
code meaning
==== ======================================================================
0    done
1    unexpected: a fault of ours, or the output could not be written
2    wrong usage or input; nothing was done
3    no key, a refused key, or not allowed (unauthorized, forbidden)
4    there is no such thing (not_found)
5    the present state does not allow it (conflict)
6    nothing free now, or no money (no_capacity, insufficient_funds)
7    problems or differences remain (`atlas doctor`, `atlas drift`, `atlas leaks`)
8    interrupted: Ctrl-C, or the answer to a question was no
9    a wait ended (timeout)
10   incomplete: a provider failed or was not reached, or an outcome is unknown
11   the provider cannot do this (unsupported)
12   the job ended other than completed (`atlas jobs run --wait`)
==== ======================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from pulumi_atlas.errors import Kind

__all__ = ["EPILOG", "OF_KIND", "Exit"]


class Exit(IntEnum):
    """The codes by name."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    UNAUTHORIZED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    NO_CAPACITY = 6
    DIFFERENCES = 7
    INTERRUPTED = 8
    TIMEOUT = 9
    INCOMPLETE = 10
    UNSUPPORTED = 11
    JOB_FAILED = 12


OF_KIND: Mapping[Kind, Exit] = MappingProxyType(
    {
        "validation": Exit.USAGE,
        "unauthorized": Exit.UNAUTHORIZED,
        "forbidden": Exit.UNAUTHORIZED,
        "not_found": Exit.NOT_FOUND,
        "conflict": Exit.CONFLICT,
        "no_capacity": Exit.NO_CAPACITY,
        "insufficient_funds": Exit.NO_CAPACITY,
        "interrupted": Exit.INTERRUPTED,
        "timeout": Exit.TIMEOUT,
        "rate_limited": Exit.INCOMPLETE,
        "transport": Exit.INCOMPLETE,
        "provider": Exit.INCOMPLETE,
        "unknown_outcome": Exit.INCOMPLETE,
        "unsupported": Exit.UNSUPPORTED,
    }
)

_LINES = (
    (0, "done"),
    (1, "unexpected"),
    (2, "wrong usage or input; nothing was done"),
    (3, "no key, a refused key, or not allowed"),
    (4, "there is no such thing"),
    (5, "the present state does not allow it"),
    (6, "nothing free now, or no money"),
    (7, "problems or differences remain (atlas doctor, drift, leaks)"),
    (8, "interrupted: Ctrl-C, or a question was answered with no"),
    (9, "a wait ended"),
    (10, "incomplete: provider failed or unreachable, outcome unknown"),
    (11, "the provider cannot do this"),
    (12, "the job did not complete (jobs run --wait)"),
)

#: For `atlas --help`. The first character tells the help's formatter to leave the lines as they are.
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>2}  {text}" for code, text in _LINES)

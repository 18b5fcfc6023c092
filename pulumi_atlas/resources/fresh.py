"""For unit tests that run several programs in one process: to each program a provider process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pulumi_atlas.resources import _process

__all__ = ["fresh_process"]


@contextlib.contextmanager
def fresh_process() -> Iterator[None]:
    """Within it, resources see the environment and folder as they are now, and nothing of what was opened before."""
    with _process.apart():
        yield

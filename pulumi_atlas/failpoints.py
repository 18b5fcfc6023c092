"""Named places where a process can be held, so that a fault campaign can kill it at exactly that step.

Off unless both variables are set: `ATLAS_FAILPOINT` (one name or several, with commas between) and
`ATLAS_FAILPOINT_DIR` (a folder). A process that reaches a named point writes ``<folder>/<name>.<pid>`` there and waits
while that file exists: whoever watches the folder kills the process, or removes the file to let it go on.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["reach"]

_POLL_S = 0.02


def reach(name: str) -> None:
    """Wait here if `name` is a failpoint that is switched on; otherwise return at once. Blocks the calling thread."""
    wanted = os.environ.get("ATLAS_FAILPOINT")
    if not wanted or name not in (point.strip() for point in wanted.split(",")):
        return
    folder = os.environ.get("ATLAS_FAILPOINT_DIR")
    if not folder:
        return
    mark = Path(folder) / f"{name}.{os.getpid()}"
    mark.touch()
    while mark.exists():
        time.sleep(_POLL_S)

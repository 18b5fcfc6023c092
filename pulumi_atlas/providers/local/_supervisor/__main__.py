"""``python __main__.py FOLDER RUN``: serve the endpoint whose settings are in FOLDER, detached from whoever started it.

Run as a file, so that it starts in the environment of any Python that has this package's dependencies. It prints the
pid of the process that serves and returns at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def main(folder: Path, run: str) -> int:
    """Serve until told to end; the exit code. The warden comes first, while this process is small and single-threaded."""
    _detach(folder / "supervisor.log")
    sys.path[0:1] = []
    sys.path.append(str(Path(__file__).resolve().parents[4]))
    from pulumi_atlas.providers.local._supervisor._warden import keep_watch

    keep_watch(run)
    from pulumi_atlas.providers.local._supervisor._app import serve

    return serve(folder, run)


def _detach(log: Path) -> None:
    """A session of its own, no parent that would have to collect it, and output into the log."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.write(1, b"%d\n" % pid)
        os._exit(0)
    os.setsid()
    os.chdir("/")
    null, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))

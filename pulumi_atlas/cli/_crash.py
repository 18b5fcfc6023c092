"""What to do with an error that nobody expected: one line for the user, the traceback into a private file."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

__all__ = ["report"]


def report(error: BaseException) -> tuple[str, str]:
    """Keep the traceback, and give a line that says what happened and a hint where the rest is.

    The file holds no arguments of the command line, since they may hold secrets.
    """
    what = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
    text = "".join(traceback.format_exception(error))
    if os.environ.get("ATLAS_DEBUG"):
        sys.stderr.write(text)
        return what, "the traceback stands above"
    path = _keep(text)
    return what, f"the traceback is in {path}" if path else "ATLAS_DEBUG=1 shows the traceback"


def _keep(text: str) -> Path | None:
    from pulumi_atlas import __version__, files
    from pulumi_atlas.errors import AtlasError

    head = f"pulumi_atlas {__version__}, Python {sys.version.split()[0]}, {sys.platform}\n"
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (_state_folder, _temporary_folder):
        try:
            path = files.make_private_folder(folder()) / name
            files.write_atomically(path, (head + text).encode("utf-8", "backslashreplace"), mode=0o600)
            return path
        except (AtlasError, OSError):
            continue
    return None


def _state_folder() -> Path:
    from pulumi_atlas import config

    return config.load().state_dir / "crashes"


def _temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="atlas-crash-"))

"""The command line `atlas` (also installed as `pulumi-atlas`): one file per command group; prints, never decides."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line with this process's arguments and end with its exit code (see `pulumi_atlas.cli._exit`)."""
    try:
        from pulumi_atlas.cli._main import run  # here, so that `import pulumi_atlas.cli` costs nothing

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the program was still being loaded
        code = 8
    sys.exit(code)

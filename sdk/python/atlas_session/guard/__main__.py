"""``python -m atlas_session.guard``: the guard as a reverse proxy. `--help` says the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from atlas_session.guard import GuardConfigError, GuardSettings
from atlas_session.guard._proxy._options import parse

_EXTRA = frozenset({"anyio", "h11", "httpcore", "httptools", "uvicorn", "websockets"})


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to end; returns the exit code."""
    options = parse(sys.argv[1:] if argv is None else argv, os.environ)
    try:
        settings = GuardSettings.from_env()
    except GuardConfigError as error:
        print("\n".join(error.problems), file=sys.stderr)  # noqa: T201
        return 2
    try:
        from atlas_session.guard._proxy import _serve
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        print(f"'{package}' is missing: pip install 'atlas-session[guard]'", file=sys.stderr)  # noqa: T201
        return 2
    return _serve.run(options, settings)


if __name__ == "__main__":
    sys.exit(main())

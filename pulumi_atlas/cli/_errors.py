"""From errors to words, JSON and exit codes."""

from __future__ import annotations

from typing import Any

from pulumi_atlas.cli._exit import OF_KIND, Exit
from pulumi_atlas.cli._output import say_error
from pulumi_atlas.cli._session import Stopped
from pulumi_atlas.config import FileRefused
from pulumi_atlas.errors import AtlasError, Interrupted, InvalidSpec

__all__ = ["as_document", "code_of", "tell"]


def code_of(error: AtlasError) -> Exit:
    """The exit code for an error."""
    return OF_KIND[error.kind]


def as_document(error: AtlasError) -> dict[str, Any]:
    """The error as the JSON document that `--json` prints; after a Ctrl-C `left` lists the things that are there now."""
    left = {"left": list(error.left.things)} if isinstance(error, Stopped) else {}
    return {"error": error.as_json(), **left}


def tell(error: AtlasError, *, about: str = "") -> None:
    """The error for a person, on stderr. `about` names the thing when several were asked for."""
    prefix = f"{about}: " if about else f"{error.provider}: " if error.provider else ""
    if isinstance(error, Interrupted):
        say_error(error.hint or error.message, head="stopped:")
    elif isinstance(error, InvalidSpec):
        lines, hints = _failures(error)
        say_error(prefix + lines, hints)
    elif isinstance(error, FileRefused) and len(error.faults) > 1:
        rows = "".join(f"\n  {fault}" for fault in error.faults)
        say_error(f"{prefix}{len(error.faults)} things are wrong{rows}", [error.hint])
    else:
        say_error(prefix + " ".join(error.message.split("\n")), [error.hint] if error.hint else [])


def _failures(error: InvalidSpec) -> tuple[str, list[str]]:
    rows = error.failures
    if len(rows) == 1:
        [row] = rows
        return (f"{row.path}: " if row.path else "") + row.message, [row.hint] if row.hint else []
    texts = [f"\n  {row}" for row in rows]
    return f"{len(rows)} things are wrong" + "".join(texts), []

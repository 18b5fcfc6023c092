"""Options that say which project and stack a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pulumi_atlas.cli._session import Left, Stopped

__all__ = ["Cwd", "Stack", "folder", "repeatable"]

Cwd = Annotated[Path | None, typer.Option("--cwd", metavar="DIR", help="The project's folder. Default: here.")]
Stack = Annotated[str | None, typer.Option("--stack", "-s", metavar="NAME", help="Default: the selected one.")]


def folder(cwd: Path | None) -> Path:
    """The folder that is meant. Raises typer's error when it is none."""
    place = (cwd or Path.cwd()).absolute()
    if not place.is_dir():
        raise typer.BadParameter(f"{place} is not a folder", param_hint="--cwd")
    return place


@contextmanager
def repeatable() -> Iterator[None]:
    """Within it, a Ctrl-C ends the command with the advice to run it again. Raises Stopped."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(Left("run the same command again: what is done is not done twice")) from None

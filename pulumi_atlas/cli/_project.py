"""Options that say which project and stack a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Cwd", "Stack", "folder"]

Cwd = Annotated[Path | None, typer.Option("--cwd", metavar="DIR", help="The project's folder. Default: here.")]
Stack = Annotated[str | None, typer.Option("--stack", "-s", metavar="NAME", help="Default: the selected one.")]


def folder(cwd: Path | None) -> Path:
    """The folder that is meant. Raises typer's error when it is none."""
    place = (cwd or Path.cwd()).absolute()
    if not place.is_dir():
        raise typer.BadParameter(f"{place} is not a folder", param_hint="--cwd")
    return place

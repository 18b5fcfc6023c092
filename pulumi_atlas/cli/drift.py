"""`atlas drift`: how a stack differs from the world."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli import _options
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.cli._output import Out

if TYPE_CHECKING:
    from pulumi_atlas.drift import DriftReport

__all__ = ["show"]


def show(
    as_json: _options.AsJson = False,
    cwd: Annotated[
        Path | None, typer.Option("--cwd", metavar="DIR", help="The project's folder. Default: here.")
    ] = None,
    stack: Annotated[str | None, typer.Option("--stack", "-s", metavar="NAME", help="Default: the selected.")] = None,
) -> None:
    """How a stack differs from the world, and what is there that no state knows.

    Asks the engine and the providers, and changes nothing; it may run beside `pulumi up`.

    Exit code: 0 when nothing differs, 7 when something does, 10 when not everything could be judged.
    """
    out = Out(json=as_json)
    folder = (cwd or Path.cwd()).absolute()
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder", param_hint="--cwd")
    found = _look(out, folder, stack)
    _tell(out, found)
    _end(found)


def _look(out: Out, folder: Path, stack: str | None) -> DriftReport:
    from pulumi_atlas.drift import report

    with out.progress("looking") as say:
        return report(folder, os.environ, stack=stack, say=say)


def _tell(out: Out, found: DriftReport) -> None:
    from pulumi_atlas.cli import _drift_view

    def human() -> None:
        for line in _drift_view.lines(found):
            out.line(line)

    out.result(found.as_json(), human)


def _end(found: DriftReport) -> None:
    if not found.complete:
        raise typer.Exit(Exit.INCOMPLETE)
    if not found.clean:
        raise typer.Exit(Exit.DIFFERENCES)

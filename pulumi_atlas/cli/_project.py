"""What the commands about a stack share: its options, the kinds of things in it, and a plan that is shown before it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli._batch import confirm
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Left, Stopped

if TYPE_CHECKING:
    from pulumi_atlas.client.intents import KindName

__all__ = ["KINDS", "Cwd", "Stack", "agree", "folder", "kind_of", "repeatable", "sentences"]

#: Volumes before the pods that mount them.
KINDS: tuple[KindName, ...] = ("volume", "pod", "endpoint")

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


def kind_of(word: str, *, hint: str) -> KindName:
    """The kind that is meant. `hint`: the parameter's name. Raises typer's error when it is none."""
    for one in KINDS:
        if one == word:
            return one
    raise typer.BadParameter(f"{word!r} is none of: pod, volume, endpoint", param_hint=hint)


def sentences(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a plan as they are printed."""
    return (line[:1].upper() + line[1:] for line in lines)


def agree(out: Out, lines: Iterable[str], *, yes: bool, what: str) -> None:
    """Show a plan and ask. `what` is said where nobody can be asked. Raises ConfigError, or ends the command."""
    for line in sentences(lines):
        out.note(line)
    confirm("Go on?", yes=yes, nothing_else=what)

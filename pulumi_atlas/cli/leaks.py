"""`atlas leaks`: what is ours in an account and in no state, with its cost, for a person to decide."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli import _options, _project, _views
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.cli._output import Out, say_error

if TYPE_CHECKING:
    from pulumi_atlas.drift.leaks import LeakReport, UnknownThing

__all__ = ["show"]

_COLUMNS = ("ID", "KIND", "NAME", "OWNER", "$/H", "AGE")

#: The parts of the report, in their order: what stacks have lost first.
_HEADS = {
    "leaked": "Leaked: of a stack whose state does not hold them",
    "unknown_stack": "Of stacks whose states were not given",
    "session": "Sessions",
    "manual": "Made by hand",
    "in_progress": "Being made now",
}


def show(
    state_dir: Annotated[
        list[Path] | None,
        typer.Option("--state-dir", metavar="DIR", help="All stacks of a file:// backend's folder. Repeatable."),
    ] = None,
    stack: Annotated[
        list[str] | None, typer.Option("--stack", "-s", metavar="NAME", help="A stack of the project. Repeatable.")
    ] = None,
    cwd: _project.Cwd = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """What is ours in an account and in none of the given states. It only looks.

    Without --state-dir and --stack, the states are all those of the project's backend. Sessions and what was made by hand
    are listed apart: they belong to no state.

    Exit code: 0 when no stack's thing is unknown, 7 when there are some, 10 when a list or a state could not be read.
    """
    from pulumi_atlas.drift.leaks import find_leaks

    out = Out(json=as_json)
    with out.progress("looking"):
        report = find_leaks(
            _project.folder(cwd),
            os.environ,
            provider=provider,
            account=account,
            state_folders=[folder.absolute() for folder in state_dir or ()],
            stacks=stack or (),
        )
    out.result(report.as_json(), lambda: _tell(out, report))
    if not report.complete:
        if not as_json:
            for trouble in report.troubles:
                say_error(trouble)
        raise typer.Exit(Exit.INCOMPLETE)
    if report.leaks:
        raise typer.Exit(Exit.DIFFERENCES)


def _tell(out: Out, report: LeakReport) -> None:
    if not report.states:
        out.note("no state was given, so no stack's things can be known")
    now = datetime.now(UTC)
    for standing, head in _HEADS.items():
        rows = [one for one in report.things if one.standing == standing]
        if not rows:
            continue
        out.line(f"{head} ({_views.money(report.cost_per_hour(rows))} per hour):")
        out.table(_COLUMNS, [_row(one, now) for one in rows], none="")
        if standing in ("leaked", "unknown_stack"):
            for one in rows:
                out.line(f"  {one.thing.id}: {one.next}")
        out.line()
    if not report.leaks and report.complete:
        out.line(f"Nothing is leaked at {report.provider}: {len(report.states)} stacks were compared.")


def _row(one: UnknownThing, now: datetime) -> tuple[str, ...]:
    thing = one.thing
    made = datetime.fromtimestamp(thing.created_at, UTC) if thing.created_at is not None else None
    owner = "" if thing.owner is None else str(thing.owner) if one.is_leak else f"{thing.owner.kind}:{thing.owner.id}"
    return (thing.id, thing.kind, thing.name, owner, _views.money(thing.cost_per_hour), _views.age(made, now))

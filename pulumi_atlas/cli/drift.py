"""`atlas drift`: how a stack differs from the world; with `--reconcile` or `--accept`, the mending."""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli import _options, _project
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.cli._output import Out, write

if TYPE_CHECKING:
    from pulumi_atlas.drift import DriftItem, DriftReport
    from pulumi_atlas.drift.reconcile import LeakChoice, Reconciled, ReconcilePlan

__all__ = ["Leaks", "show"]


class Leaks(StrEnum):
    """What becomes of what belongs to the stack and is in no state."""

    ADOPT = "adopt"
    TERMINATE = "terminate"
    KEEP = "keep"


def show(
    as_json: _options.AsJson = False,
    reconcile: Annotated[bool, typer.Option("--reconcile", help="Put the program's will back.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Make the state as the world is.")] = False,
    leaks: Annotated[
        Leaks | None,
        typer.Option("--leaks", help="With --reconcile: what becomes of leaks. Default: asked one by one."),
    ] = None,
    yes: _options.Yes = False,
    cwd: _project.Cwd = None,
    stack: _project.Stack = None,
) -> None:
    """How a stack differs from the world, and what is there that no state knows.

    Asks the engine and the providers, and changes nothing; it may run beside `pulumi up`. With --reconcile it shows a plan,
    asks, finishes or undoes what a killed run left, and runs `pulumi up --refresh`. Leaks are kept unless you say otherwise.

    Exit code: 0 when nothing differs, 7 when something does, 10 when not everything could be judged.
    """
    out = Out(json=as_json)
    folder = _project.folder(cwd)
    if reconcile and accept:
        raise typer.BadParameter("it is the opposite of --reconcile", param_hint="--accept")
    if not reconcile and (leaks or (yes and not accept)):
        raise typer.BadParameter("only with --reconcile", param_hint="--leaks" if leaks else "--yes")
    mends = reconcile or accept
    found = _mend(out, folder, stack, leaks=leaks, accept=accept, yes=yes) if mends else _look(out, folder, stack)
    _tell(out, found.addressed(_address(cwd, stack)))
    _end(found)


def _address(cwd: Path | None, stack: str | None) -> str:
    """The options by which a later command finds the same stack."""
    words = [*(["--cwd", str(cwd)] if cwd else []), *(["--stack", stack] if stack else [])]
    return shlex.join(words)


def _look(out: Out, folder: Path, stack: str | None) -> DriftReport:
    from pulumi_atlas.drift import report

    with out.progress("looking") as say:
        return report(folder, os.environ, stack=stack, say=say)


def _mend(out: Out, folder: Path, stack: str | None, *, leaks: Leaks | None, accept: bool, yes: bool) -> DriftReport:
    from pulumi_atlas.drift import reconcile as work

    def approve(plan: ReconcilePlan) -> bool:
        what = "this changes the state" if accept else "this removes things and runs the program"
        _project.agree(out, plan.lines(), yes=yes, what=what)
        return True

    chosen: LeakChoice | None = leaks.value if leaks else "keep" if yes else None
    with _project.repeatable():
        if accept:
            done = work.accept(folder, os.environ, stack=stack, approve=approve, say=out.note)
        else:
            done = work.reconcile(
                folder, os.environ, stack=stack, leaks=chosen, choose=_ask, approve=approve, say=out.note
            )
    _tell_done(out, done)
    return done.report


def _ask(item: DriftItem) -> LeakChoice:
    costs = f", {item.cost_per_hour:g} per hour" if item.cost_per_hour else ""
    question = f"{item.kind} {item.name} ({item.id}{costs}): {item.reason}. adopt, terminate or keep?"
    try:
        answer = typer.prompt(question, default="keep", err=True, show_choices=False).strip().lower()
    except typer.Abort:  # by now something was done: it is no "nothing was done"
        raise KeyboardInterrupt from None
    return answer if answer in ("adopt", "terminate") else "keep"


def _tell_done(out: Out, done: Reconciled) -> None:
    if not done.acted and not done.report.complete:
        out.note("nothing was done, because not everything could be judged")
    elif not done.acted and not done.report.clean:
        out.note("nothing was done: what is left is for you to decide")
    elif not done.report.clean:
        out.note("not everything is in order now; the report says of each thing why, and what to do next")
    for item in done.terminated:
        out.note(f"terminated {item.kind} {item.name} ({item.id})")
    for item, error in done.failed:
        out.note(f"{item.kind} {item.name} ({item.id}): {error.one_line()}")
    if done.python:  # nothing else says it: with --json as well
        told = "paste this into the program before the next `pulumi up`, which would delete what it does not declare:"
        write(f"{told}\n{done.python}\n", sys.stderr, flush=True)


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

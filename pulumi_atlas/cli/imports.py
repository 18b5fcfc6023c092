"""`atlas import`: takes what is there already into a stack, and prints the lines that declare it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli import _errors, _options, _project
from pulumi_atlas.cli._output import Out, say_error

if TYPE_CHECKING:
    from pulumi_atlas.client.intents import KindName
    from pulumi_atlas.drift.importing import Imported, Importer, ImportPlan

__all__ = ["show"]


def show(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="pod, volume or endpoint.")] = None,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="One id or more.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything in the account that no stack owns.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="NAME", help="The resource's name. Default: its own.")
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what would be done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what another stack or a session owns.")] = False,
    yes: _options.Yes = False,
    cwd: _project.Cwd = None,
    stack: _project.Stack = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Take things that are there already into a stack. Nothing of them is restarted.

    Prints the Python lines that declare them: paste them into the program, and `pulumi preview` finds nothing to change.
    Values of env are kept as secrets, in the state and in the stack's configuration. At the provider the things get this
    stack as owner. With --all, and with --force, it asks before it acts.
    """
    from pulumi_atlas.drift.importing import Importer

    out = Out(json=as_json)
    kinds = _kinds(kind)
    wanted = _wanted(kind, ids, all_=all_, name=name, force=force)
    importer = Importer(_project.folder(cwd), os.environ, stack=stack, provider=provider, account=account, say=out.note)
    with out.progress("looking"):
        plan = importer.plan_all(kinds) if all_ else importer.plan(wanted, name=name, forced=force)
    if preview:
        out.result({**plan.as_json(), "done": False}, lambda: _tell_plan(out, plan))
        return
    if (all_ or force) and plan.steps:
        _project.agree(out, plan.lines(), yes=yes, what=f"this takes {len(plan.steps)} things into stack {plan.stack}")
    _do(out, importer, plan)


def _do(out: Out, importer: Importer, plan: ImportPlan) -> None:
    with _project.repeatable():
        done = importer.run(plan)
    out.result({**done.as_json(), "done": True}, lambda: _tell(out, done))
    if done.failed:
        raise typer.Exit(_errors.code_of(done.failed[0][1]))


def _kinds(kind: str | None) -> tuple[KindName, ...]:
    return _project.KINDS if kind is None else (_project.kind_of(kind, hint="KIND"),)


def _wanted(
    kind: str | None, ids: list[str] | None, *, all_: bool, name: str | None, force: bool
) -> list[tuple[KindName, str]]:
    """The things that are named. Raises typer's error for what does not go together."""
    if all_ and (ids or name or force):
        raise typer.BadParameter("--all goes with KIND alone: no ID, --name or --force", param_hint="--all")
    if not all_ and not ids:
        raise typer.BadParameter("say which: KIND and ID, or --all", param_hint="ID")
    unique = list(dict.fromkeys(ids or ()))
    if name and len(unique) > 1:
        raise typer.BadParameter("--name is for one thing", param_hint="--name")
    [chosen] = _kinds(kind) if not all_ else ("pod",)
    return [(chosen, ident) for ident in unique]


def _tell_plan(out: Out, plan: ImportPlan) -> None:
    for line in _project.sentences(plan.lines()):
        out.line(line)
    if not plan.steps:
        out.line("There is nothing to take.")


def _tell(out: Out, done: Imported) -> None:
    plan = done.plan
    fresh = [step for step in plan.steps if step.stored]
    for step in plan.steps:
        for note in step.notes:
            out.note(f"{step.kind} {step.id}: {note}")
    for left in plan.left:
        out.note(f"Not taken: {left.error.message}")
    for step, error in done.failed:
        say_error(
            f"{step.kind} {step.id} is in stack {plan.stack}, and its provider was not told: {error.message}",
            ["run the same command again: what is done is not done twice"],
        )
    if not plan.steps:
        out.line("There is nothing to take.")
        return
    out.note(f"Taken into stack {plan.stack}: {len(fresh)}. Paste these lines into the program:\n")
    out.line(plan.code.rstrip("\n"))

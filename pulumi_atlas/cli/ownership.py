"""`atlas release` and `atlas adopt-owner`: things that outlive their stack, and stacks whose state was copied."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli import _options, _project
from pulumi_atlas.cli._output import Out

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["adopt", "release"]


def release(
    ident: Annotated[str, typer.Argument(metavar="ID", help="The thing's id.")],
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="pod, volume or endpoint.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Take it out of the stack's state as well.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what would be done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what another stack or a session owns.")] = False,
    yes: _options.Yes = False,
    cwd: _project.Cwd = None,
    stack: _project.Stack = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Give up a thing that is to outlive its stack: it is yours by hand then. It goes on as it is.

    While the state holds it, the stack would still destroy it: declare it with retain_on_delete=True before you remove
    its lines, or say --forget. With --forget and with --force it asks before it acts.
    """
    from pulumi_atlas.drift.releasing import Releaser

    out, asked = Out(json=as_json), not preview and (forget or force)
    releaser = Releaser(_project.folder(cwd), os.environ, stack=stack, provider=provider, account=account)
    with out.progress("looking"):
        plan = releaser.plan(
            ident, kind=_project.kind_of(kind, hint="--kind") if kind is not None else None, forget=forget, forced=force
        )
    if not preview:
        if asked:
            _project.agree(out, plan.lines(), yes=yes, what=f"this gives up {plan.kind} {ident}")
        with _project.repeatable():
            releaser.run(plan)
    out.result({**plan.as_json(), "done": not preview}, lambda: _say(out, ["Done."] if asked else plan.lines()))


def adopt(
    leave: Annotated[
        list[str] | None,
        typer.Option("--leave", metavar="ID", help="What the other copy keeps: an id, or all. Repeatable."),
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what would be done.")] = False,
    yes: _options.Yes = False,
    cwd: _project.Cwd = None,
    stack: _project.Stack = None,
    as_json: _options.AsJson = False,
) -> None:
    """Separate a stack whose state was copied: it gets an id of its own, and takes over what its state holds.

    What is left to the other copy with --leave is taken out of this state and goes on as it is. Run it in one of the
    copies only. It shows its plan and asks before it acts.
    """
    from pulumi_atlas.drift.forking import Forker

    out = Out(json=as_json)
    forker = Forker(_project.folder(cwd), os.environ, stack=stack)
    with out.progress("looking"):
        plan = forker.plan(leave or ())
    if not preview:
        _project.agree(out, plan.lines(), yes=yes, what=f"this rewrites the state of stack {plan.stack}")
        with _project.repeatable():
            forker.run(plan)
    out.result({**plan.as_json(), "done": not preview}, lambda: _say(out, plan.lines() if preview else ["Done."]))


def _say(out: Out, lines: Iterable[str]) -> None:
    for line in _project.sentences(lines):
        out.line(line)

"""`atlas doctor`: what is wrong and how to mend it; with `--recover`, the mending after a crash."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_atlas.cli import _options
from pulumi_atlas.cli._batch import confirm
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.cli._output import Out

if TYPE_CHECKING:
    from pulumi_atlas.drift.examination import Report
    from pulumi_atlas.drift.recovery import Outcome, RecoveryPlan

__all__ = ["show"]


def show(
    as_json: _options.AsJson = False,
    recover: Annotated[bool, typer.Option("--recover", help="Finish or undo what a crash left behind.")] = False,
    yes: _options.Yes = False,
    cwd: Annotated[
        Path | None, typer.Option("--cwd", metavar="DIR", help="The project's folder. Default: here.")
    ] = None,
    stack: Annotated[str | None, typer.Option("--stack", "-s", metavar="NAME", help="Default: the selected.")] = None,
) -> None:
    """What is wrong on this machine and in this project, and how to mend it.

    Looks at the engine, Python, settings, keys (never their values), folders, locks, and creations that did not end.
    With --recover it mends what a killed run has left: waits for its processes, removes its lock, terminates what no
    state knows, and runs `pulumi up --refresh`. Outside a project it cares only for what you made by hand.

    Exit code: 0 when all is well, 7 when problems remain.
    """
    out = Out(json=as_json)
    folder = (cwd or Path.cwd()).absolute()
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder", param_hint="--cwd")
    well = _recover(out, folder, stack, yes=yes) if recover else _examine(out, folder, stack)
    if not well:
        raise typer.Exit(Exit.DIFFERENCES)


def _examine(out: Out, folder: Path, stack: str | None) -> bool:
    from pulumi_atlas.drift.doctor import examine

    with out.progress("looking"):
        report = examine(folder, os.environ, stack=stack)
    out.result(report.as_json(), lambda: _tell_report(out, report))
    return report.healthy


def _recover(out: Out, folder: Path, stack: str | None, *, yes: bool) -> bool:
    from pulumi_atlas.drift.recovery import find_project, recover

    def approve(plan: RecoveryPlan) -> bool:
        for line in plan.lines():
            out.note(line[:1].upper() + line[1:])
        confirm("Go on?", yes=yes, nothing_else="this removes things and runs the program")
        return True

    if find_project(folder) is None:
        out.note(f"{folder} is in no Pulumi project, so only what was made by hand is looked at")
    outcome = recover(folder, os.environ, stack=stack, approve=approve, say=out.note)
    out.result(outcome.as_json(), lambda: _tell_outcome(out, outcome))
    return outcome.complete


def _tell_report(out: Out, report: Report) -> None:
    out.fields(
        [
            ("engine", _words(report.engine, "path", "version") or "none"),
            ("language host", report.engine["language_host"] or "none"),
            ("sdk", report.sdk["version"] or "none"),
            ("python", f"{report.python['version']} ({report.python['path']})"),
            (
                "state",
                f"{report.backend['url']} (from {report.backend['source']})" if report.backend["url"] else "none",
            ),
            ("project", _project(report)),
            ("settings", report.config["file"] or "no atlas.yaml"),
            ("providers", "\n".join(_provider(row) for row in report.providers)),
            ("folders", "\n".join(f"{row['path']} ({row['use']}, {row['free_gb']} GB free)" for row in report.folders)),
            ("unclosed", "\n".join(_intent(row) for row in report.intents)),
        ]
    )
    out.line()
    for problem in report.problems:
        out.line(f"{problem.severity}: {problem.what}")
        out.line(f"  mend: {problem.mend}")
    if report.healthy:
        out.line("All is well.")


def _tell_outcome(out: Out, outcome: Outcome) -> None:
    if outcome.plan.is_empty:
        out.line("There is nothing to recover." if outcome.complete else "What is left is for you to judge:")
    else:
        held = f"{outcome.terminated} terminated, {outcome.absent} were never made, {outcome.closed} notes closed"
        out.line(f"Recovered: {held}{', stack updated' if outcome.updated else ''}.")
    for row in outcome.failed:
        error: dict[str, Any] = row["error"]
        out.line(f"{row['kind']} {row['name']}: {error['message']}")
        if error.get("hint"):
            out.line(f"  mend: {error['hint']}")
    if outcome.plan.is_empty and not out.json:
        for line in outcome.plan.lines():
            out.line(line)
    sys.stdout.flush()


def _words(row: Any, *names: str) -> str:
    return " ".join(str(row[name]) for name in names if row[name])


def _project(report: Report) -> str:
    if report.project is None:
        return "none here"
    return f"{report.project['name']}, stack {report.project['stack'] or 'none'} ({report.project['folder']})"


def _provider(row: Any) -> str:
    if not row["needs_key"]:
        return f"{row['name']}: needs no key"
    return f"{row['name']}: key from {row['key_source']}" if row["key_found"] else f"{row['name']}: no key"


def _intent(row: Any) -> str:
    known = f" {row['thing_id']}" if row["thing_id"] else ""
    return f"{row['kind']} {row['name']}{known} at {row['provider']}, {row['state']}, {row['age_s']:g} s ago: {row['verdict']}"

"""`atlas runtime status`, `sessions`, `events`, `irrevocable`, `orphans`, `templates`, `reap`: what an operator looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from pulumi_atlas.cli import _companion_views as views
from pulumi_atlas.cli import _options, _status_view
from pulumi_atlas.cli._companion_events import follow as followed
from pulumi_atlas.cli._companion_events import kept
from pulumi_atlas.cli._companion_options import Key, KeyFile, Store, Url, asked
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Left
from pulumi_atlas.cli.session import Owner, State, Template, list_sessions

__all__ = ["add_to"]

Where = tuple[str | None, str | None, Any, str | None]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the group."""
    for name, command in (
        ("status", status),
        ("sessions", sessions),
        ("events", events),
        ("irrevocable", irrevocable),
        ("orphans", orphans),
        ("templates", templates),
        ("reap", reap),
    ):
        app.command(name)(command)


def status(
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """How the companion is: sessions by state, what they cost, frozen kills, outages.

    Exit code: 0, or 7 when something needs a person: kills are frozen, a provider is out, a pod does not go away.
    """
    out = Out(json=as_json)
    with asked(url, key, key_file, store) as companion:
        told = companion.get("/v1/status")
    out.result(told, lambda: out.fields(_status_view.fields(told)))
    if _status_view.needs_a_person(told):
        raise typer.Exit(Exit.DIFFERENCES)


def sessions(
    owner: Owner = None,
    state: State = None,
    template: Template = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """List all sessions, oldest first. The same as `atlas session list`."""
    out = Out(json=as_json)
    with asked(url, key, key_file, store) as companion:
        list_sessions(out, companion, owner=owner, status=state, template=template)


def events(
    ident: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only those of this session.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
    last: Annotated[
        int,
        typer.Option("--last", metavar="N", min=0, help="Of the kept ones, the last so many numbers. Default: 100."),
    ] = 100,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Print what happened, oldest first. Of one session: everything that is kept.

    With --json one document; with --follow too, one line for each event. --follow goes on when the companion is started
    again; what is missing then, because it is no longer kept, shows as the event `gap`.
    """
    out = Out(json=as_json, stream=follow)
    show = out.document if as_json else lambda row: out.line("  ".join(filter(None, views.event_row(row))))

    def left() -> Left:
        return Left("only the reading has ended")

    with asked(url, key, key_file, store, left=left) as companion:
        newest, rows = kept(companion, ident, last=last)
        if not follow:
            table = [views.event_row(row) for row in rows]
            out.result(rows, lambda: out.table(views.EVENT_COLUMNS, table, none="no events are kept"))
            return
        for row in rows:
            show(row)
        path = f"/v1/sessions/{ident}/events" if ident else "/v1/events"
        for row in followed(companion, path, after=newest, say=out.note):
            show(row)


def irrevocable(
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Pods that were asked to go away and have not: they cost money, and are asked again for ever.

    Exit code: 0 when there are none, 7 otherwise.
    """
    look = ("/v1/irrevocable", "sessions", "nothing that does not go away")
    _listed(Out(json=as_json), (url, key, key_file, store), look, views.IRREVOCABLE_COLUMNS, views.irrevocable_row, 7)


def orphans(
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Pods that carry this deployment's id and that no session wants. Unknown ones are for you to judge.

    Exit code: 0 when there are none, 7 otherwise.
    """
    look = ("/v1/orphans", "orphans", "no orphans")
    _listed(Out(json=as_json), (url, key, key_file, store), look, views.ORPHAN_COLUMNS, views.orphan_row, 7)


def templates(
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """The templates that this key may open sessions from."""
    look = ("/v1/templates", "templates", "no templates: the section `runtime` of atlas.yaml declares them")
    _listed(Out(json=as_json), (url, key, key_file, store), look, views.TEMPLATE_COLUMNS, views.template_row, 0)


def reap(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Required: the companion reaps by itself; this only looks.")
    ] = False,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """What the reaper would do now: whom it would end or warn, and what holds it back. Does nothing."""
    out = Out(json=as_json)
    if not dry_run:
        raise typer.BadParameter(
            "is required: the companion reaps by itself, and this only looks", param_hint="--dry-run"
        )
    with asked(url, key, key_file, store) as companion:
        plan = companion.post("/v1/reap", dry_run="true")

    def human() -> None:
        for line in _status_view.held_back(plan):
            out.line(line)
        rows = [_status_view.plan_row(row) for row in plan["rows"]]
        out.table(_status_view.PLAN_COLUMNS, rows, none="there is nothing to do now")

    out.result(plan, human)


def _listed(
    out: Out,
    where: Where,
    look: tuple[str, str, str],
    columns: Sequence[str],
    row_of: Callable[[Mapping[str, Any]], tuple[str, ...]],
    code: int,
) -> None:
    """A list of the companion as the result of a command; `code` ends the command when there is something in it."""
    path, name, none = look
    with asked(*where) as companion:
        told = companion.get(path)
    rows = told[name]
    out.result(rows, lambda: out.table(columns, [row_of(row) for row in rows], none=none))
    if told.get("left_out"):
        out.note(f"{told['left_out']} more are not shown")
    if rows and code:
        raise typer.Exit(code)

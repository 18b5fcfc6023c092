"""`atlas session`: sessions of a running companion, for who uses them."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from pulumi_atlas.cli import _companion_views as views
from pulumi_atlas.cli import _options, _parse, _session_open
from pulumi_atlas.cli._companion import Companion
from pulumi_atlas.cli._companion_options import Key, KeyFile, Store, Url, asked
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Left
from pulumi_atlas.cli._session_wait import until_settled

__all__ = ["app", "list_sessions"]

app = typer.Typer(
    help="Sessions: pods that a companion (`atlas runtime serve`) rents for one user each.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", show_default=False, help="Return when it is so. Default: no.")]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="Bound of --wait: 90s, 15m. Default: 10m.")
]
Owner = Annotated[str | None, typer.Option("--owner", metavar="TEXT", help="Only sessions of this owner.")]
State = Annotated[str | None, typer.Option("--state", metavar="STATE", help="Only sessions in this state.")]
Template = Annotated[str | None, typer.Option("--template", metavar="NAME", help="Only sessions of this template.")]

TIMEOUT_S = 600.0

# Everything after the first word that is no option belongs to the command, with or without `--`.
app.command("open", context_settings={"allow_interspersed_args": False})(_session_open.open_)


@app.command("show")
def show(
    ident: Id,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Show one session as it is now: its state, what ends it and when, and why it is alive."""
    out = Out(json=as_json)
    with asked(url, key, key_file, store) as companion:
        _session_open.tell(out, companion.get(f"/v1/sessions/{quoted(ident)}"))


@app.command("list")
def list_(
    owner: Owner = None,
    state: State = None,
    template: Template = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """List sessions, oldest first; those that have ended stay for a while."""
    out = Out(json=as_json)
    with asked(url, key, key_file, store) as companion:
        list_sessions(out, companion, owner=owner, status=state, template=template)


def list_sessions(out: Out, companion: Companion, **filters: Any) -> None:
    """The sessions that match, as the result of a command."""
    rows = list(companion.pages(**filters))
    table = [views.session_row(row) for row in rows]
    out.result(rows, lambda: out.table(views.SESSION_COLUMNS, table, none="no sessions"))


@app.command("touch")
def touch(
    ident: Id,
    source: Annotated[
        str, typer.Option("--source", metavar="NAME", help="What kind of activity it is. Default: client.")
    ] = "client",
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Report activity: the idle time begins anew."""
    out = Out(json=as_json)
    with asked(url, key, key_file, store) as companion:
        row = companion.post(f"/v1/sessions/{quoted(ident)}/touch", {"source": source})
    out.result(row, lambda: out.line(_remaining(ident, row)))


@app.command("extend")
def extend(
    ident: Id,
    seconds: Annotated[str, typer.Argument(metavar="SECONDS", help="From now on: seconds, or 15m, 2h.")],
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Keep it so long from now even without activity; never past its lifetime."""
    out = Out(json=as_json)
    wanted = _parse.duration_s(seconds, "seconds")
    with asked(url, key, key_file, store) as companion:
        row = companion.post(f"/v1/sessions/{quoted(ident)}/extend", {"seconds": wanted})
    out.result(row, lambda: out.line(_remaining(ident, row)))


@app.command("pause")
def pause(
    ident: Id,
    wait: Wait = False,
    timeout: Timeout = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Stop its pod and keep its storage."""
    _turn(Out(json=as_json), ident, "pause", "paused", wait, timeout, (url, key, key_file, store))


@app.command("resume")
def resume(
    ident: Id,
    wait: Wait = False,
    timeout: Timeout = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Start the pod of a paused session. Tokens and URLs from before are void; the new tokens are printed."""
    _turn(Out(json=as_json), ident, "resume", "ready", wait, timeout, (url, key, key_file, store))


@app.command("close")
def close(
    ident: Id,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Shown with it and in events.")] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """End it: its pod is terminated, and what is not on a volume is lost. Does not ask."""
    _turn(Out(json=as_json), ident, "close", "terminated", wait, timeout, (url, key, key_file, store), reason=reason)


@app.command("rotate")
def rotate(
    ident: Id,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Make new tokens. Those from before, and signed URLs, are void; the pod's guard learns it within 30 s."""
    out = Out(json=as_json)
    with asked(url, key, key_file, store) as companion:
        _session_open.tell(out, companion.post(f"/v1/sessions/{quoted(ident)}/rotate"))


@app.command("url")
def url_(
    ident: Id,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The path at the pod, with its query: /video/7.mp4")],
    port: Annotated[
        str | None, typer.Option("--port", metavar="PORT", help="Which of its ports. Default: the only one.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="METHOD", help="GET allows HEAD too. Default: GET.")
    ] = "GET",
    prefix: Annotated[bool, typer.Option("--prefix", help="For every path that begins so; PATH ends with /.")] = False,
    in_path: Annotated[
        bool, typer.Option("--in-path", help="In the path, so that relative links work (HLS); 15m at most.")
    ] = False,
    single_use: Annotated[bool, typer.Option("--single-use", help="It works once.")] = False,
    address: Annotated[
        str | None, typer.Option("--address", metavar="IP", help="Only for this visitor's network.")
    ] = None,
    expires_in: Annotated[
        str, typer.Option("--expires-in", "--expires-in-s", metavar="TIME", help="90s, 15m, 1h. Default: 15m.")
    ] = "15m",
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Print a signed URL into its pod. Whoever has it comes in: it is a secret."""
    out = Out(json=as_json)
    body = _parse.given(
        path=path,
        port=port,
        method=method.upper(),
        prefix=prefix or None,
        form="path" if in_path else None,
        single_use=single_use or None,
        address=address,
        expires_in_s=round(_parse.duration_s(expires_in, "expires_in_s") or 0),
    )
    with asked(url, key, key_file, store) as companion:
        signed = companion.post(f"/v1/sessions/{quoted(ident)}/signed-urls", body)
    out.result(signed, lambda: out.line(signed["url"]))


def quoted(ident: str) -> str:
    """An id as one segment of a path, whatever was typed."""
    from urllib.parse import quote

    return quote(ident, safe="")


def _turn(
    out: Out,
    ident: str,
    verb: str,
    to: str,
    wait: bool,
    timeout: str | None,
    where: tuple[Any, ...],
    *,
    reason: str | None = None,
) -> None:
    """Ask for another state; with `wait`, until it is so."""
    timeout_s = _parse.duration_s(timeout, "timeout") or TIMEOUT_S
    asked_for = False

    def left() -> Left:
        if not asked_for:
            return Left(f"whether the companion was told is not known; `atlas session show {ident}` shows it")
        return Left(f"the companion goes on with it; `atlas session show {ident}` shows how far it is")

    with asked(*where, left=left) as companion:
        place = f"/v1/sessions/{quoted(ident)}"
        row = companion.delete(place, reason=reason) if verb == "close" else companion.post(f"{place}/{verb}")
        asked_for = True
        if wait:
            row = until_settled(out, companion, row, to=to, timeout_s=timeout_s, clock=time.monotonic)
    if "touch_token" in row:  # what was handed out before is void
        _session_open.tell(out, row)
    else:
        out.result(row, lambda: out.line(f"session {ident} is {row['status']}"))


def _remaining(ident: str, row: dict[str, Any]) -> str:
    if not row.get("deadline_kind"):
        return f"session {ident} is {row['status']}; nothing is going to end it"
    return f"session {ident} is {row['status']} for {views.span(row.get('remaining_s'))} more ({row['deadline_kind']})"

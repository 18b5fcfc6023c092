"""`atlas compute`: pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli import _batch, _options, _spawn, _views
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._parse import given
from pulumi_atlas.cli._session import Left, Where, perform

if TYPE_CHECKING:
    from pulumi_atlas.client import AsyncAtlas

__all__ = ["app"]

app = typer.Typer(help="Pods: rented machines.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The pod's id.")]


@app.command("list")
def list_(
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="Only pods with this status.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only pods of this name.")] = None,
    region: Annotated[str | None, typer.Option("--region", metavar="NAME", help="Only pods there.")] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", metavar="NAME", help="Only pods with this GPU.")] = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
    show_secrets: _options.ShowSecrets = False,
) -> None:
    """List the account's pods, those of others too."""
    out, where = Out(json=as_json, show_secrets=show_secrets), Where(provider, account)
    filters = given(status=status, name=name, region=region, gpu=gpu)
    pods = perform(out, where, lambda atlas: atlas.list_compute(**filters), doing="listing pods")
    now = datetime.now(UTC)
    out.listing(
        pods,
        [_views.compute(pod, show_secrets=show_secrets) for pod in pods],
        lambda: out.table(_views.COMPUTE_COLUMNS, [_views.compute_row(pod, now) for pod in pods], none="no pods"),
    )


@app.command("get")
def get(
    ident: _Id,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
    show_secrets: _options.ShowSecrets = False,
) -> None:
    """Show one pod as it is now."""
    out, where = Out(json=as_json, show_secrets=show_secrets), Where(provider, account)
    pod = perform(out, where, lambda atlas: atlas.get_compute(ident), doing=f"looking at {ident}")
    _spawn.show(out, pod)


# Everything after the first word that is no option belongs to the command, with or without `--`.
app.command("spawn", context_settings={"allow_interspersed_args": False})(_spawn.spawn)


@app.command("stop")
def stop(
    ids: _options.Ids,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Stop pods; their storage is kept."""

    async def act(atlas: AsyncAtlas, ident: str) -> None:
        await atlas.stop(ident)

    _each(Out(json=as_json), Where(provider, account), ids, act, "stopping", "stopped")


@app.command("start")
def start(
    ids: _options.Ids,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Start pods that were stopped or have ended."""

    async def act(atlas: AsyncAtlas, ident: str) -> None:
        await atlas.start(ident)

    _each(Out(json=as_json), Where(provider, account), ids, act, "starting", "started")


@app.command("terminate")
def terminate(
    ids: _options.Ids,
    provider: _options.Provider = None,
    account: _options.Account = None,
    yes: _options.Yes = False,
    as_json: _options.AsJson = False,
) -> None:
    """Destroy pods and their own storage; volumes stay."""
    out = Out(json=as_json)
    what = ", ".join(dict.fromkeys(ids))
    _batch.confirm(f"Terminate {what}? What is not on a volume is lost.", yes=yes, nothing_else=f"this destroys {what}")

    async def act(atlas: AsyncAtlas, ident: str) -> None:
        await atlas.terminate(ident)

    _each(out, Where(provider, account), ids, act, "terminating", "terminated")


@app.command("logs")
def logs(
    ident: _Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the command has ended.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", metavar="N", min=0, help="Only the last lines, so many.")
    ] = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Print what a pod's command has printed.

    With --json one document {id, lines}; with --follow too, one line {"line": ...} for each.
    """
    out, where = Out(json=as_json, stream=follow), Where(provider, account)

    async def read(atlas: AsyncAtlas) -> list[str]:
        kept: list[str] = []
        async for line in atlas.logs(ident, follow=follow, tail=tail):
            if as_json and not follow:
                kept.append(line)
            elif as_json:
                out.document({"line": line})
            else:
                out.line(line)
        return kept

    def left() -> Left:
        return Left(f"pod {ident} is as it was; only the reading has ended")

    lines = perform(out, where, read, left=left)
    if as_json and not follow:
        out.document({"id": ident, "lines": lines})


def _each(out: Out, where: Where, ids: list[str], act: _batch.Act, doing: str, done: str) -> None:
    look = f"atlas compute list {where.flags()}".rstrip()
    _batch.each(out, where, ids, act, noun="pod", doing=doing, done=done, look=look)

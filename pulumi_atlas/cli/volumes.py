"""`atlas volumes`: storage that outlives pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli import _batch, _left, _options, _parse, _views
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Where, perform

if TYPE_CHECKING:
    from pulumi_atlas.client import AsyncAtlas
    from pulumi_atlas.models import ObservedVolume

__all__ = ["app"]

app = typer.Typer(help="Volumes: storage that outlives pods.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The volume's id.")]


@app.command("list")
def list_(
    provider: _options.Provider = None, account: _options.Account = None, as_json: _options.AsJson = False
) -> None:
    """List the account's volumes."""
    out, where = Out(json=as_json), Where(provider, account)
    found = perform(out, where, lambda atlas: atlas.list_volumes(), doing="listing volumes")
    now = datetime.now(UTC)
    out.listing(
        found,
        [_views.volume(one, show_secrets=False) for one in found],
        lambda: out.table(_views.VOLUME_COLUMNS, [_views.volume_row(one, now) for one in found], none="no volumes"),
    )


@app.command("get")
def get(
    ident: _Id,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Show one volume as it is now."""
    out, where = Out(json=as_json), Where(provider, account)
    _show(out, perform(out, where, lambda atlas: atlas.get_volume(ident), doing=f"looking at {ident}"))


@app.command("create")
def create(
    size_gb: Annotated[int, typer.Option("--size-gb", metavar="GB", help="Size in gigabytes (10^9 bytes).")],
    name: _options.Name = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="NAME", help="Where, if the provider has regions.")
    ] = None,
    option: _options.Options = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Make a volume. It is yours until you delete it: no stack owns it."""
    out, where = Out(json=as_json), Where(provider, account)
    options = _parse.options(option or ())
    fields = _parse.given(size_gb=size_gb, name=name, region=region, provider_options=options)
    made = perform(
        out,
        where,
        lambda atlas: atlas.create_volume(**fields),
        doing=f"making {name or 'a volume'}",
        writes=True,
        left=lambda: _left.creation(where),
    )
    _show(out, made)


@app.command("delete")
def delete(
    ids: _options.Ids,
    provider: _options.Provider = None,
    account: _options.Account = None,
    yes: _options.Yes = False,
    as_json: _options.AsJson = False,
) -> None:
    """Delete volumes with all that they hold."""
    out, where = Out(json=as_json), Where(provider, account)
    what = ", ".join(dict.fromkeys(ids))
    _batch.confirm(f"Delete {what} with all data?", yes=yes, nothing_else=f"this deletes {what} with all data")

    async def act(atlas: AsyncAtlas, ident: str) -> None:
        await atlas.delete_volume(ident)

    look = f"atlas volumes list {where.flags()}".rstrip()
    _batch.each(out, where, ids, act, noun="volume", doing="deleting", done="deleted", look=look)


def _show(out: Out, thing: ObservedVolume) -> None:
    now = datetime.now(UTC)
    out.result(_views.volume(thing, show_secrets=False), lambda: out.fields(_views.volume_fields(thing, now)))

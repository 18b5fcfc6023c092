"""`atlas runtime backup`, `restore`, `confirm-store`: the store as a thing that is kept, lost, and brought back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_atlas.cli import _options, _runtime_place
from pulumi_atlas.cli._batch import confirm
from pulumi_atlas.cli._companion_views import when
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._runtime_tools import StoreUrl, with_store
from pulumi_atlas.cli._views import money
from pulumi_atlas.errors import ConfigError

if TYPE_CHECKING:
    from pulumi_atlas.runtime.store.backup import Backup, Restored
    from pulumi_atlas.runtime.store.contract import Custody, Store

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the group."""
    for name, command in (("backup", backup), ("restore", restore), ("confirm-store", confirm_store)):
        app.command(name)(command)


def backup(
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="A new folder; with the date in its name.")],
    store: StoreUrl = None,
    as_json: _options.AsJson = False,
) -> None:
    """Copy the store and its master keys, as they are at one moment; a companion may be running on it.

    The folder holds secrets: whoever has it can let themselves into the pods. Only you can read it.
    """
    out = Out(json=as_json)
    with _runtime_place.needs_extra():
        from pulumi_atlas.runtime.store.backup import backup as make

    made = make(store or _runtime_place.default_store(), to)
    row = {"folder": str(to.absolute()), **_described(made)}
    out.result(row, lambda: out.line(f"{to}: {_words(made)}"))


def restore(
    from_: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="A folder that `backup` made.")],
    store: StoreUrl = None,
    force: Annotated[
        bool, typer.Option("--force", help="Move aside what is at that place, which may know of more pods.")
    ] = False,
    as_json: _options.AsJson = False,
) -> None:
    """Put a backup where a store is to be; no companion may be running on it.

    What was rented since the backup is not known to it. So a companion on it ends nothing before
    `atlas runtime confirm-store`; look at `atlas runtime orphans` first.
    """
    out = Out(json=as_json)
    with _runtime_place.needs_extra():
        from pulumi_atlas.runtime.store.backup import restore as bring_back

    place = store or _runtime_place.default_store()
    try:
        done = bring_back(from_, place, force=force)
    except ConfigError as error:
        raise ConfigError(error.message, hint=error.hint.replace("use force", "add --force")) from None
    aside = [str(path) for path in done.moved_aside]
    out.result({"store": str(done.store), "moved_aside": aside, **_described(done.backup)}, lambda: _told(out, done))


def _told(out: Out, done: Restored) -> None:
    out.line(f"{done.store}: {_words(done.backup)}")
    for path in done.moved_aside:
        out.line(f"moved aside: {path}")
    out.line("kills are frozen until `atlas runtime confirm-store`")


def _described(made: Backup) -> dict[str, Any]:
    return {
        "made_at": made.made_at,
        "deployment_id": made.deployment_id,
        "name": made.name,
        "sessions": made.sessions,
        "live": made.live,
        "last_event": made.last_event,
    }


def _words(made: Backup) -> str:
    return f"sessions: {made.sessions}, live: {made.live}, of {made.name or 'no name'} at {when(made.made_at)}"


def confirm_store(store: StoreUrl = None, yes: _options.Yes = False, as_json: _options.AsJson = False) -> None:
    """Say that this store is the right one, here: sessions may be ended again.

    A store that was restored, copied or moved ends nothing before that, because what it does not know may be in use.
    Shows what is not as it was, and what goes on costing money meanwhile; then asks.
    """
    out = Out(json=as_json)

    async def look(opened: Store) -> tuple[Custody, dict[str, Any]]:
        return await opened.custody(), await _costs(opened)

    custody, costs = with_store(store, look)
    if not custody.frozen:
        row = {"deployment_id": custody.deployment_id, "frozen": "", "confirmed": False, **costs}
        out.result(row, lambda: out.line("nothing is frozen: this store is where it was"))
        return
    for line in _differences(custody, costs):
        out.note(line)
    confirm(
        "Is this the newest store of this deployment, and no other companion uses a copy of it?",
        yes=yes,
        nothing_else="this lets the companion end sessions again",
    )

    async def act(opened: Store) -> Custody:
        return await opened.confirm(now=time.time())

    done = with_store(store, act)
    row = {"deployment_id": done.deployment_id, "frozen": done.frozen, "confirmed": True, **costs}
    out.result(row, lambda: out.line("confirmed: sessions may be ended again"))


async def _costs(store: Store) -> dict[str, Any]:
    """What runs by this store: sessions that are not final, the sum of the known prices, how many are not known."""
    count, rate, unknown = 0, 0.0, 0
    async for session in store.live():
        count += 1
        rate += session.cost_per_hour or 0.0
        unknown += session.cost_per_hour is None and session.pod_id is not None
    return {"sessions": count, "cost_per_hour": round(rate, 6), "cost_unknown": unknown}


def _differences(custody: Custody, costs: dict[str, Any]) -> list[str]:
    said = [f"kills are frozen: {custody.frozen}"]
    for name in ("machine", "path", "inode"):
        here, recorded = custody.details.get(name, ""), custody.details.get(f"recorded_{name}", "")
        if here != recorded:
            said.append(f"  {name}: {recorded} was recorded, {here} is here")
    if custody.alive_at is not None:
        said.append(f"a companion last wrote into it at {when(custody.alive_at)}")
    unknown = f" and {costs['cost_unknown']} of unknown price" if costs["cost_unknown"] else ""
    said.append(f"live sessions: {costs['sessions']}, {money(costs['cost_per_hour'])} per hour{unknown}")
    return said

"""`atlas runtime keys`: the keys of the companion's API, and the master keys from which sessions' tokens are derived."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_atlas.cli import _companion_views as views
from pulumi_atlas.cli import _options, _runtime_place
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._runtime_tools import StoreUrl, with_store
from pulumi_atlas.errors import ConfigError, Failure, InvalidSpec, NotFound

if TYPE_CHECKING:
    from pulumi_atlas.runtime.store.contract import AccessKey, Store

__all__ = ["app"]

app = typer.Typer(
    help="Keys of the companion's API. They work on the store itself, beside a running companion too.",
    no_args_is_help=True,
)

SCOPES = ("admin", "backend", "read", "metrics")


@app.command("create")
def create(
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            metavar="admin|backend|read|metrics",
            help="admin: all. backend: sessions from templates. read: look only. metrics: /metrics only.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="For people: who has it.")] = "unnamed",
    store: StoreUrl = None,
    as_json: _options.AsJson = False,
) -> None:
    """Make a key and print it, once, last on its line. The store keeps only its hash. It works within seconds."""
    out = Out(json=as_json)
    if scope not in SCOPES:
        raise InvalidSpec([Failure("scope", f"{scope!r} is no scope", f"there are: {', '.join(SCOPES)}")])
    if not name.strip() or len(name) > 64 or not name.isprintable():
        raise InvalidSpec([Failure("name", "is no name", "1 to 64 printable characters")])
    with _runtime_place.needs_extra():
        from pulumi_atlas.runtime.http.keys import minted

    key, text = minted(scope, name, time.time())  # type: ignore[arg-type]  # it was looked up above

    async def work(opened: Store) -> None:
        await opened.add_key(key)

    with_store(store, work, may_create=True)
    row = {**_shown(key), "key": text}
    out.result(row, lambda: out.line(f"key {key.id} (scope {scope}, name {name}): {text}"))


@app.command("list")
def list_(store: StoreUrl = None, as_json: _options.AsJson = False) -> None:
    """List the keys, revoked ones too. Nobody can tell the keys themselves again."""
    out = Out(json=as_json)

    async def work(opened: Store) -> list[dict[str, Any]]:
        return [_shown(key) for key in await opened.keys()]

    rows = with_store(store, work)
    out.result(rows, lambda: out.table(views.KEY_COLUMNS, [views.key_row(row) for row in rows], none="no keys"))


@app.command("revoke")
def revoke(
    ident: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    store: StoreUrl = None,
    as_json: _options.AsJson = False,
) -> None:
    """Revoke a key. A running companion refuses it within seconds."""
    out = Out(json=as_json)

    async def work(opened: Store) -> bool:
        if ident not in {key.id for key in await opened.keys()}:
            raise NotFound(f"there is no key {ident}", hint="`atlas runtime keys list` shows them")
        return await opened.revoke_key(ident, now=time.time())

    changed = with_store(store, work)
    told = "revoked" if changed else "was revoked already"
    out.result({"id": ident, "revoked": True, "changed": changed}, lambda: out.line(f"key {ident} {told}"))


@app.command("rotate-master")
def rotate_master(
    overlap_s: Annotated[
        float | None,
        typer.Option("--overlap-s", metavar="SECONDS", help="So long the old one still verifies. Default: 7 days."),
    ] = None,
    store: StoreUrl = None,
    as_json: _options.AsJson = False,
) -> None:
    """Make a new master key. Tokens and URLs from before verify until the overlap is over.

    A running companion goes on with the old one until it is started again.
    """
    out = Out(json=as_json)
    if overlap_s is not None and not 0 <= overlap_s <= 366 * 86_400:
        raise InvalidSpec([Failure("overlap_s", "is no length of time", "0 to 31622400 seconds")])
    with _runtime_place.needs_extra():
        from pulumi_atlas.runtime.access import OVERLAP_S, KeyRingFile
        from pulumi_atlas.runtime.store import store_path

    path = store_path(store or _runtime_place.default_store())
    ring_file = path.with_name(f"{path.name}.keys")
    if not ring_file.exists():
        raise ConfigError(f"there are no master keys at {ring_file}", hint="start a companion with this store first")
    ring = KeyRingFile.beside(path)
    overlap = OVERLAP_S if overlap_s is None else overlap_s
    ring.rotate(now=time.time(), overlap_s=overlap)
    row = {"kid": ring.ring.current.kid, "file": str(ring_file), "overlap_s": overlap}
    told = f"master key {row['kid']} signs from the companion's next start on; the one before verifies for"
    out.result(row, lambda: out.line(f"{told} {views.span(overlap)} more"))


def _shown(key: AccessKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "scope": key.scope,
        "name": key.name,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }

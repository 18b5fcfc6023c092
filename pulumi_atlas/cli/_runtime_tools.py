"""Work on a companion's store without a companion, or beside a running one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pulumi_atlas.cli import _runtime_place

if TYPE_CHECKING:
    from pulumi_atlas.runtime.store.contract import Store

__all__ = ["StoreUrl", "with_store"]

T = TypeVar("T")

StoreUrl = Annotated[
    str | None,
    typer.Option("--store", metavar="sqlite:///PATH", help="Default: ATLAS_RUNTIME_STORE, then your state folder."),
]


def with_store(url: str | None, work: Callable[[Store], Awaitable[T]], *, may_create: bool = False) -> T:
    """Run `work` with the opened store, and give the store back. Raises ConfigError without a store, and what `work` raises."""
    import asyncio  # here, so that help and completion do not pay for it
    import time

    place = url or _runtime_place.default_store()
    with _runtime_place.needs_extra():
        from pulumi_atlas.runtime.store import open_for_tools

        store = open_for_tools(place, may_create=may_create)

    async def opened() -> T:
        try:
            await store.open(name="", now=time.time())
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(opened())

"""Many reads, one list call: reads that arrive within a short window share a listing, and a fresh listing is kept briefly."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

from pulumi_atlas.client.kinds import Kind
from pulumi_atlas.errors import NotFound
from pulumi_atlas.models import Compute, Listing, ObservedEndpoint, ObservedVolume
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.gone import presence

__all__ = ["Inventory"]

T = TypeVar("T", bound=Compute | ObservedVolume | ObservedEndpoint)


class Inventory(Generic[T]):
    """All things of one kind in one account, as last listed. `window_s` and `keep_s` are in seconds.

    `drop` is called on our own writes, so that nobody reads what they have just changed from an old listing.
    """

    def __init__(
        self, provider: Any, kind: Kind[T], clock: Clock, *, window_s: float = 0.015, keep_s: float = 1.0
    ) -> None:
        self._provider, self._kind, self._clock = provider, kind, clock
        self._window_s, self._keep_s = window_s, keep_s
        self._pending: asyncio.Task[Listing[T]] | None = None
        self._snapshot: Listing[T] | None = None
        self._taken_at = 0.0
        self._edition = 0
        self._index: tuple[Listing[T], dict[str, T]] | None = None

    def drop(self) -> None:
        """Forget the listing; one that is under way is not kept either."""
        self._edition += 1
        self._snapshot = None
        self._pending = None

    async def listing(self, *, max_age_s: float | None = None) -> Listing[T]:
        """A listing at most `max_age_s` seconds old (default: `keep_s`). Errors of the provider pass through."""
        age = self._clock.monotonic() - self._taken_at
        limit = self._keep_s if max_age_s is None else min(max_age_s, self._keep_s)
        if self._snapshot is not None and age <= limit:
            return self._snapshot
        if self._pending is None:
            self._pending = asyncio.create_task(self._fetch(self._edition))
            self._pending.add_done_callback(_retrieve)
        return await asyncio.shield(self._pending)

    async def _fetch(self, edition: int) -> Listing[T]:
        await self._clock.sleep(self._window_s)
        try:
            listing = await self._kind.list(self._provider)
        finally:
            if edition == self._edition:
                self._pending = None
        if edition == self._edition:
            self._snapshot, self._taken_at = listing, self._clock.monotonic()
        return listing

    async def find(self, ident: str, *, max_age_s: float | None = None, thing_age_s: float | None = None) -> T | None:
        """The thing from a listing, or by a GET of its own when the listing lacks it; None when it is proven gone.

        Raises NotFound when it cannot be found and cannot be proven gone (an incomplete or lagging listing).
        """
        listing = await self.listing(max_age_s=max_age_s)
        seen = self._by_id(listing).get(ident)
        if seen is not None:
            return seen
        try:
            return await self._kind.get(self._provider, ident)
        except NotFound as error:
            self._judge_absence(listing, error, thing_age_s)
            return None

    def _by_id(self, listing: Listing[T]) -> dict[str, T]:
        """Many look for their own thing in one listing, so it is turned into a table once."""
        if self._index is None or self._index[0] is not listing:
            self._index = (listing, {thing.id: thing for thing in listing})
        return self._index[1]

    def _judge_absence(self, listing: Listing[T], error: NotFound, age_s: float | None) -> None:
        verdict = presence(
            get_found=False,
            list_found=False,
            list_complete=listing.complete,
            age_s=age_s,
            lag_s=self._provider.listing_lag_s,
        )
        if verdict != "gone":
            error.hint = "the list of things was not complete; nothing is taken as gone, try again"
            raise error

    async def find_birth(self, birth: str) -> tuple[T | None, bool]:
        """The thing of a birth from a fresh listing, and whether its absence may be trusted as far as completeness goes."""
        self.drop()
        listing = await self._kind.list(self._provider)
        return next((thing for thing in listing if thing.birth == birth), None), listing.complete


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at a failure even when everybody who waited for it has left."""
    if not task.cancelled():
        task.exception()

"""Complete looks at accounts, shared by everybody who wants to know what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, UnknownOutcome
from pulumi_atlas.ids import PodId
from pulumi_atlas.models import Compute, ComputeFilter, Listing
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.runtime._calls import Calls
from pulumi_atlas.runtime.outage import AccountKey, Outage

__all__ = ["Lister", "Opens", "Seen"]


class Opens(Protocol):
    """What is needed of `client.Core`."""

    def open(self, provider: str | None, account: str | None = None) -> Opened:
        """The provider, ready for use. Raises ConfigError, Unauthorized."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A listing of one account, and when it was asked for."""

    listing: Listing[Compute]
    at: Moment
    opened: Opened

    @property
    def provider(self) -> Any:
        return self.opened.provider


class Lister:
    """Lists accounts and tells the outage register how that went.

    `expected`: the identities that the sessions of an account were made in, none when there are none.
    """

    def __init__(self, core: Opens, clock: Clock, outage: Outage, calls: Calls) -> None:
        self._core, self._clock, self._outage, self._calls = core, clock, outage, calls
        self._last: dict[AccountKey, Seen] = {}
        self._locks: dict[AccountKey, asyncio.Lock] = {}
        self.expected: Callable[[AccountKey], Collection[str]] = lambda key: ()

    def moment(self) -> Moment:
        return Moment(self._clock.now(), self._clock.monotonic())

    async def look(self, key: AccountKey, *, max_age_s: float = 0.0) -> Seen | None:
        """What is there, as asked for at most `max_age_s` seconds ago. None: it did not answer."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            last = self._last.get(key)
            if last is not None and max_age_s > 0 and self._clock.monotonic() - last.at.mono <= max_age_s:
                return last
            self._last.pop(key, None)
            seen = await self._fetch(key)
            if seen is not None:
                self._last[key] = seen
            return seen

    async def _fetch(self, key: AccountKey) -> Seen | None:
        at = self.moment()
        try:
            opened = self._core.open(*key)
            listing: Listing[Compute] = await self._calls(
                opened.provider.name, "list_compute", lambda: opened.provider.list_compute(ComputeFilter())
            )
        except AtlasError as error:
            self._outage.failed(key, error.one_line(), self.moment())
            return None
        return self._right(key, Seen(listing, at, opened))

    def _right(self, key: AccountKey, seen: Seen) -> Seen | None:
        """In another account everything looks "not found": such an answer counts as none."""
        here, known = seen.listing.account, self.expected(key)
        if known and here not in known:
            text = f"it reaches account {here}, but its sessions are in {', '.join(sorted(known))}"
            self._outage.failed(key, text, self.moment(), certain=True)
            return None
        self._outage.answered(key, self.moment())
        return seen

    async def get(self, seen: Seen, pod_id: str) -> Compute:
        """One pod, asked for by itself. The provider's errors pass; raises TimedOut."""
        pod: Compute = await self._calls(
            seen.provider.name, "get_compute", lambda: seen.provider.get_compute(PodId(pod_id))
        )
        return pod

    async def terminate(self, seen: Seen, pod_id: str) -> None:
        """Ask for the end of one pod. The provider's errors pass; raises TimedOut, and UnknownOutcome when it breaks."""
        await self._calls(
            seen.provider.name, "terminate", lambda: seen.provider.terminate(PodId(pod_id)), broken=UnknownOutcome
        )

"""Complete looks at accounts, shared by everybody who wants to know what is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.models import Compute, ComputeFilter, Listing
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.runtime._pausing import is_cancelled
from pulumi_atlas.runtime.outage import AccountKey, Outage

__all__ = ["Lister", "Opens", "Seen"]

_log = logging.getLogger(__name__)


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
    """Lists accounts and tells the outage register how that went. `calls` at most are under way at once.

    `expected`: the identities that the sessions of an account were made in, none when there are none.
    """

    def __init__(self, core: Opens, clock: Clock, outage: Outage, *, calls: int, timeout_s: float) -> None:
        self._core, self._clock, self._outage = core, clock, outage
        self._timeout_s = timeout_s
        self._last: dict[AccountKey, Seen] = {}
        self._locks: dict[AccountKey, asyncio.Lock] = {}
        self.calls = asyncio.Semaphore(calls)
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
            async with self.calls, asyncio.timeout(self._timeout_s):
                listing: Listing[Compute] = await opened.provider.list_compute(ComputeFilter())
        except AtlasError as error:
            self._outage.failed(key, error.one_line(), self.moment())
        except TimeoutError:
            self._outage.failed(key, f"no listing within {self._timeout_s:g} s", self.moment())
        except (Exception, asyncio.CancelledError) as error:  # a fault of the provider's code, told of as its failure
            if is_cancelled(error):
                raise
            _log.exception("listing %s failed in an unknown way", key[0])
            self._outage.failed(key, f"{type(error).__name__} in the provider", self.moment())
        else:
            return self._right(key, Seen(listing, at, opened))
        return None

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
        """One pod, asked for by itself. The provider's errors pass; raises TimeoutError."""
        async with self.calls, asyncio.timeout(self._timeout_s):
            pod: Compute = await seen.provider.get_compute(pod_id)
            return pod

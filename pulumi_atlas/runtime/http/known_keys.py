"""The API keys that the store knows, by their hash, kept in memory for a few seconds."""

from __future__ import annotations

import asyncio
import hmac
import math
from collections.abc import Mapping

from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.store.contract import AccessKey, Store, StoreUnavailable

__all__ = ["KnownKeys"]


class KnownKeys:
    """Believed for `bounds.keys_s`, so that a key which another process revoked ends then. A hash that is not there makes
    the list be read again, at most once in `bounds.keys_again_s`: who asks with an unknown key waits for that.

    While the store cannot be read, the last list stays in force.
    """

    def __init__(self, store: Store, clock: Clock, bounds: Bounds) -> None:
        self._store, self._clock, self._bounds = store, clock, bounds
        self._keys: Mapping[str, AccessKey] = {}
        self._read_at = -math.inf
        self._reading: asyncio.Task[None] | None = None
        self._changes = 0

    async def find(self, presented: str) -> Caller | None:
        """Whose key that is, None when it is nobody's, or revoked."""
        found = self.at_hand(presented)
        if found is None:
            await self._read()
            found = self._caller(presented)
        return found

    def at_hand(self, presented: str) -> Caller | None:
        """As `find`, but only from a list that is believed; None says nothing."""
        return None if self._age_s() >= self._bounds.keys_s else self._caller(presented)

    def forget(self) -> None:
        """The list has changed: it is read before it is used again."""
        self._changes += 1
        self._read_at = -math.inf

    def _caller(self, presented: str) -> Caller | None:
        key = self._keys.get(presented)
        if key is None or key.revoked_at is not None or not hmac.compare_digest(key.hash, presented):
            return None
        return Caller(key.scope, key.id, presented)

    def _age_s(self) -> float:
        return self._clock.monotonic() - self._read_at

    async def _read(self) -> None:
        """Read the list; all who ask for that meanwhile share one reading."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_when_due())
        await asyncio.shield(self._reading)

    async def _read_when_due(self) -> None:
        wait_s = self._bounds.keys_again_s - self._age_s()
        if wait_s > 0:
            await self._clock.sleep(wait_s)
        while True:
            now, changes = self._clock.monotonic(), self._changes
            try:
                found = {key.hash: key for key in await self._store.keys()}
            except StoreUnavailable:
                if self._read_at == -math.inf:
                    raise
                found = dict(self._keys)
            if changes == self._changes:
                break  # else it may have been read before the change
        self._keys, self._read_at = found, now

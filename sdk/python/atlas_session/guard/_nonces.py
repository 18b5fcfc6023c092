"""The memory of single-use grants: bounded, of this process only, and forgetful once a grant has expired."""

from __future__ import annotations

import heapq
import threading

__all__ = ["NonceMemory"]

#: Kept longer than a grant lives, for a request that was asked about before the clock passed its expiry.
_LINGER_S = 60.0


class NonceMemory:
    """Says whether a nonce is used for the first time. When it is full, it says no: a replay is worse than a refusal.

    Each process has its own. Where several serve one pod, a grant can be used once in each.
    """

    def __init__(self, capacity: int = 65_536) -> None:
        self._capacity = capacity
        self._known: set[str] = set()
        self._by_expiry: list[tuple[float, str]] = []
        self._lock = threading.Lock()

    def spend(self, nonce: str, until: float, now: float) -> bool:
        """`until`: unix seconds at which the grant has expired for certain."""
        with self._lock:
            while self._by_expiry and self._by_expiry[0][0] + _LINGER_S <= now:
                self._known.discard(heapq.heappop(self._by_expiry)[1])
            if nonce in self._known or len(self._known) >= self._capacity:
                return False
            self._known.add(nonce)
            heapq.heappush(self._by_expiry, (until, nonce))
            return True

    def __len__(self) -> int:
        return len(self._known)

"""Activity of a session whose entry is at hand: memory only."""

from __future__ import annotations

from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.runtime.ledger import Ledger, Live

__all__ = ["touched_now"]


def touched_now(
    ledger: Ledger, live: Live, source: str, now: Moment, *, counts: bool, idle_s: float, count: int
) -> bool:
    """Note it, when `source` is one that counts. False when the session is gone, or its end is being written: who wants to
    know which waits for that."""
    if live.settling is not None or live.is_gone:
        return False
    if counts:
        graced = live.grace_mono is not None
        live.touch(source, now, idle_s=idle_s, count=count)
        ledger.touched(live)
        if graced and live.grace_mono is None:
            ledger.reindex(live, now)  # the grace of a restart may have lasted longer than its own time does
    return True

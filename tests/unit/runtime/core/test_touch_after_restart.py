"""A touch takes a restart's grace away: the end that is then nearer is looked at in time."""

from __future__ import annotations

import asyncio

from pulumi_atlas.models.session import Session
from pulumi_atlas.runtime._touching import touched_now
from pulumi_atlas.runtime.ledger import Ledger
from pulumi_atlas.testing.clock import SimulatedClock
from pulumi_atlas.testing.sessions import MemoryStore


def test_after_the_first_touch_the_own_idle_time_is_what_is_waited_for() -> None:
    async def act() -> None:
        clock, store = SimulatedClock(), MemoryStore()
        await store.open(name="t", now=clock.now())
        session = Session(
            id="s1", state="ready", provider="mock", idle_ttl_s=60, max_lifetime_s=None, warn_before_s=10,
            on_idle="terminate", paused_ttl_s=60, budget=None, created_at=clock.now(), ready_at=clock.now(),
        )  # fmt: skip
        await store.add(session, [])
        ledger = Ledger(store, clock)
        await ledger.load(alive_at=clock.now(), grace_s=600)
        begin = clock.monotonic()
        assert ledger.next_due() == begin + 590
        await clock.advance(5)
        assert touched_now(ledger, ledger["s1"], "http", ledger.moment(), counts=True, idle_s=0, count=1)
        assert ledger.next_due() == begin + 55
        await clock.advance(60)
        assert [(live.id, verdict.act) for live, verdict in ledger.due(ledger.moment())] == [("s1", "end")]

    asyncio.run(act())

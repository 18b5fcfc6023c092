"""Warnings that are late, grace that ends too soon, wishes across a turned clock, and numbers that grow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from core_kit import Stage, play
from store_kit import a_session
from watch_kit import Rig, run

from pulumi_atlas.runtime.ledger import Change, Ledger
from pulumi_atlas.runtime.settings import Limits
from pulumi_atlas.runtime.store.sqlite import SqliteStore
from pulumi_atlas.testing.clock import SimulatedClock


@pytest.mark.parametrize("back_after_s", [2, 10, 20, 35, 40, 50, 58])
def test_whoever_could_not_be_warned_is_warned_before_its_end(back_after_s: float) -> None:
    """The store was away when the warning was due, and came back some time before the deadline."""

    async def act() -> None:
        rig = await Rig(warn_before_s=60).begin()
        session = await rig.session(warn_before_s=60.0)
        async with rig.watching():
            await rig.clock.advance(839)
            rig.store.fail()
            await rig.clock.advance(1 + back_after_s)
            rig.store.fail("")
            rig.gate.store_worked()  # as the flusher says
            await rig.clock.advance(300)
        (warning,) = await rig.events(session, "warning")
        (end,) = await rig.kills()
        assert end > warning.at

    run(act())


def test_a_report_of_old_activity_ends_no_grace(stage: Stage) -> None:
    """A hidden tab says how long it has been idle; the guard, whose visitors are there, asks again only later."""

    async def act() -> None:
        session = (await stage.ready()).session
        await stage.clock.advance(650)
        await stage.restart()
        await stage.clock.advance(1)
        await stage.companion.touch(session.id, "client", idle_s=5000)
        await stage.companion.touch(session.id, "client", idle_s=790)
        await stage.clock.advance(110)
        assert (await stage.get(session.id)).state == "ready"
        await stage.companion.touch(session.id, "http")
        await stage.clock.advance(600)
        assert (await stage.get(session.id)).state == "ready"

    stage.options |= {"idle_ttl_s": 700}
    play(stage, act)


def test_a_wish_after_the_clock_was_turned_back_counts(stage: Stage) -> None:
    stage.options |= {"warn_before_s": 0, "idle_ttl_s": 300, "max_lifetime_s": None}

    async def act() -> None:
        session = (await stage.ready()).session
        await stage.companion.extend(session.id, 200, actor="key:k1", bounded=False)
        await stage.clock.advance(201)
        stage.clock.jump(-3600)
        await stage.clock.advance(2)
        await stage.companion.extend(session.id, 600, actor="key:k1", bounded=False)
        await stage.clock.advance(590)
        assert (await stage.get(session.id)).state == "ready"
        await stage.clock.advance(30)
        assert (await stage.get(session.id)).state != "ready"

    play(stage, act)


def test_a_wish_that_moves_no_deadline_brings_no_second_warning() -> None:
    async def act() -> None:
        rig = await Rig(warn_before_s=60).begin()
        session = await rig.session(warn_before_s=60.0)
        async with rig.watching():
            await rig.clock.advance(850)
            assert len(await rig.events(session, "warning")) == 1
            until = rig.clock.now() + 10
            await rig.ledger.change(session.id, lambda s: Change("x", s.cause, fields={"keep_until": until}))
            await rig.clock.advance(40)
            assert len(await rig.events(session, "warning")) == 1

    run(act())


def test_counts_of_touches_never_keep_activity_from_being_written(tmp_path: Path) -> None:
    """One bearer of a touch token who says absurd numbers must not stop the flush of all sessions."""

    async def act() -> None:
        store, clock = SqliteStore(tmp_path / "sessions.db"), SimulatedClock()
        await store.open(name="x", now=clock.now())
        try:
            ledger = Ledger(store, clock)
            for ident in ("s1", "s2"):
                await ledger.add(a_session(ident), "operator")
            for _ in range(3):
                for _ in range(1500):
                    ledger["s1"].touch("client", ledger.moment(), count=2**53 - 1)
                ledger["s2"].touch("client", ledger.moment())
                ledger.touched(ledger["s1"])
                ledger.touched(ledger["s2"])
                await ledger.flush()
            kept = await store.get("s1")
            other = await store.get("s2")
            assert kept is not None and isinstance(kept.touches, int) and kept.touches > 2**52
            assert other is not None and other.touches == 3
        finally:
            await store.aclose()

    asyncio.run(act())


def test_a_session_whose_row_went_makes_no_loop_spin() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        session = await rig.session()
        other = await rig.session(idle_ttl_s=1000.0)
        del rig.store._tables.sessions[session.id]
        async with rig.watching():
            await rig.clock.advance(1200)
            assert await rig.state(other) == "terminating"

    run(act())


def test_an_owner_who_could_not_be_judged_once_is_judged_again(stage: Stage) -> None:
    stage.options |= {"limits": Limits(owner_budget=0.01), "warn_before_s": 0, "idle_ttl_s": 50_000}

    async def act() -> None:
        session = (await stage.ready(owner="bob")).session
        owners = stage.companion.crew.reaper.owners
        spent = stage.companion.store.spent

        async def broken(*_: Any, **__: Any) -> float:
            raise ValueError("the store cannot hold such a value")

        stage.companion.store.spent = broken
        owners._changed.add("bob")
        owners._news.set()
        await stage.clock.advance(20)
        stage.companion.store.spent = spent
        over = await stage.advance_until(session.id, "terminated", most_s=4000)
        assert over.cause == "owner_budget"
        assert not stage.pods()

    play(stage, act)

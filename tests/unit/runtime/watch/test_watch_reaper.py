"""Sessions end at their deadlines: each after its warning, none before, and only when that may be."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from watch_kit import Rig, run

from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.rules.sessions.freeze import CLOCK_JUMPED, STORE_NOT_CONFIRMED, STORE_UNAVAILABLE
from pulumi_atlas.runtime.ledger import Change
from pulumi_atlas.runtime.store.contract import StoreUnavailable


def test_an_idle_session_ends_at_its_deadline_and_not_before() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=900.0)
        begin = rig.clock.now()
        async with rig.watching():
            await rig.clock.advance(899.9)
            assert await rig.state(one) == "ready"
            await rig.clock.advance(0.2)
            ended = await rig.got(one)
            assert (ended.state, ended.cause, ended.outcome) == ("terminating", "idle", "terminated")
        assert await rig.kills() == [begin + 900.0]
        assert (await rig.events(one, "status"))[-1].actor == "reaper"

    run(act())


def test_a_touch_moves_the_deadline() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=900.0)
        async with rig.watching():
            await rig.clock.advance(800)
            rig.touch(one, idle_s=10.0)
            await rig.clock.advance(889.9)
            assert await rig.state(one) == "ready"
            await rig.clock.advance(0.2)
            assert await rig.state(one) == "terminating"

    run(act())


def test_a_touch_while_the_kill_reads_the_store_wins() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=900.0)
        get = rig.store.get

        async def touched_meanwhile(session_id: str) -> Any:
            found = await get(session_id)
            rig.touch(one)
            return found

        rig.store.get = touched_meanwhile  # type: ignore[method-assign]
        async with rig.watching():
            await rig.clock.advance(900)
            rig.store.get = get  # type: ignore[method-assign]
            assert await rig.state(one) == "ready"
            await rig.clock.advance(899.9)
            assert await rig.state(one) == "ready"
            await rig.clock.advance(0.2)
            assert await rig.state(one) == "terminating"

    run(act())


@pytest.mark.parametrize(
    ("on_idle", "stops", "state"),
    [("stop", True, "pausing"), ("stop", False, "terminating"), ("terminate", True, "terminating")],
)
def test_idle_stops_only_where_that_was_asked_for_and_the_provider_can(on_idle: str, stops: bool, state: str) -> None:
    async def act() -> None:
        rig = await Rig().begin()
        rig.reaper._stops = lambda provider: stops
        one = await rig.session(idle_ttl_s=60.0, on_idle=on_idle)
        async with rig.watching():
            await rig.clock.advance(60)
        ended = await rig.got(one)
        assert (ended.state, ended.cause) == (state, "idle")

    run(act())


def test_a_lifetime_ends_a_session_that_is_asked_to_stop_when_idle() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=1e6, on_idle="stop", max_lifetime_s=100.0, expires_at=rig.clock.now() + 100)
        async with rig.watching():
            await rig.clock.advance(100)
        ended = await rig.got(one)
        assert (ended.state, ended.cause) == ("terminating", "lifetime")

    run(act())


def test_a_budget_and_a_pause_end_too() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        now = rig.clock.now()
        dear = await rig.session(idle_ttl_s=1e6, budget=1.0, cost_per_hour=36.0, cost_since=now)
        paused = await rig.session(state="paused", paused_at=now, paused_ttl_s=150.0, cost_per_hour=0.0)
        async with rig.watching():
            await rig.clock.advance(99.9)
            assert await rig.state(dear) == "ready"
            await rig.clock.advance(0.2)
            assert (await rig.got(dear)).cause == "budget"
            await rig.clock.advance(50)
            assert (await rig.got(paused)).cause == "paused_too_long"

    run(act())


def test_each_deadline_is_warned_of_once_also_when_several_stand_and_after_a_restart() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(
            idle_ttl_s=900.0, warn_before_s=60.0, max_lifetime_s=910.0, expires_at=rig.clock.now() + 910
        )
        async with rig.watching():
            await rig.clock.advance(839)
            assert await rig.events(one, "warning") == []
            await rig.clock.advance(1)
            await rig.clock.advance(15)
        told = [event.data["warned_of"] for event in await rig.events(one, "warning")]
        assert told == ["idle", "lifetime"]
        assert (await rig.events(one, "warning"))[0].data["ends_at"] == pytest.approx(one.created_at + 900.0)

        again = Rig(rig.store.after_crash(), rig.world)
        again.clock.jump(855)
        await again.begin(alive_at=again.clock.now())
        async with again.watching():
            await again.clock.advance(30)
            assert len(await again.events(one, "warning")) == 2
            again.touch(one)
            await again.clock.advance(1)
        assert len(await again.events(one, "warning")) == 2

    run(act())


def test_a_touch_makes_another_deadline_that_is_warned_of_again() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=900.0, warn_before_s=60.0)
        async with rig.watching():
            await rig.clock.advance(850)
            rig.touch(one)
            await rig.clock.advance(900)
        assert [event.at - one.created_at for event in await rig.events(one, "warning")] == [840.0, 850.0 + 840.0]
        assert await rig.kills() == [one.created_at + 850 + 900]

    run(act())


def test_the_cap_lets_the_longest_overdue_go_first_and_the_rest_follows_in_order() -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=3).begin()
        ids = [await rig.session(id=f"s{n}", idle_ttl_s=100.0 - n) for n in range(8)]
        await rig.clock.advance(200)
        async with rig.watching():
            ended = [one.id for one in ids if await rig.state(one) == "terminating"]
            assert ended == ["s5", "s6", "s7"]
            assert rig.reaper.status()["waiting"] == 5
            await rig.clock.advance(59.9)
            assert len(await rig.kills()) == 3
            rig.touch(ids[4])
            await rig.clock.advance(0.2)
            assert [await rig.state(ids[n]) for n in (4, 3, 2, 1, 0)] == [
                "ready", "terminating", "terminating", "terminating", "ready",
            ]  # fmt: skip
            await rig.clock.advance(60)
            assert await rig.state(ids[0]) == "terminating"
            assert rig.reaper.status()["waiting"] == 0

    run(act())


def test_what_waits_under_the_cap_is_not_looked_at_all_the_time() -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=1).begin()
        for _ in range(20):
            await rig.session(idle_ttl_s=10.0)
        steps = 0
        step = rig.reaper.step

        async def counted(*args: Any) -> float | None:
            nonlocal steps
            steps += 1
            return await step(*args)

        rig.reaper.step = counted  # type: ignore[method-assign]
        async with rig.watching():
            await rig.clock.advance(600)
        assert len(await rig.kills()) == 10
        assert steps < 60

    run(act())


def test_nothing_is_ended_or_warned_of_under_a_freeze_and_all_goes_on_after_it() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        idle = await rig.session(idle_ttl_s=100.0, warn_before_s=20.0)
        limited = await rig.session(idle_ttl_s=1e6, max_lifetime_s=100.0, expires_at=rig.clock.now() + 100)
        rig.freeze.hold(STORE_NOT_CONFIRMED)
        async with rig.watching():
            await rig.clock.advance(3600)
            assert await rig.kills() == [] and await rig.events(kind="warning") == []
            assert {row["held"] for row in rig.reaper.plan()["rows"]} == {STORE_NOT_CONFIRMED}
            rig.freeze.lift(STORE_NOT_CONFIRMED)
            await rig.clock.advance(1)
            assert await rig.state(limited) == "terminating"
            assert [event.session_id for event in await rig.events(kind="warning")] == [idle.id]
            assert await rig.state(idle) == "ready"
            await rig.clock.advance(20)
            assert await rig.state(idle) == "terminating"

    run(act())


def test_a_store_that_fails_keeps_the_session_and_is_asked_again_less_and_less() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        ids = [await rig.session(idle_ttl_s=100.0) for _ in range(40)]
        tries: list[float] = []
        change = rig.store.change

        async def full(*args: Any, **options: Any) -> Any:
            tries.append(rig.clock.monotonic())
            raise StoreUnavailable("the disk is full")

        rig.store.change = full  # type: ignore[method-assign]
        async with rig.watching():
            await rig.clock.advance(400)
            assert await rig.kills() == []
            assert [live.state for live in rig.ledger.live.values()] == ["ready"] * 40
            moments = sorted(set(tries))
            assert len(moments) <= 16 and moments[-1] - moments[-2] >= 30
            rig.touch(ids[0])
            rig.store.change = change  # type: ignore[method-assign]
            await rig.clock.advance(40)
            assert await rig.state(ids[0]) == "ready"
            assert len(await rig.kills()) == 39

    run(act())


def test_a_store_that_takes_writes_again_is_not_waited_for() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=100.0)
        async with rig.watching():
            await rig.clock.advance(99)
            rig.store.fail()
            await rig.clock.advance(40)
            rig.store.fail("")
            assert rig.gate.status()["frozen"] == [STORE_UNAVAILABLE]
            rig.gate.store_worked()  # as when activity was flushed
            await rig.clock.settle()
            assert rig.gate.status()["frozen"] == []
            assert await rig.state(one) == "terminating"

    run(act())


def test_a_warning_that_could_not_be_written_is_written_later_and_the_loop_does_not_spin() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=100.0, warn_before_s=50.0)
        async with rig.watching():
            await rig.clock.advance(49)
            rig.store.fail()
            await rig.clock.advance(11)
            rig.store.fail("")
            await rig.clock.advance(30)
            assert len(await rig.events(one, "warning")) == 1
            assert await rig.state(one) == "ready"
            await rig.clock.advance(10)
            assert await rig.state(one) == "terminating"

    run(act())


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_a_jump_of_the_wall_clock_freezes_kills_for_a_grace_and_then_counts(by: float) -> None:
    async def act() -> None:
        rig = await Rig().begin()
        begin = rig.clock.now()
        idle = await rig.session(idle_ttl_s=1000.0)
        limited = await rig.session(idle_ttl_s=1e6, max_lifetime_s=1800.0, expires_at=begin + 1800)
        async with rig.watching():
            await rig.clock.advance(500)
            rig.clock.jump(by)
            await rig.clock.advance(1)
            assert rig.gate.status()["frozen"] == [CLOCK_JUMPED]
            await rig.clock.advance(117)
            assert await rig.kills() == []
            await rig.clock.advance(4)
            assert rig.gate.status()["frozen"] == []
            assert await rig.state(limited) == ("terminating" if by > 0 else "ready")
            assert await rig.state(idle) == "ready"  # idle time is monotonic
            await rig.clock.advance(378.5)
            assert await rig.state(idle) == "terminating"
            await rig.clock.advance(3600)
            assert await rig.state(limited) == ("terminating" if by > 0 else "ready")
            await rig.clock.advance(800)
            assert await rig.state(limited) == "terminating"

    run(act())


def test_a_jump_is_seen_before_the_guard_beats_again() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        limited = await rig.session(idle_ttl_s=1e6, max_lifetime_s=1800.0, expires_at=rig.clock.now() + 1800)
        rig.clock.jump(3600)
        await rig.reaper.step()
        rig.ledger.look_again(rig.ledger[limited.id], 0.0)
        await rig.reaper.step()
        assert await rig.state(limited) == "ready"

    run(act())


def test_a_jump_within_the_write_still_holds_the_kill() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=10.0)
        get = rig.store.get

        async def turned_meanwhile(session_id: str) -> Any:
            rig.clock.jump(3600)
            rig.store.get = get  # type: ignore[method-assign]
            return await get(session_id)

        rig.store.get = turned_meanwhile  # type: ignore[method-assign]
        async with rig.watching():
            await rig.clock.advance(100)
            assert await rig.state(one) == "ready"
            await rig.clock.advance(40)
            assert await rig.state(one) == "terminating"

    run(act())


def test_a_jump_within_the_write_of_a_warning_holds_it_until_the_clock_is_believed() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=1000.0, warn_before_s=60.0)
        get = rig.store.get

        async def turned_meanwhile(session_id: str) -> Any:
            rig.clock.jump(-3600)
            rig.store.get = get  # type: ignore[method-assign]
            return await get(session_id)

        rig.store.get = turned_meanwhile  # type: ignore[method-assign]
        async with rig.watching():
            await rig.clock.advance(1050)
            assert await rig.events(one, "warning") == []
            await rig.clock.advance(20)
            assert len(await rig.events(one, "warning")) == 1
            assert await rig.state(one) == "ready"
            await rig.clock.advance(60)
            assert await rig.state(one) == "terminating"

    run(act())


def test_repeated_jumps_and_small_ones_that_add_up_keep_it_frozen() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        async with rig.watching():
            for _ in range(5):
                rig.clock.jump(-40)
                await rig.clock.advance(100)
                assert rig.gate.status()["frozen"] == [CLOCK_JUMPED]
            await rig.clock.advance(30)
            assert rig.gate.status()["frozen"] == []
            for _ in range(30):
                rig.clock.jump(1.0)
                await rig.clock.advance(10)
                assert rig.gate.status()["frozen"] == []
            rig.clock.jump(1.0)
            await rig.clock.advance(10)
            assert rig.gate.status()["frozen"] == [CLOCK_JUMPED]

    run(act())


def test_a_companion_that_stood_still_gives_grace_before_it_ends_anything() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=300.0)
        async with rig.watching():
            await rig.clock.advance(100)
            rig.clock._step(rig.clock.monotonic() + 600)  # every sleeper wakes late, as after SIGSTOP
            await rig.clock.settle()
            assert await rig.state(one) == "ready"
            await rig.clock.advance(60)
            rig.touch(one)
            await rig.clock.advance(200)
            assert await rig.state(one) == "ready"
            assert rig.gate.status()["frozen"] == []
            await rig.clock.advance(101)
            assert await rig.state(one) == "terminating"

    run(act())


def test_a_fault_about_one_session_forgets_neither_it_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        rig = await Rig().begin()
        bad, good = await rig.session(idle_ttl_s=10.0), await rig.session(idle_ttl_s=10.0)
        change = rig.ledger.change

        async def broken(session_id: str, decide: Any) -> Any:
            if session_id == bad.id:
                raise RuntimeError("a fault of ours")
            return await change(session_id, decide)

        rig.ledger.change = broken  # type: ignore[method-assign]
        async with rig.watching():
            await rig.clock.advance(15)
            assert (await rig.state(bad), await rig.state(good)) == ("ready", "terminating")
            rig.ledger.change = change  # type: ignore[method-assign]
            await rig.clock.advance(30)
            assert await rig.state(bad) == "terminating"
        assert rig.gate.kills.count(rig.clock.monotonic()) == 2

    with caplog.at_level(logging.CRITICAL):
        run(act())


def test_the_plan_says_what_would_be_done_and_does_nothing() -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=1).begin()
        now = rig.clock.now()
        a = await rig.session(id="a", idle_ttl_s=100.0, on_idle="stop")
        b = await rig.session(id="b", idle_ttl_s=90.0)
        c = await rig.session(id="c", idle_ttl_s=200.0, warn_before_s=90.0)
        await rig.session(id="d", idle_ttl_s=500.0)
        await rig.clock.advance(120)
        writes = rig.store.wrote
        plan = rig.reaper.plan()
        rows = {row["id"]: (row["act"], row["deadline"], row["overdue_s"], row["held"]) for row in plan["rows"]}
        assert rows == {
            b.id: ("terminate", "idle", 30.0, None),
            a.id: ("pause", "idle", 20.0, "the cap on kills in a minute"),
            c.id: ("warn", "idle", 10.0, None),
        }
        assert [row["id"] for row in plan["rows"]] == ["b", "a", "c"]
        assert plan["frozen"] == [] and plan["now"] == now + 120
        rig.outage.failed(("mock", None), "no answer", rig.moment())
        rows = {row["id"]: row["held"] for row in rig.reaper.plan()["rows"]}
        assert rows == {"a": "mock is down: no answer", "b": "mock is down: no answer", "c": None}
        assert rig.store.wrote == writes

    run(act())


def test_a_user_who_closes_meanwhile_leaves_nothing_to_end() -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=1).begin()
        first, second = await rig.session(idle_ttl_s=10.0), await rig.session(idle_ttl_s=20.0)
        async with rig.watching():
            await rig.clock.advance(30)
            assert await rig.state(first) == "terminating"
            await rig.ledger.change(second.id, lambda s: Change(actor="key:x", cause="closed", to="terminating"))
            await rig.clock.advance(120)
        assert (await rig.got(second)).cause == "closed"
        assert rig.gate.kills.count(rig.clock.monotonic()) == 0

    run(act())


def test_many_at_once_all_end_and_only_some_writes_are_under_way() -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=0).begin()
        pod = rig.world.plant(ComputeSpec(command=("x",)))
        for _ in range(2_000):
            await rig.session(idle_ttl_s=60.0, pod=pod)
        most, turn = 0, 0
        running = rig.store.change

        async def counted(*args: Any, **options: Any) -> Any:
            nonlocal most, turn
            turn += 1
            most = max(most, turn)
            try:
                return await running(*args, **options)
            finally:
                turn -= 1

        rig.store.change = counted  # type: ignore[method-assign]
        async with rig.watching():
            await rig.clock.advance(60)
        assert len(await rig.kills()) == 2_000
        assert most <= 32

    run(act())

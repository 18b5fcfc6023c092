"""An owner's budget: warned of once at four fifths, and then all of that owner's sessions end."""

from __future__ import annotations

from typing import Any

from watch_kit import Rig, run

from pulumi_atlas.rules.sessions.freeze import STARTING
from pulumi_atlas.runtime.settings import Limits


def _rig(budget: float = 10.0, days: int = 30, **settings: Any) -> Rig:
    return Rig(limits=Limits(owner_budget=budget, owner_budget_days=days), **settings)


async def _open(rig: Rig, **fields: Any) -> Any:
    return await rig.session(**{"idle_ttl_s": 1e7, "cost_per_hour": 1.0, **fields})


def test_live_money_of_all_sessions_of_an_owner_counts_and_others_are_left_alone() -> None:
    async def act() -> None:
        rig = await _rig(10.0).begin()
        a, b = await _open(rig), await _open(rig, cost_per_hour=3.0)
        other, nobodys = await _open(rig, owner="bob"), await _open(rig, owner=None, cost_per_hour=50.0)
        async with rig.watching():
            await rig.clock.advance(2 * 3600 - 5)
            assert await rig.events(kind="warning") == []
            await rig.clock.advance(10)
            told = await rig.events(kind="warning")
            assert sorted(str(event.session_id) for event in told) == [a.id, b.id]
            assert told[0].data["warned_of"] == "owner_budget" and told[0].data["owner_budget"] == 10.0
            await rig.clock.advance(1800 - 10)
            assert await rig.kills() == []
            await rig.clock.advance(10)
            assert [(await rig.got(one)).cause for one in (a, b)] == ["owner_budget"] * 2
            assert [await rig.state(one) for one in (other, nobodys)] == ["ready", "ready"]
            assert len(await rig.events(kind="warning")) == 2

    run(act())


def test_settled_money_counts_until_it_leaves_the_window_and_a_new_session_is_warned() -> None:
    async def act() -> None:
        rig = await _rig(10.0, days=1).begin()
        done = await _open(rig, cost_settled=8.5, cost_per_hour=0.0)
        async with rig.watching():
            await rig.finish(done)
            await rig.clock.advance(5)
            fresh = await _open(rig, cost_per_hour=0.01)
            await rig.clock.advance(5)
            assert [event.session_id for event in await rig.events(kind="warning")] == [done.id, fresh.id]
            await rig.clock.advance(86_400 + 3600)
            assert (await rig.got(fresh)).warned is None
            big = await _open(rig, cost_settled=8.0)
            await rig.clock.advance(5)
            assert [event.session_id for event in await rig.events(kind="warning")][2:] == [fresh.id, big.id]
            assert await rig.kills() == [done.created_at]

    run(act())


def test_a_warning_holds_across_a_restart_and_does_not_lose_the_warning_of_another_deadline() -> None:
    async def act() -> None:
        rig = await _rig(10.0).begin()
        one = await _open(rig, cost_settled=9.0, cost_per_hour=0.0, warn_before_s=100.0, idle_ttl_s=1000.0)
        async with rig.watching():
            await rig.clock.advance(910)
        assert [event.data["warned_of"] for event in await rig.events(one, "warning")] == ["owner_budget", "idle"]
        again = Rig(rig.store.after_crash(), rig.world, limits=Limits(owner_budget=10.0), grace_s=500)
        again.clock.jump(910)
        await again.begin(alive_at=again.clock.now())
        async with again.watching():
            await again.clock.advance(300)
            assert len(await again.events(one, "warning")) == 2

    run(act())


def test_a_hard_stop_waits_for_cap_freeze_and_outage() -> None:
    async def act() -> None:
        rig = await _rig(1.0, max_kills_per_minute=2).begin()
        lives = [await _open(rig, cost_settled=1.0, cost_per_hour=0.0) for _ in range(3)]
        rig.freeze.hold(STARTING)
        async with rig.watching():
            await rig.clock.advance(30)
            assert await rig.kills() == []
            rows = rig.reaper.plan()["rows"]
            assert {(row["act"], row["deadline"], row["held"]) for row in rows} == {
                ("terminate", "owner_budget", STARTING)
            }
            rig.freeze.lift(STARTING)
            await rig.clock.advance(3)
            assert len(await rig.kills()) == 2
            rig.outage.failed(("mock", None), "no answer", rig.moment())
            await rig.clock.advance(200)
            assert len(await rig.kills()) == 2
            rig.outage.answered(("mock", None), rig.moment())
            await rig.clock.advance(3)
            assert len(await rig.kills()) == 3
        assert {await rig.state(one) for one in lives} == {"terminating"}

    run(act())


def test_a_provider_that_is_down_holds_only_its_own_part_of_a_hard_stop() -> None:
    async def act() -> None:
        rig = await _rig(1.0).begin()
        held = await _open(rig, cost_settled=1.0)
        free = await _open(rig, cost_settled=1.0, account="other")
        rig.outage.failed(("mock", None), "no answer", rig.moment())
        async with rig.watching():
            await rig.clock.advance(5)
        assert (await rig.state(held), await rig.state(free)) == ("ready", "terminating")

    run(act())


def test_an_owner_over_budget_keeps_what_a_restart_found_until_the_money_is_counted() -> None:
    async def act() -> None:
        rig = await _rig(1.0).begin()
        one = await _open(rig, cost_settled=2.0)
        again = Rig(rig.store.after_crash(), rig.world, limits=Limits(owner_budget=1.0))
        await again.begin()
        async with again.watching():
            await again.clock.advance(2)
        assert (await again.got(one)).cause == "owner_budget"

    run(act())


def test_owners_are_looked_at_when_something_comes_and_not_at_every_tick() -> None:
    async def act() -> None:
        rig = await _rig(100.0).begin()
        for number in range(50):
            await _open(rig, owner=f"o{number}", cost_per_hour=1.0)
        asked = 0
        spent = rig.store.spent

        async def counted(owner: str, *, since: float) -> float:
            nonlocal asked
            asked += 1
            return await spent(owner, since=since)

        rig.store.spent = counted  # type: ignore[method-assign]
        async with rig.watching():
            await rig.clock.advance(3000)
        assert asked == 50

    run(act())


def test_a_store_that_cannot_be_read_concludes_nothing_about_an_owner() -> None:
    async def act() -> None:
        rig = await _rig(1.0).begin()
        one = await _open(rig, cost_settled=2.0)
        rig.store.fail()
        async with rig.watching():
            await rig.clock.advance(20)
            rig.store.fail("")
            assert await rig.state(one) == "ready"
            await rig.clock.advance(40)
            assert await rig.state(one) == "terminating"

    run(act())

"""While a provider is down none of its sessions is ended; when it answers again there is grace, and no storm of kills."""

from __future__ import annotations

import itertools

from watch_kit import Rig, run

from pulumi_atlas.runtime.killing import Gate


async def _listing(rig: Rig, times: int = 1) -> None:
    for _ in range(times):
        await rig.inspector.step()


def test_three_failures_in_a_row_make_an_outage_and_one_answer_ends_it() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        await rig.session()
        await _listing(rig)
        rig.world.fail_next("list_compute", "transport", times=2)
        await _listing(rig, 3)
        rig.world.fail_next("list_compute", "transport", times=2)
        await _listing(rig, 2)
        assert rig.outage.down("mock", None) is None
        rig.world.fail_next("list_compute", "rate_limited")
        await _listing(rig)
        assert rig.outage.down("mock", None) is not None
        [row] = rig.outage.status()
        assert (row["provider"], row["failures"], row["since"]) == ("mock", 3, rig.clock.now())
        await _listing(rig)
        assert rig.outage.down("mock", None) is None and rig.outage.status() == []

    run(act())


def test_who_never_answered_is_down_at_its_first_failure() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        await rig.session()
        rig.world.fail_next("list_compute", "unauthorized")
        await _listing(rig)
        assert rig.outage.down("mock", None) is not None

    run(act())


def test_another_account_counts_as_down_at_once() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()
        await _listing(rig)
        rig.world.switch_account("other")
        await _listing(rig, 4)
        assert "other" in (rig.outage.down("mock", None) or "")
        assert await rig.state(one) == "ready"
        rig.world.switch_account(None)
        await _listing(rig)
        assert rig.outage.down("mock", None) is None
        assert await rig.state(one) == "ready"

    run(act())


def test_six_hours_down_then_back_no_storm_and_whoever_came_back_stays() -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=5, grace_s=120).begin()
        here = [await rig.session(idle_ttl_s=900.0) for _ in range(30)]
        limited = await rig.session(idle_ttl_s=1e6, max_lifetime_s=3600.0, expires_at=rig.clock.now() + 3600)
        async with rig.watching(rig.reaper, rig.inspector):
            await rig.clock.advance(60)
            with rig.world.outage():
                await rig.clock.advance(6 * 3600)
                assert await rig.kills() == []
                assert all(row["held"].startswith("mock is down") for row in rig.reaper.plan()["rows"])
            await rig.clock.advance(35)
            assert await rig.state(limited) == "terminating"
            assert len(await rig.kills()) == 1
            for one in here[:10]:
                rig.touch(one)
            await rig.clock.advance(84)
            assert len(await rig.kills()) == 1
            for _ in range(20):
                await rig.clock.advance(60)
                for one in here[:10]:
                    rig.touch(one)
        assert {await rig.state(one) for one in here[:10]} == {"ready"}
        assert {await rig.state(one) for one in here[10:]} == {"terminating"}
        at = await rig.kills()
        assert len(at) == 21
        assert all(later - earlier >= 60 for earlier, later in zip(at, itertools.islice(at, 5, None), strict=False))

    run(act())


def test_warnings_are_given_in_an_outage() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=900.0, warn_before_s=60.0)
        rig.outage.failed(("mock", None), "no answer", rig.moment())
        async with rig.watching():
            await rig.clock.advance(1000)
            assert len(await rig.events(one, "warning")) == 1
            assert await rig.state(one) == "ready"

    run(act())


def test_an_outage_holds_only_its_own_sessions() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        held, free = await rig.session(idle_ttl_s=10.0), await rig.session(idle_ttl_s=20.0, account="other")
        rig.outage.failed(("mock", None), "no answer", rig.moment())
        async with rig.watching():
            await rig.clock.advance(30)
            assert (await rig.state(held), await rig.state(free)) == ("ready", "terminating")
            rig.outage.answered(("mock", None), rig.moment())
            await rig.clock.advance(119)
            assert await rig.state(held) == "ready"
            await rig.clock.advance(2)
            assert await rig.state(held) == "terminating"

    run(act())


def test_a_freeze_or_an_outage_that_begins_within_the_write_still_holds() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(idle_ttl_s=10.0)
        get = rig.store.get

        async def down_meanwhile(session_id: str) -> object:
            rig.outage.failed(("mock", None), "no answer", rig.moment(), certain=True)
            return await get(session_id)

        rig.store.get = down_meanwhile  # type: ignore[method-assign,assignment]
        async with rig.watching():
            await rig.clock.advance(100)
            rig.store.get = get  # type: ignore[method-assign]
            assert await rig.state(one) == "ready"
            assert rig.gate.kills.count(rig.clock.monotonic()) == 0
            rig.outage.answered(("mock", None), rig.moment())
            await rig.clock.advance(121)
            assert await rig.state(one) == "terminating"

    run(act())


def test_the_gate_says_what_stands_in_the_way() -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=7).begin()
        gate: Gate = rig.gate
        assert gate.status() == {
            "frozen": [], "outages": [], "kills_last_minute": 0, "max_kills_per_minute": 7,
        }  # fmt: skip

    run(act())

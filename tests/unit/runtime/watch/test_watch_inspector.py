"""Sessions follow what providers say, and nothing is concluded from what cannot be trusted."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

import pytest
from watch_kit import Lagging, Rig, run

from pulumi_atlas.models import ComputeSpec, ComputeStatus, Listing
from pulumi_atlas.rules.sessions.freeze import STARTING
from pulumi_atlas.runtime.ledger import Change
from pulumi_atlas.runtime.settings import RuntimeSettings

SPOT = ComputeSpec(command=("x",), spot=True)


async def _look(rig: Rig, times: int = 1) -> None:
    for _ in range(times):
        await rig.inspector.step()
        await rig.clock.advance(rig.settings.inspect_interval_s)


def test_what_runs_is_left_alone_and_one_listing_serves_all() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        lives = [await rig.session() for _ in range(5)]
        rig.world.clear_calls()
        writes = rig.store.wrote
        await _look(rig, 3)
        assert [call.operation for call in rig.world.calls()] == ["list_compute"] * 3
        assert rig.store.wrote == writes
        assert {await rig.state(one) for one in lives} == {"ready"}

    run(act())


@pytest.mark.parametrize(
    ("status", "spec", "cause", "outcome"),
    [
        ("finished", None, "pod_ended", "terminated"),
        ("failed", None, "pod_ended", "failed"),
        ("terminated", None, "pod_ended", "terminated"),
        ("terminated", SPOT, "reclaimed", "terminated"),
        ("terminated", ComputeSpec(command=("x",), spot=True, max_lifetime_s=9e6), "pod_ended", "terminated"),
    ],
)
def test_a_pod_that_ended_ends_its_session(status: ComputeStatus, spec: Any, cause: str, outcome: str) -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one, other = await rig.session(spec=spec), await rig.session()
        rig.world.set_status(rig.pod(one), status, reason="so it is")
        await _look(rig)
        ended = await rig.got(one)
        assert (ended.state, ended.cause, ended.outcome, ended.reason) == ("terminating", cause, outcome, "so it is")
        assert (await rig.events(one, "status"))[-1].actor == "provider"
        assert await rig.state(other) == "ready"

    run(act())


def test_a_pod_stopped_by_somebody_else_pauses_its_session_and_its_price_is_settled() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(cost_per_hour=3.6)
        await rig.clock.advance(1000)
        rig.world.set_status(rig.pod(one), "stopped")
        await _look(rig)
        now = await rig.got(one)
        assert (now.state, now.cause) == ("pausing", "stopped")
        assert (now.cost_settled, now.cost_per_hour) == (pytest.approx(1.0), 0.0)

    run(act())


def test_a_pod_stopped_where_nothing_can_be_stopped_ends_its_session() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        rig.inspector._stops = lambda provider: False
        one = await rig.session()
        rig.world.set_status(rig.pod(one), "stopped")
        await _look(rig)
        assert ((await rig.got(one)).state, (await rig.got(one)).cause) == ("terminating", "pod_ended")

    run(act())


def test_a_paused_pod_that_runs_is_taken_back_so_that_its_idle_time_counts() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(state="paused", paused_at=rig.clock.now(), cost_per_hour=0.0)
        await _look(rig)
        now = await rig.got(one)
        assert (now.state, now.cause) == ("resuming", "started")
        assert now.cost_per_hour == rig.pods()[rig.pod(one)].cost_per_hour

    run(act())


@pytest.mark.parametrize("state", ["requested", "provisioning", "pausing", "resuming"])
def test_what_a_worker_is_busy_with_is_left_to_it(state: str) -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(state=state)
        rig.world.remove(rig.pod(one))
        await _look(rig, 4)
        assert await rig.state(one) == state

    run(act())


def test_a_vanished_pod_takes_two_complete_listings_and_a_look_of_its_own() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()
        rig.world.remove(rig.pod(one))
        await rig.inspector.step()
        await rig.inspector.step()  # too soon after the first to count
        assert await rig.state(one) == "ready"
        await rig.clock.advance(30)
        await rig.inspector.step()
        ended = await rig.got(one)
        assert (ended.state, ended.cause, ended.outcome) == ("terminating", "gone", "terminated")

    run(act())


def test_a_listing_that_lacks_pods_ends_nobody() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        lives = [await rig.session() for _ in range(3)]
        rig.world.configure(hidden=[rig.pod(one) for one in lives[:2]])
        await _look(rig, 4)
        rig.world.configure(hidden=[rig.pod(one) for one in lives])  # an empty one
        await _look(rig, 4)
        assert {await rig.state(one) for one in lives} == {"ready"}

    run(act())


def test_a_truncated_listing_and_one_that_fails_prove_no_absence() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()
        await _look(rig)
        rig.world.remove(rig.pod(one))
        rig.world.configure(listing_complete=False)
        await _look(rig, 4)
        assert await rig.state(one) == "ready"
        rig.world.configure(listing_complete=True)
        rig.world.fail_next("list_compute", "transport", times=4)
        await _look(rig, 4)
        assert await rig.state(one) == "ready"
        rig.world.fail_next("get_compute", "transport", times=2)
        await _look(rig, 3)
        assert await rig.state(one) == "ready"
        await _look(rig)
        assert (await rig.got(one)).cause == "gone"

    run(act())


def test_a_pod_younger_than_the_listings_lag_is_not_taken_for_gone() -> None:
    class Slow(Lagging):
        listing_lag_s: ClassVar[float] = 200.0

    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()
        rig.open("mock").provider = Slow(rig.open("mock").access, world=rig.world)
        rig.world.remove(rig.pod(one))
        await _look(rig, 6)
        assert await rig.state(one) == "ready"
        await _look(rig, 2)
        assert (await rig.got(one)).cause == "gone"

    run(act())


def test_a_session_of_another_account_is_left_alone_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        rig = await Rig().begin()
        here = await rig.session()
        there = await rig.session(identity="mock:another")
        rig.world.remove(rig.pod(there))
        rig.world.remove(rig.pod(here))
        await _look(rig, 4)
        assert await rig.state(there) == "ready"
        assert (await rig.got(here)).cause == "gone"
        assert rig.inspector.status()["wrong_account"] == 1

    with caplog.at_level(logging.ERROR):
        run(act())
    assert "was made in account mock:another" in caplog.text


def test_what_changed_while_the_listing_was_under_way_is_not_judged_by_it() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()
        rig.world.set_status(rig.pod(one), "stopped")
        provider = rig.open("mock").provider
        listing = provider.list_compute

        async def slow(filters: Any) -> Listing[Any]:
            found: Listing[Any] = await listing(filters)
            await rig.ledger.change(one.id, lambda s: Change(actor="key:x", cause="confirmed", fields={"labels": {}}))
            return found

        provider.list_compute = slow
        await _look(rig)
        assert await rig.state(one) == "ready"

    run(act())


def test_what_changed_while_the_pod_was_asked_for_is_not_judged_by_it_either() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()
        rig.world.set_status(rig.pod(one), "stopped")
        provider = rig.open("mock").provider
        get = provider.get_compute

        async def slow(pod_id: Any) -> Any:
            found = await get(pod_id)
            await rig.ledger.change(one.id, lambda s: Change(actor="key:x", cause="confirmed", fields={"labels": {}}))
            return found

        provider.get_compute = slow
        await _look(rig)
        assert await rig.state(one) == "ready"
        provider.get_compute = get
        await _look(rig)
        assert await rig.state(one) == "pausing"

    run(act())


def test_a_status_that_a_second_look_does_not_confirm_counts_for_nothing() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()
        provider = rig.open("mock").provider
        listing = provider.list_compute

        async def stale(filters: Any) -> Listing[Any]:
            found: Listing[Any] = await listing(filters)
            return Listing(tuple(p.model_copy(update={"status": "failed"}) for p in found), found.account)

        provider.list_compute = stale
        await _look(rig, 3)
        assert await rig.state(one) == "ready"

    run(act())


def test_a_changed_price_settles_what_it_cost_so_far_and_changed_urls_are_kept() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(cost_per_hour=36.0, urls={"80": "https://old"})
        await rig.clock.advance(100)
        rig.world.change(rig.pod(one), ports=[{"number": 80, "protocol": "http"}])
        await _look(rig)
        now, pod = await rig.got(one), rig.pods()[rig.pod(one)]
        assert (now.cost_settled, now.cost_per_hour) == (pytest.approx(1.0), pod.cost_per_hour)
        assert now.urls == pod.urls and now.state == "ready"
        told = [event.data["what"] for event in await rig.events(one, "note")]
        assert told == ["price", "urls"]
        await _look(rig, 2)
        assert (await rig.got(one)).version == now.version

    run(act())


def test_a_price_that_is_not_told_leaves_the_known_one() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session(cost_per_hour=2.0)
        provider = rig.open("mock").provider
        listing = provider.list_compute

        async def silent(filters: Any) -> Listing[Any]:
            found: Listing[Any] = await listing(filters)
            return Listing(tuple(p.model_copy(update={"cost_per_hour": None}) for p in found), found.account)

        provider.list_compute = silent
        await _look(rig)
        assert (await rig.got(one)).cost_per_hour == 2.0

    run(act())


def test_ends_pass_the_gate() -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=2).begin()
        lives = [await rig.session() for _ in range(4)]
        for one in lives:
            rig.world.set_status(rig.pod(one), "failed")
        rig.freeze.hold(STARTING)
        await _look(rig)
        assert await rig.kills() == []
        rig.freeze.lift(STARTING)
        await _look(rig)
        assert len(await rig.kills()) == 2
        await _look(rig, 3)
        assert len(await rig.kills()) == 4

    run(act())


def test_a_restarted_inspector_knows_the_pods_of_the_store() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()
        again = Rig(rig.store.after_crash(), rig.world)
        await again.begin()
        again.store.fail()
        await again.inspector.step()
        again.store.fail("")
        again.world.finish(rig.pod(one))
        await again.clock.advance(60)
        await again.inspector.step()
        assert (await again.got(one)).cause == "pod_ended"

    run(act())


def test_a_listing_that_never_ends_is_an_outage_and_holds_up_no_other_account() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        stuck, other = await rig.session(), await rig.session(account="other")
        rig.world.finish(rig.pod(other))

        async def never(filters: Any) -> Any:
            await asyncio.Event().wait()

        rig.open("mock").provider.list_compute = never
        looking = asyncio.create_task(rig.inspector.step())
        await rig.clock.advance(119)
        assert rig.outage.down("mock", None) is None
        await rig.clock.advance(2)
        await looking
        assert "list_compute took more than 120 s" in (rig.outage.down("mock", None) or "")
        assert await rig.state(stuck) == "ready"
        assert await rig.state(other) == "terminating"

    run(act())


def test_an_account_that_does_not_answer_holds_up_no_other() -> None:
    async def act() -> None:
        rig = await Rig().begin()
        await rig.session()
        other = await rig.session(account="other")

        async def never(filters: Any) -> Any:
            await asyncio.Event().wait()

        rig.open("mock").provider.list_compute = never
        async with rig.watching(rig.inspector):
            await rig.clock.advance(45)
            rig.world.finish(rig.pod(other))
            await rig.clock.advance(20)
            assert await rig.state(other) == "terminating"

    run(act())


def test_a_fault_in_a_provider_is_its_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        rig = await Rig().begin()
        one = await rig.session()

        async def broken(filters: Any) -> Any:
            raise KeyError("pods")

        rig.open("mock").provider.list_compute = broken
        await rig.inspector.step()
        assert rig.outage.down("mock", None) == "mock is down: [mock] provider: list_compute broke: KeyError"
        assert await rig.state(one) == "ready"

    with caplog.at_level(logging.CRITICAL):
        run(act())


def test_the_interval_is_the_settings() -> None:
    async def act() -> None:
        rig = await Rig(inspect_interval_s=10).begin()
        await rig.session()
        rig.world.clear_calls()
        async with rig.watching(rig.inspector):
            await rig.clock.advance(95)
        assert len(rig.world.calls("list_compute")) == 10
        assert RuntimeSettings().inspect_interval_s == 30

    run(act())

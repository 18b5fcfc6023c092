"""Starting, stopping, dying and starting again: sessions are kept, pods are left alone, and a doubtful store ends nothing."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from core_kit import CrashAt, Stage, end, play

from pulumi_atlas.ids import Tag
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.providers import mock
from pulumi_atlas.runtime._pausing import pause
from pulumi_atlas.runtime.store.contract import StoreBusy
from pulumi_atlas.testing.clock import SimulatedClock


def test_a_restart_keeps_every_session_and_its_tokens(stage: Stage) -> None:
    async def act() -> None:
        opened = [await stage.ready() for _ in range(5)]
        await stage.stop()
        await stage.start()
        await stage.clock.advance(130)
        for one in opened:
            session = await stage.get(one.session.id)
            handed = stage.companion.handed(session)
            assert handed is not None
            assert (session.state, handed.token, handed.touch_token) == ("ready", one.token, one.touch_token)
        assert len(stage.pods()) == 5
        assert stage.calls("terminate") == stage.calls("stop") == 0

    play(stage, act)


def test_an_orderly_end_makes_activity_durable(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        await stage.clock.advance(1)
        await stage.companion.touch(opened.session.id, "http")
        await stage.stop()
        await stage.start()
        assert (await stage.get(opened.session.id)).touches == 1

    play(stage, act)


@pytest.mark.parametrize("step", ["1", "2"])
def test_a_death_loses_at_most_one_flush_interval_of_activity(stage: Stage, crash_at: CrashAt, step: str) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=200)
        await stage.clock.advance(100)
        await stage.companion.touch(opened.session.id, "http")
        await stage.clock.advance(stage.companion.settings.flush_interval_s)
        await stage.companion.touch(opened.session.id, "http")
        crash_at.at(f"session.flush.{step}")
        await stage.clock.advance(stage.companion.settings.flush_interval_s)
        await crash_at.restart()
        session = await stage.get(opened.session.id)
        assert session.touches == int(step)
        await stage.clock.advance(119)
        assert (await stage.get(opened.session.id)).state == "ready"

    play(stage, act)


def test_stopping_takes_nothing_new_and_leaves_pods_alone(stage: Stage) -> None:
    stage.world.configure(provision_s=1000)

    async def act() -> None:
        opened = await stage.open()
        await stage.clock.advance(5)
        wait = asyncio.ensure_future(stage.companion.wait(opened.session.id, timeout_s=1000))
        await stage.clock.settle()
        at = stage.clock.monotonic()
        await stage.stop()
        assert stage.clock.monotonic() - at < 1
        assert (stage.companion.ready, stage.companion.draining) == (False, True)
        assert wait.done()
        assert len(stage.pods()) == 1
        await stage.companion.stop()
        assert not stage.companion.worker.busy
        stage.world.configure(provision_s=0)
        stage.world.set_status(next(iter(stage.pods())), "running")
        await stage.start()
        await stage.advance_until(opened.session.id, "ready")
        assert stage.calls("create_compute") == 1

    play(stage, act)


def test_a_call_that_a_provider_is_answering_may_finish_while_it_stops(stage: Stage) -> None:
    real = mock.MockProvider.create_compute

    async def act() -> None:
        async def slow(self: Any, spec: ComputeSpec, tag: Tag) -> Compute:
            await stage.clock.sleep(10)
            return await real(self, spec, tag)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "create_compute", slow)
            opened = await stage.open()
            await stage.clock.advance(2)
            await stage.stop()
        assert (await _row(stage, opened.session.id)).pod_id in stage.pods()

    play(stage, act)


def test_one_that_does_not_answer_is_left_to_the_journal(stage: Stage) -> None:
    real = mock.MockProvider.create_compute

    async def act() -> None:
        async def hung(self: Any, spec: ComputeSpec, tag: Tag) -> Compute:
            await real(self, spec, tag)
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "create_compute", hung)
            opened = await stage.open()
            await stage.clock.advance(2)
            at = stage.clock.monotonic()
            await stage.stop()
            assert stage.clock.monotonic() - at == pytest.approx(20, abs=1)
        await stage.start()
        session = await stage.advance_until(opened.session.id, "ready")
        assert list(stage.pods()) == [session.pod_id]

    play(stage, act)


async def _row(stage: Stage, ident: str) -> Any:
    return stage.store._tables.sessions[ident]


def test_a_copied_store_ends_nothing_and_rents_nothing_until_it_is_confirmed(stage: Stage) -> None:
    async def act() -> None:
        ready = await stage.ready(idle_ttl_s=130, max_lifetime_s=200)
        closing = await stage.ready()
        stage.world.fail_next("terminate", "transport")
        await stage.companion.close(closing.session.id, actor="a")
        stage.world.configure(capacity={"cpu": 0})
        waiting = await stage.open()
        await stage.clock.settle()
        await stage.crash()
        stage.world.configure(capacity={})
        stage.store.freeze("it was restored from a backup")
        await stage.start()
        await stage.clock.advance(1000)
        states = [(await stage.get(one.session.id)).state for one in (ready, closing, waiting)]
        assert states == ["ready", "terminating", "provisioning"]
        assert len(stage.pods()) == 2
        assert "store not confirmed" in stage.companion.status()["frozen"]
        assert stage.companion.status()["store"]["frozen"] == "it was restored from a backup"
        await stage.companion.close(waiting.session.id, actor="a")
        await stage.advance_until(waiting.session.id, "terminated")
        custody = await stage.companion.confirm_store()
        assert custody.frozen == ""
        await stage.advance_until(closing.session.id, "terminated")
        await stage.advance_until(ready.session.id, "terminated", most_s=10)
        assert not stage.pods()

    play(stage, act)


def test_a_store_that_is_taken_is_not_started_on(stage: Stage) -> None:
    async def act() -> None:
        first = stage.companion
        second = stage._made()
        with pytest.raises(StoreBusy):
            await second.start()
        assert not second.ready
        assert stage.companion is first
        await end(second)

    play(stage, act)


def test_a_fault_of_ours_in_one_session_stops_no_other(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        real, bad = mock.MockProvider.list_compute, []

        async def broken(self: Any, filters: Any) -> Any:
            if bad:
                raise ZeroDivisionError
            return await real(self, filters)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "list_compute", broken)
            bad.append(1)
            opened = await stage.open()
            await stage.clock.advance(30)
            bad.clear()
            await stage.advance_until(opened.session.id, "ready")

    play(stage, act)


def test_a_worker_that_broke_is_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        opened = await stage.ready()
        real, times = stage.companion.worker._steps["terminate"], []

        async def broken(job: Any, session: Any) -> None:
            times.append(stage.clock.monotonic())
            if len(times) < 4:
                raise ZeroDivisionError
            await real(job, session)

        stage.companion.worker._steps["terminate"] = broken
        await stage.companion.close(opened.session.id, actor="a")
        await stage.advance_until(opened.session.id, "terminated")
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert gaps == [1, 2, 4]

    play(stage, act)


def test_idle_sessions_have_no_task_of_their_own(stage: Stage) -> None:
    async def act() -> None:
        for _ in range(20):
            await stage.ready()
        await stage.clock.advance(1)
        assert stage.companion.worker.busy == 0
        assert len(asyncio.all_tasks()) < 15
        assert not stage.companion.ledger._locks

    play(stage, act)


def test_ready_with_no_plan_and_a_status_that_adds_up(stage: Stage) -> None:
    async def act() -> None:
        await stage.ready()
        status = stage.companion.status()
        assert status["sessions"] == {"ready": 1}
        assert status["cost_per_hour"] == 0.08
        assert status["store"]["confirmed"] is True
        assert stage.companion.plan()["rows"] == []
        assert await stage.companion.orphans() == []

    play(stage, act)


def test_a_pause_that_just_ended_swallows_no_cancellation() -> None:
    """Cancelled in the moment in which it cleans up, it must not go on as if nothing had been said."""

    async def act() -> None:
        clock, early, went_on = SimulatedClock(), asyncio.Event(), []

        async def waits() -> None:
            await pause(clock, 10, early)
            went_on.append(1)

        for turns in range(6):
            early.clear()
            task = asyncio.create_task(waits())
            await clock.settle()
            early.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            was_done = task.done()
            task.cancel()
            await asyncio.wait([task])
            assert was_done or task.cancelled()
            assert len(went_on) == was_done
            went_on.clear()

    asyncio.run(act())


def test_what_happens_is_counted(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=100)
        await stage.clock.advance(50)
        stage.world.fail_next("terminate", "transport")
        await stage.advance_until(opened.session.id, "terminated")
        await stage.clock.advance(5)
        figures = stage.companion.metrics.text().decode()
        for line in (
            'atlas_provider_calls_total{operation="create_compute",outcome="ok",provider="mock"} 1.0',
            'atlas_provider_calls_total{operation="terminate",outcome="transport",provider="mock"} 1.0',
            'atlas_kills_total{cause="idle"} 1.0',
            "atlas_cull_delay_seconds_count 1.0",
            "atlas_warnings_total 1.0",
            'atlas_sessions_opened_total{outcome="ready",template="inline"} 1.0',
        ):
            assert line in figures
        assert "atlas_flush_seconds_count 0.0" not in figures

    play(stage, act)


@pytest.mark.parametrize("orderly", [True, False])
def test_a_touch_that_a_death_loses_never_becomes_an_early_end(stage: Stage, orderly: bool) -> None:
    """Acknowledged, and not written down when the companion died; its user, who has time enough, touches no more."""

    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=400)
        await stage.clock.advance(300)
        await stage.companion.touch(opened.session.id, "http")
        if orderly:
            await stage.stop()
            await stage.start()
        else:
            await stage.restart()
        assert (stage.companion.custody is not None) and stage.companion.custody.stopped == orderly
        await stage.clock.advance(399)
        assert (await stage.get(opened.session.id)).state == "ready"
        await stage.clock.advance(30)
        assert (await stage.get(opened.session.id)).state == "terminated"

    play(stage, act)

"""Ending: a pod is gone only by proof, is asked to end for ever, and its cost is counted to the very end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core_kit import CrashAt, LaggingMock, Stage, install, play

from pulumi_atlas.errors import NotFound
from pulumi_atlas.ids import PodId
from pulumi_atlas.providers import mock
from pulumi_atlas.runtime.ledger import SessionGone

TRIES_S = (10, 20, 40, 80, 160, 320)


def test_a_closed_session_ends_and_its_money_is_settled(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=80_000)
        began = (await stage.get(opened.session.id)).cost_since or 0.0
        await stage.clock.advance(1800)
        await stage.companion.close(opened.session.id, actor="key:k1", reason="done")
        session = await stage.advance_until(opened.session.id, "terminated")
        assert not stage.pods()
        assert session.ended_at is not None
        assert session.cost_settled == pytest.approx(0.08 * (session.ended_at - began) / 3600)
        assert session.cost_since is None
        assert (session.cause, session.reason) == ("closed", "done")
        assert [note.state for note in await stage.companion.store.births()] == ["gone"]
        cost = stage.companion.show(session)["cost"]
        await stage.clock.advance(100)
        assert stage.companion.show(await stage.get(session.id))["cost"] == cost

    play(stage, act)


def test_closing_again_changes_nothing(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        stage.world.fail_next("terminate", "provider", times=None)
        first = await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.clock.advance(2)
        written = (await stage.get(opened.session.id)).version
        second = await stage.companion.close(opened.session.id, actor="key:k2")
        assert second.state == first.state == "terminating"
        assert second.version == written
        stage.world.clear_faults()
        session = await stage.advance_until(opened.session.id, "terminated")
        assert (await stage.companion.close(opened.session.id, actor="key:k1")).version == session.version
        with pytest.raises(NotFound):
            await stage.companion.close("s-unknown", actor="key:k1")

    play(stage, act)


def test_what_is_never_rented_ends_without_a_call(stage: Stage, crash_at: CrashAt) -> None:
    async def act() -> None:
        crash_at.at("session.create.1")
        opened = await stage.open()
        await stage.clock.settle()
        await stage.crash()
        assert crash_at.after is not None
        stage.store = crash_at.after
        stage.options["public_url"] = "https://elsewhere.example"
        crash_at.name = ""
        companion = await stage.start()
        companion.worker._desk.stopping.clear()
        await companion.close(opened.session.id, actor="key:k1")
        await stage.advance_until(opened.session.id, "terminated")
        assert stage.calls("terminate") == 0
        assert not stage.pods()

    play(stage, act)


def test_it_is_asked_again_and_again_and_then_listed_for_ever_with_its_cost(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=80_000)
        stage.world.fail_next("terminate", "provider", times=None, message="no such luck")
        await stage.companion.close(opened.session.id, actor="key:k1")
        for tried, pause in enumerate(TRIES_S, 1):
            await stage.clock.advance(0.5)
            session = await stage.get(opened.session.id)
            assert (session.state, session.attempts, stage.calls("terminate")) == ("terminating", tried, tried)
            assert "no such luck" in session.reason
            assert not stage.companion.irrevocable()
            await stage.clock.advance(pause - 0.5)
        await stage.clock.advance(0.5)
        assert (await stage.get(opened.session.id)).state == "irrevocable"
        (row,) = stage.companion.irrevocable()
        assert row["id"] == opened.session.id
        await stage.clock.advance(7200)
        (later,) = stage.companion.irrevocable()
        assert later["cost"] == pytest.approx(row["cost"] + 0.16, rel=0.01)
        assert stage.calls("terminate") == 7 + 8
        assert stage.companion.status()["sessions"] == {"irrevocable": 1}
        await stage.restart()
        assert [one["id"] for one in stage.companion.irrevocable()] == [opened.session.id]
        stage.world.clear_faults()
        session = await stage.advance_until(opened.session.id, "terminated", most_s=901)
        assert session.cause == "confirmed"
        assert session.cost_settled >= later["cost"]
        assert not stage.companion.irrevocable()
        assert not stage.pods()

    play(stage, act)


@pytest.mark.parametrize("kind", ["transport", "unauthorized", "unknown_outcome", "rate_limited", "forbidden"])
def test_no_error_is_taken_for_gone(stage: Stage, kind: Any) -> None:
    async def act() -> None:
        opened = await stage.ready()
        stage.world.fail_next("*", kind, times=None)
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.clock.advance(3600)
        assert (await stage.get(opened.session.id)).state == "irrevocable"
        stage.world.clear_faults()
        await stage.advance_until(opened.session.id, "terminated")

    play(stage, act)


def test_another_accounts_not_found_is_not_gone(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        stage.world.switch_account("someone")
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.clock.advance(30)
        session = await stage.get(opened.session.id)
        assert session.state == "terminating"
        assert "mock:someone" in session.reason
        assert len(stage.world.pods) == 1
        stage.world.switch_account(None)
        await stage.advance_until(opened.session.id, "terminated")
        assert not stage.pods()

    play(stage, act)


@pytest.mark.parametrize("fault", ["incomplete", "list fails", "get fails"])
def test_what_is_not_proven_is_not_over(stage: Stage, fault: str) -> None:
    async def act() -> None:
        opened = await stage.ready()
        if fault == "incomplete":
            stage.world.configure(listing_complete=False)
        else:
            operation = "list_compute" if fault == "list fails" else "get_compute"
            stage.world.fail_next(operation, "transport", times=None)
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.clock.advance(60)
        assert not stage.pods()
        assert (await stage.get(opened.session.id)).state == "terminating"
        stage.world.configure(listing_complete=True)
        stage.world.clear_faults()
        await stage.advance_until(opened.session.id, "terminated")

    play(stage, act)


def test_a_provider_that_says_yes_and_does_nothing_is_not_believed(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()

        async def yes(self: Any, pod_id: PodId) -> None:
            return None

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "terminate", yes)
            await stage.companion.close(opened.session.id, actor="key:k1")
            await stage.clock.advance(300)
            session = await stage.get(opened.session.id)
            assert session.state == "terminating"
            assert "still running" in session.reason
        await stage.advance_until(opened.session.id, "terminated")
        assert not stage.pods()

    play(stage, act)


def test_a_pod_that_is_shown_as_terminated_for_a_while_is_gone(stage: Stage) -> None:
    stage.world.configure(terminate_lag_s=3600)

    async def act() -> None:
        opened = await stage.ready()
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.advance_until(opened.session.id, "terminated", most_s=10)

    play(stage, act)


def test_a_young_pod_is_gone_only_when_the_listing_can_be_trusted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.world.configure(listing_lag_s=30.0)
    install(monkeypatch, stage, LaggingMock)

    async def act() -> None:
        opened = await stage.ready()
        await stage.companion.close(opened.session.id, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "terminated")
        assert stage.clock.now() - (session.cost_since or session.created_at) >= 30
        assert stage.calls("terminate") == 1

    play(stage, act)


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_lost_answer_to_a_terminate_is_asked_again(stage: Stage, after_effect: bool) -> None:
    async def act() -> None:
        opened = await stage.ready()
        stage.world.fail_next("terminate", after_effect=after_effect)
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.clock.advance(9)
        assert (await stage.get(opened.session.id)).state == "terminating"
        await stage.advance_until(opened.session.id, "terminated", most_s=5)
        assert not stage.pods()

    play(stage, act)


@pytest.mark.parametrize("step", ["1", "2", "3", "4"])
def test_a_companion_that_dies_while_ending_ends_it(stage: Stage, crash_at: CrashAt, step: str) -> None:
    async def act() -> None:
        opened = await stage.ready()
        crash_at.at(f"session.kill.{step}")
        closing = asyncio.ensure_future(stage.companion.close(opened.session.id, actor="key:k1"))
        await asyncio.wait([closing])
        closing.exception()
        await stage.clock.advance(5)
        await crash_at.restart()
        session = await stage.get(opened.session.id)
        assert session.state == {"1": "ready", "2": "terminating", "3": "terminating", "4": "terminated"}[step]
        if step == "1":
            assert len(stage.pods()) == 1
            return
        await stage.advance_until(opened.session.id, "terminated")
        assert not stage.pods()

    play(stage, act)


def test_a_key_that_is_gone_after_a_restart_forgets_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyed(mock.MockProvider):
        key_variable = "MOCK_API_KEY"

    stage.environ["MOCK_API_KEY"] = "secret"
    install(monkeypatch, stage, Keyed)

    async def act() -> None:
        opened = await stage.ready()
        del stage.environ["MOCK_API_KEY"]
        await stage.restart()
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.clock.advance(1000)
        session = await stage.get(opened.session.id)
        assert session.state == "irrevocable"
        assert "no key for mock" in session.reason
        stage.environ["MOCK_API_KEY"] = "secret"
        await stage.advance_until(opened.session.id, "terminated")

    play(stage, act)


def test_a_touch_of_what_has_ended_says_so(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        await stage.companion.close(opened.session.id, actor="key:k1")
        with pytest.raises(SessionGone):
            await stage.companion.touch(opened.session.id, "http")
        await stage.advance_until(opened.session.id, "terminated")
        with pytest.raises(SessionGone):
            await stage.companion.touch(opened.session.id, "http")
        with pytest.raises(NotFound):
            await stage.companion.touch("s-unknown", "http")

    play(stage, act)


def test_a_turned_clock_delays_no_try_for_ever(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        stage.world.fail_next("terminate", "provider")
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.clock.advance(1)
        stage.clock.jump(-3600)
        await stage.restart()
        await stage.advance_until(opened.session.id, "terminated", most_s=15)

    play(stage, act)


def test_a_clock_turned_back_makes_no_pod_too_young_to_be_gone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, stage, LaggingMock)

    async def act() -> None:
        opened = await stage.ready()
        await stage.clock.advance(100)
        stage.clock.jump(-3600)
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.advance_until(opened.session.id, "terminated", most_s=40)

    play(stage, act)

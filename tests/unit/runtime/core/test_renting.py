"""Renting: nothing is rented twice and nothing rented is forgotten, whatever answer is lost and whenever the companion dies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core_kit import CrashAt, LaggingMock, Stage, install, play

from pulumi_atlas.ids import Birth, Owner, Tag
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.providers import mock

CREATE_STEPS = ("1", "2", "3", "4", "5")


def test_a_session_becomes_ready_and_its_pod_is_ours(stage: Stage) -> None:
    stage.world.configure(provision_s=5)

    async def act() -> None:
        opened = await stage.open()
        await stage.clock.advance(3)
        assert (await stage.get(opened.session.id)).state == "provisioning"
        session = await stage.advance_until(opened.session.id, "ready")
        (pod,) = stage.pods().values()
        assert session.pod_id == pod.id
        assert session.urls == pod.urls
        assert session.cost_per_hour == pod.cost_per_hour
        custody = stage.companion.custody
        assert custody is not None
        assert pod.owner == Owner("deployment", custody.deployment_id, f"session/{session.id}")
        (note,) = await stage.companion.store.births()
        assert (note.birth, note.state, note.pod_id) == (pod.birth, "held", pod.id)
        assert await stage.events() == [
            ("requested", "key:k1", "opened"),
            ("provisioning", "companion", "opened"),
            ("note", "provider", "rented"),
            ("ready", "provider", "usable"),
        ]

    play(stage, act)


def test_the_journal_is_written_before_the_request_that_costs_money(stage: Stage) -> None:
    async def act() -> None:
        seen: list[Any] = []
        real = mock.MockProvider.create_compute

        async def create(self: Any, spec: ComputeSpec, tag: Tag) -> Compute:
            seen.extend([(note.birth, note.state) for note in await stage.companion.store.births()])
            assert seen[-1][0] == tag.birth
            return await real(self, spec, tag)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "create_compute", create)
            await stage.ready()
        assert [state for _, state in seen] == ["open"]

    play(stage, act)


@pytest.mark.parametrize("lagging", [False, True])
@pytest.mark.parametrize("step", CREATE_STEPS)
def test_a_companion_that_dies_while_renting_rents_once(
    stage: Stage, crash_at: CrashAt, monkeypatch: pytest.MonkeyPatch, step: str, lagging: bool
) -> None:
    stage.world.configure(provision_s=2, listing_lag_s=30.0 if lagging else 0.0)
    if lagging:
        install(monkeypatch, stage, LaggingMock)

    async def act() -> None:
        crash_at.at(f"session.create.{step}")
        opened = await stage.open()
        await stage.clock.advance(10)
        await crash_at.restart()
        session = await stage.advance_until(opened.session.id, "ready")
        assert list(stage.pods()) == [session.pod_id]
        assert stage.calls("create_compute") == 1
        await stage.companion.close(session.id, actor="key:k1")
        await stage.advance_until(session.id, "terminated")
        assert not stage.pods()

    play(stage, act)


@pytest.mark.parametrize("step", CREATE_STEPS)
def test_a_session_closed_after_a_death_leaves_nothing(stage: Stage, crash_at: CrashAt, step: str) -> None:
    stage.world.configure(provision_s=2)

    async def act() -> None:
        crash_at.at(f"session.create.{step}")
        opened = await stage.open()
        await stage.clock.advance(10)
        await crash_at.restart()
        await stage.companion.close(opened.session.id, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "terminated")
        assert not stage.pods()
        assert session.cost_since is None

    play(stage, act)


def test_a_lost_answer_is_found_again_by_its_birth(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.world.configure(listing_lag_s=20.0)
    install(monkeypatch, stage, LaggingMock)

    async def act() -> None:
        stage.world.fail_next("create_compute", after_effect=True)
        opened = await stage.open()
        await stage.clock.advance(10)
        assert "answer was lost" in (await stage.get(opened.session.id)).reason
        session = await stage.advance_until(opened.session.id, "ready")
        assert list(stage.pods()) == [session.pod_id]
        assert stage.calls("create_compute") == 1
        assert session.reason == ""

    play(stage, act)


def test_a_request_that_never_arrived_is_made_again_once_that_is_proven(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, stage, LaggingMock)

    async def act() -> None:
        stage.world.fail_next("create_compute")
        opened = await stage.open()
        await stage.clock.advance(29)
        assert stage.calls("create_compute") == 1
        session = await stage.advance_until(opened.session.id, "ready")
        assert stage.clock.monotonic() >= 30
        assert list(stage.pods()) == [session.pod_id]
        states = [note.state for note in await stage.companion.store.births()]
        assert sorted(states) == ["dead", "held"]

    play(stage, act)


@pytest.mark.parametrize("sweep", ["on", "dry_run"])
def test_a_request_that_is_carried_out_late_is_swept_or_told_of(stage: Stage, sweep: str) -> None:
    """Long after it was proven that nothing was there, and its session, the only one of the provider, is no more."""
    stage.options["orphan_sweep"] = sweep

    async def act() -> None:
        stage.world.fail_next("create_compute", times=3)
        opened = await stage.open(spec={"ready": {"timeout_s": 3}})
        session = await stage.advance_until(opened.session.id, "failed", "ready")
        await stage.companion.close(session.id, actor="key:k1")
        await stage.clock.advance(60)
        births = await stage.companion.store.births()
        custody = stage.companion.custody
        assert custody is not None and stage.pods() == {} and len(births) > 1
        late = next(note for note in births if note.state == "dead")
        owner = Owner("deployment", custody.deployment_id, f"session/{session.id}")
        pod = stage.world.plant(ComputeSpec(), tag=Tag(Birth(late.birth), owner))
        await stage.clock.advance(60)
        assert [row["id"] for row in await stage.companion.orphans()] == [pod.id]
        await stage.clock.advance(900)
        assert (stage.pods() == {}) == (sweep == "on")

    play(stage, act)


@pytest.mark.parametrize("broken", ["incomplete", "failing", "other account"])
def test_nothing_is_rented_anew_while_the_listing_proves_nothing(stage: Stage, broken: str) -> None:
    async def act() -> None:
        stage.world.fail_next("create_compute")
        if broken == "incomplete":
            stage.world.configure(listing_complete=False)
        elif broken == "failing":
            stage.world.fail_next("list_compute", "transport", times=None)
        opened = await stage.open()
        await stage.clock.settle()
        if broken == "other account":
            stage.world.switch_account("someone")
        await stage.clock.advance(300)
        session = await stage.get(opened.session.id)
        assert (session.state, stage.calls("create_compute")) == ("provisioning", 1)
        await stage.clock.advance(301)
        session = await stage.get(opened.session.id)
        assert (session.state, session.cause, session.outcome) == ("terminating", "provision_timeout", "failed")
        await stage.clock.advance(60)
        assert (await stage.get(opened.session.id)).state == "terminating"
        stage.world.configure(listing_complete=True, account=None)
        stage.world.clear_faults()
        session = await stage.advance_until(opened.session.id, "failed")
        assert session.cause == "provision_timeout"
        assert stage.calls("create_compute") == 1

    play(stage, act)


def test_an_answer_that_takes_too_long_is_a_lost_one(stage: Stage) -> None:
    real = mock.MockProvider.create_compute

    async def act() -> None:
        async def slow(self: Any, spec: ComputeSpec, tag: Tag) -> Compute:
            pod = await real(self, spec, tag)
            await asyncio.get_running_loop().create_future()
            return pod

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "create_compute", slow)
            opened = await stage.open()
            await stage.clock.advance(119)
            assert (await stage.get(opened.session.id)).pod_id is None
            session = await stage.advance_until(opened.session.id, "ready", most_s=20)
        assert list(stage.pods()) == [session.pod_id]
        assert stage.calls("create_compute") == 1

    play(stage, act)


def test_a_provider_that_breaks_its_contract_may_have_rented(stage: Stage) -> None:
    real = mock.MockProvider.create_compute

    async def act() -> None:
        async def broken(self: Any, spec: ComputeSpec, tag: Tag) -> Compute:
            await real(self, spec, tag)
            raise KeyError("id")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "create_compute", broken)
            opened = await stage.open()
            session = await stage.advance_until(opened.session.id, "ready")
        assert list(stage.pods()) == [session.pod_id]
        assert stage.calls("create_compute") == 1

    play(stage, act)


@pytest.mark.parametrize("kind", ["no_capacity", "rate_limited", "transport", "provider"])
def test_what_may_pass_is_tried_again(stage: Stage, kind: Any) -> None:
    async def act() -> None:
        stage.world.fail_next("create_compute", kind, times=3, message="not now")
        opened = await stage.open()
        await stage.clock.advance(0.5)
        assert (await stage.get(opened.session.id)).reason == "not now"
        session = await stage.advance_until(opened.session.id, "ready")
        assert (session.reason, stage.calls("create_compute")) == ("", 4)
        assert list(stage.pods()) == [session.pod_id]

    play(stage, act)


def test_a_provider_that_asks_for_patience_gets_it(stage: Stage) -> None:
    async def act() -> None:
        stage.world.fail_next("create_compute", "rate_limited", retry_after=90)
        await stage.open()
        await stage.clock.advance(89)
        assert stage.calls("create_compute") == 1
        await stage.clock.advance(2)
        assert stage.calls("create_compute") == 2

    play(stage, act)


@pytest.mark.parametrize("kind", ["validation", "unauthorized", "forbidden", "insufficient_funds"])
def test_what_will_not_pass_is_the_end(stage: Stage, kind: Any) -> None:
    async def act() -> None:
        stage.world.fail_next("create_compute", kind, message="never")
        opened = await stage.open()
        await stage.clock.advance(1)
        session = await stage.get(opened.session.id)
        assert (session.state, session.cause, session.reason) == ("failed", "provision_failed", "never")
        assert session.ended_at is not None
        assert [note.state for note in await stage.companion.store.births()] == ["gone"]
        assert stage.calls("create_compute") == 1

    play(stage, act)


def test_capacity_that_never_comes_is_the_end_within_the_time(stage: Stage) -> None:
    stage.world.configure(capacity={"cpu": 0})

    async def act() -> None:
        opened = await stage.open(spec={"ready": {"timeout_s": 100}})
        session = await stage.advance_until(opened.session.id, "failed", most_s=101)
        assert "no cpu is free" in session.reason

    play(stage, act)


def test_a_pod_that_never_becomes_usable_is_taken_down(stage: Stage) -> None:
    stage.world.configure(provision_s=10_000)

    async def act() -> None:
        opened = await stage.open(spec={"ready": {"timeout_s": 100}})
        await stage.clock.advance(99)
        assert (await stage.get(opened.session.id)).state == "provisioning"
        session = await stage.advance_until(opened.session.id, "failed", most_s=10)
        assert session.cause == "provision_timeout"
        assert "still provisioning" in session.reason
        assert not stage.pods()

    play(stage, act)


@pytest.mark.parametrize("how", ["failed", "terminated", "removed"])
def test_a_pod_that_ends_before_it_is_usable_is_the_end(stage: Stage, how: Any) -> None:
    stage.world.configure(provision_s=100)

    async def act() -> None:
        opened = await stage.open()
        await stage.clock.advance(5)
        (pod_id,) = stage.pods()
        if how == "removed":
            stage.world.remove(pod_id)
        else:
            stage.world.set_status(pod_id, how, reason="out of memory")
        session = await stage.advance_until(opened.session.id, "failed", most_s=20)
        assert session.cause == "provision_failed"
        assert ("gone" if how == "removed" else "out of memory") in session.reason
        assert not stage.pods()

    play(stage, act)


def test_an_outage_while_it_is_waited_for_ends_nothing(stage: Stage) -> None:
    stage.world.configure(provision_s=20)

    async def act() -> None:
        opened = await stage.open()
        await stage.clock.advance(5)
        with stage.world.outage():
            await stage.clock.advance(60)
            assert (await stage.get(opened.session.id)).state == "provisioning"
        await stage.advance_until(opened.session.id, "ready", most_s=10)

    play(stage, act)


def test_a_session_closed_while_it_is_rented_is_taken_down(stage: Stage) -> None:
    real = mock.MockProvider.create_compute

    async def act() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def held(self: Any, spec: ComputeSpec, tag: Tag) -> Compute:
            begun.set()
            await go.wait()
            return await real(self, spec, tag)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "create_compute", held)
            opened = await stage.open()
            await stage.clock.run(begun.wait())
            await stage.companion.close(opened.session.id, actor="key:k1")
            await stage.clock.advance(5)
            assert (await stage.get(opened.session.id)).state == "terminating"
            go.set()
            session = await stage.advance_until(opened.session.id, "terminated")
        assert session.pod_id is not None
        assert not stage.pods()

    play(stage, act)


def test_a_session_closed_while_it_waits_for_capacity_is_over_at_once(stage: Stage) -> None:
    stage.world.configure(capacity={"cpu": 0})

    async def act() -> None:
        opened = await stage.open()
        await stage.clock.advance(20)
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.clock.advance(1)
        assert (await stage.get(opened.session.id)).state == "terminated"
        stage.world.configure(capacity={})
        await stage.clock.advance(100)
        assert not stage.pods()

    play(stage, act)


def test_rotating_while_it_waits_for_capacity_changes_nothing_else(stage: Stage) -> None:
    stage.world.configure(capacity={"cpu": 0})

    async def act() -> None:
        opened = await stage.open()
        await stage.clock.advance(20)
        tried = stage.calls("create_compute")
        await stage.companion.rotate(opened.session.id, actor="key:k1")
        await stage.clock.settle()
        assert stage.calls("create_compute") == tried
        stage.world.configure(capacity={})
        session = await stage.advance_until(opened.session.id, "ready")
        assert session.generation == 1

    play(stage, act)


def test_a_budget_that_cannot_be_kept_is_the_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    class Secretive(mock.MockProvider):
        async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
            return (await super().create_compute(spec, tag)).model_copy(update={"cost_per_hour": None})

    install(monkeypatch, stage, Secretive)

    async def act() -> None:
        opened = await stage.open(budget=5)
        session = await stage.advance_until(opened.session.id, "failed", "terminated")
        assert session.cause == "no_price"
        assert not stage.pods()
        await stage.ready()

    play(stage, act)


def test_an_environment_that_cannot_be_unsealed_is_the_end(stage: Stage, crash_at: CrashAt) -> None:
    async def act() -> None:
        crash_at.at("session.create.1")
        opened = await stage.open(spec={"env": {"A": "1"}})
        await stage.clock.settle()
        (stage.folder / "sessions.db.keys").unlink()
        await crash_at.restart()
        await stage.clock.advance(1)
        session = await stage.get(opened.session.id)
        assert session.state == "failed"
        assert "key ring" in session.reason
        assert stage.calls("create_compute") == 0

    play(stage, act)


def test_an_id_is_recorded_however_long_the_store_takes(stage: Stage) -> None:
    real = mock.MockProvider.create_compute

    async def act() -> None:
        async def failing(self: Any, spec: ComputeSpec, tag: Tag) -> Compute:
            stage.store.fail()
            return await real(self, spec, tag)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "create_compute", failing)
            opened = await stage.open()
            await stage.clock.advance(300)
        stage.store.fail("")
        session = await stage.advance_until(opened.session.id, "ready")
        assert list(stage.pods()) == [session.pod_id]
        assert stage.calls("create_compute") == 1
        assert session.cost_since is not None
        assert session.cost_since < session.created_at + 1

    play(stage, act)


def test_so_many_calls_at_once_and_no_more(stage: Stage) -> None:
    stage.options["provider_calls"] = 3
    real = mock.MockProvider.create_compute

    async def act() -> None:
        running, most, go = 0, 0, asyncio.Event()

        async def counted(self: Any, spec: ComputeSpec, tag: Tag) -> Compute:
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            await go.wait()
            running -= 1
            return await real(self, spec, tag)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.MockProvider, "create_compute", counted)
            opened = [await stage.open() for _ in range(10)]
            await stage.clock.advance(1)
            assert running == 3
            go.set()
            for one in opened:
                await stage.advance_until(one.session.id, "ready")
        assert most == 3

    play(stage, act)


def test_a_strangers_pod_of_the_same_birth_elsewhere_is_no_proof(stage: Stage) -> None:
    """Births are found in our own account's listing only."""

    async def act() -> None:
        stage.world.fail_next("create_compute")
        opened = await stage.open()
        await stage.clock.settle()
        birth = (await stage.get(opened.session.id)).birth
        tag = Tag(Birth(birth or ""), Owner("deployment", "feedfeedfeedfeed", "session/x"))
        stage.world.plant(ComputeSpec(), tag=tag, account="someone")
        session = await stage.advance_until(opened.session.id, "ready")
        assert session.birth != birth

    play(stage, act)

"""Pausing and resuming: storage is kept, failures are tried again, and what was handed out before a pause is void."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core_kit import CrashAt, Stage, play

from atlas_session.tokens import verify_token
from pulumi_atlas.errors import Conflict, Unsupported
from pulumi_atlas.runtime.ledger import SessionGone


async def paused(stage: Stage, **fields: Any) -> Any:
    opened = await stage.ready(**fields)
    await stage.companion.pause(opened.session.id, actor="key:k1")
    await stage.advance_until(opened.session.id, "paused")
    return opened


def test_a_paused_pod_is_stopped_and_costs_what_the_provider_says(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=80_000)
        await stage.clock.advance(1800)
        await stage.companion.pause(opened.session.id, actor="key:k1", reason="lunch")
        session = await stage.advance_until(opened.session.id, "paused")
        (pod,) = stage.pods().values()
        assert pod.status == "stopped"
        assert (session.cost_per_hour, session.reason) == (pod.cost_per_hour, "lunch")
        assert session.cost_settled == pytest.approx(0.04, rel=0.01)
        assert session.paused_at is not None
        await stage.clock.advance(5000)
        assert (await stage.get(session.id)).state == "paused"
        with pytest.raises(Conflict):
            await stage.companion.extend(session.id, 60, actor="key:k1", bounded=False)
        await stage.companion.touch(session.id, "http")

    play(stage, act)


def test_resuming_starts_it_with_a_new_generation(stage: Stage) -> None:
    stage.world.configure(provision_s=5)

    async def act() -> None:
        opened = await paused(stage, auth="signed_url")
        before = await stage.get(opened.session.id)
        first = await stage.companion.resume(before.id, actor="key:k1")
        assert (first.state, first.generation) == ("resuming", 1)
        again = await stage.companion.resume(before.id, actor="key:k1")
        assert (again.state, again.generation) == ("resuming", 1)
        session = await stage.advance_until(before.id, "ready")
        handed = stage.companion.handed(session)
        assert handed is not None
        assert verify_token(handed.token, session.token_hash)
        assert not verify_token(opened.token, session.token_hash)
        assert not verify_token(opened.touch_token, session.touch_hash)
        assert session.guard_hash == before.guard_hash
        assert session.pod_id == before.pod_id
        assert session.cost_per_hour == 0.08
        assert session.active_at == pytest.approx(stage.clock.now(), abs=1)
        live = stage.companion.ledger[before.id]
        assert (live.generation, live.touch_hash) == (1, session.touch_hash)
        verifier = stage.companion.verifier(session)
        assert (verifier["generation"], verifier["token_hashes"]) == (1, [session.token_hash])

    play(stage, act)


def test_without_capacity_it_is_paused_again_with_the_reason(stage: Stage) -> None:
    async def act() -> None:
        opened = await paused(stage)
        stage.world.configure(capacity={"cpu": 0})
        await stage.companion.resume(opened.session.id, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "paused")
        assert "no cpu is free" in session.reason
        assert session.paused_at is not None
        (pod,) = stage.pods().values()
        assert pod.status == "stopped"
        stage.world.configure(capacity={})
        await stage.companion.resume(opened.session.id, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "ready")
        assert session.generation == 2

    play(stage, act)


def test_one_that_does_not_become_usable_is_paused_again(stage: Stage) -> None:
    async def act() -> None:
        opened = await paused(stage, spec={"ready": {"timeout_s": 60}})
        stage.world.configure(provision_s=100_000)
        await stage.companion.resume(opened.session.id, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "paused", most_s=70)
        assert "not usable within 60 s" in session.reason
        assert [pod.status for pod in stage.pods().values()] == ["stopped"]

    play(stage, act)


@pytest.mark.parametrize("verb", ["stop", "start"])
@pytest.mark.parametrize("after_effect", [False, True])
def test_what_fails_for_a_while_is_tried_again(stage: Stage, verb: str, after_effect: bool) -> None:
    async def act() -> None:
        opened = await stage.ready() if verb == "stop" else await paused(stage)
        stage.world.fail_next(verb, "transport", times=3, after_effect=after_effect)
        change = stage.companion.pause if verb == "stop" else stage.companion.resume
        await change(opened.session.id, actor="key:k1")
        await stage.clock.advance(0.5)
        session = await stage.get(opened.session.id)
        assert session.state in ("pausing", "resuming")
        assert "transport" in session.reason
        done = "paused" if verb == "stop" else "ready"
        session = await stage.advance_until(opened.session.id, done, most_s=30)
        assert session.attempts == 0
        status = "stopped" if verb == "stop" else "running"
        assert [pod.status for pod in stage.pods().values()] == [status]

    play(stage, act)


@pytest.mark.parametrize("step", ["1", "2", "3", "4"])
@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_companion_that_dies_meanwhile_goes_on(stage: Stage, crash_at: CrashAt, verb: str, step: str) -> None:
    async def act() -> None:
        opened = await stage.ready() if verb == "pause" else await paused(stage)
        crash_at.at(f"session.{verb}.{step}")
        change = getattr(stage.companion, verb)
        asking = asyncio.ensure_future(change(opened.session.id, actor="key:k1"))
        await asyncio.wait([asking])
        asking.exception()
        await stage.clock.advance(5)
        await crash_at.restart()
        before, after = ("ready", "paused") if verb == "pause" else ("paused", "ready")
        if step == "1":
            await stage.clock.advance(5)
            assert (await stage.get(opened.session.id)).state == before
        else:
            await stage.advance_until(opened.session.id, after)
        assert len(stage.pods()) == 1

    play(stage, act)


def test_a_provider_that_cannot_stop_refuses_a_pause_before_anything(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pulumi_atlas.client import kinds
    from pulumi_atlas.runtime import _power, _verbs

    def refuse(provider: Any, ability: str, *, operation: str) -> None:
        raise Unsupported("it has no stop", provider="mock")

    async def act() -> None:
        opened = await stage.ready()
        monkeypatch.setattr(_verbs, "require", refuse)
        with pytest.raises(Unsupported):
            await stage.companion.pause(opened.session.id, actor="key:k1")
        assert (await stage.get(opened.session.id)).state == "ready"
        monkeypatch.setattr(_verbs, "require", kinds.require)
        monkeypatch.setattr(_power, "require", refuse)
        await stage.companion.pause(opened.session.id, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "terminated")
        assert "no stop" in session.reason
        assert not stage.pods()

    play(stage, act)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_pod_that_vanished_meanwhile_is_the_end_once_proven(stage: Stage, verb: str) -> None:
    async def act() -> None:
        opened = await stage.ready() if verb == "pause" else await paused(stage)
        (pod_id,) = stage.pods()
        stage.world.configure(listing_complete=False)
        stage.world.remove(pod_id)
        await getattr(stage.companion, verb)(opened.session.id, actor="key:k1")
        await stage.clock.advance(20)
        state = (await stage.get(opened.session.id)).state
        assert state == ("pausing" if verb == "pause" else "resuming")
        stage.world.configure(listing_complete=True)
        session = await stage.advance_until(opened.session.id, "failed")
        assert session.cause == "gone"

    play(stage, act)


def test_pausing_is_refused_where_there_is_nothing_to_pause(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.open()
        with pytest.raises(Conflict):
            await stage.companion.pause(opened.session.id, actor="key:k1")
        with pytest.raises(Conflict):
            await stage.companion.resume(opened.session.id, actor="key:k1")
        await stage.advance_until(opened.session.id, "ready")
        assert (await stage.companion.resume(opened.session.id, actor="key:k1")).generation == 0
        await stage.companion.close(opened.session.id, actor="key:k1")
        for verb in (stage.companion.pause, stage.companion.resume):
            with pytest.raises(SessionGone):
                await verb(opened.session.id, actor="key:k1")

    play(stage, act)


def test_a_session_closed_while_its_pod_stops_ends(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        stage.world.fail_next("stop", "transport", times=None)
        await stage.companion.pause(opened.session.id, actor="key:k1")
        await stage.clock.advance(20)
        await stage.companion.close(opened.session.id, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "terminated", most_s=2)
        assert session.cause == "closed"
        assert not stage.pods()

    play(stage, act)


def test_an_idle_session_is_paused_and_ends_after_that_was_too_long(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=100, on_idle="stop", paused_ttl_s=200)
        await stage.clock.advance(95)
        assert (await stage.get(opened.session.id)).state == "ready"
        session = await stage.advance_until(opened.session.id, "paused", most_s=10)
        assert session.cause == "stopped"
        await stage.clock.advance(195)
        assert (await stage.get(opened.session.id)).state == "paused"
        session = await stage.advance_until(opened.session.id, "terminated", most_s=10)
        assert session.cause == "paused_too_long"
        assert not stage.pods()

    play(stage, act)

"""Clouds that say yes and do nothing, answer late, forget, or rent what nobody waits for any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from core_kit import LaggingMock, Stage, install, play

from pulumi_atlas.errors import NotFound
from pulumi_atlas.models.session import SessionRequest
from pulumi_atlas.providers.mock import MockProvider


class Deaf(MockProvider):
    """Says yes to a request to terminate, and does nothing while it is `deaf`."""

    deaf: ClassVar[bool] = True

    async def terminate(self, *args: Any) -> Any:
        return None if self.deaf else await super().terminate(*args)


def test_a_cloud_that_says_yes_and_does_nothing_is_asked_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, stage, Deaf)
    monkeypatch.setattr(Deaf, "deaf", True)

    async def act() -> None:
        session = (await stage.ready()).session
        await stage.companion.close(session.id, actor="key:k1")
        await stage.advance_until(session.id, "irrevocable", most_s=7200)
        await stage.restart()
        await stage.clock.advance(5000)
        assert len(stage.companion.irrevocable()) == 1
        before = stage.companion.irrevocable()[0]["cost"]
        await stage.clock.advance(3600)
        assert stage.companion.irrevocable()[0]["cost"] > before
        monkeypatch.setattr(Deaf, "deaf", False)
        await stage.advance_until(session.id, "terminated", most_s=1000)
        assert not stage.pods() and not stage.companion.irrevocable()

    play(stage, act)


class Blind(LaggingMock):
    """Neither a listing nor a GET shows a pod until it is half a minute old."""

    async def get_compute(self, *args: Any) -> Any:
        pod = await super().get_compute(*args)
        self._hide(pod)
        return pod

    def _hide(self, pod: Any) -> None:
        if Blind.now() - pod.created_at.timestamp() < 25:
            raise NotFound("there is no such pod")

    async def list_compute(self, *args: Any) -> Any:
        listing = await super().list_compute(*args)
        seen = tuple(one for one in listing if Blind.now() - one.created_at.timestamp() >= 25)
        return replace(listing, items=seen)

    now: ClassVar[Any] = None


@pytest.mark.parametrize("jump_s", [0, 3600, -3600])
def test_a_pod_that_is_not_shown_yet_is_not_taken_for_gone_when_the_clock_is_turned(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    install(monkeypatch, stage, Blind)
    true = stage.clock.now() - stage.clock.monotonic()
    monkeypatch.setattr(Blind, "now", lambda: true + stage.clock.monotonic())

    async def act() -> None:
        session = (await stage.open()).session
        await stage.clock.advance(2)
        assert stage.calls("create_compute") == 1
        stage.clock.jump(jump_s)
        await stage.clock.advance(3)
        await stage.companion.close(session.id, actor="key:k1")
        await stage.clock.advance(600)
        assert (await stage.get(session.id)).state == "terminated"
        assert not stage.pods()

    play(stage, act)


@pytest.mark.parametrize("jump_s", [0, 3600, -3600])
def test_a_new_pod_that_is_not_shown_yet_becomes_ready_when_the_clock_is_turned(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    install(monkeypatch, stage, Blind)
    true = stage.clock.now() - stage.clock.monotonic()
    monkeypatch.setattr(Blind, "now", lambda: true + stage.clock.monotonic())

    async def act() -> None:
        session = (await stage.open()).session
        await stage.clock.advance(2)
        stage.clock.jump(jump_s)
        await stage.advance_until(session.id, "ready", most_s=120)
        assert len(stage.pods()) == 1

    play(stage, act)


class Late(MockProvider):
    """A create whose answer is given up goes on, and rents much later."""

    late: ClassVar[list[Any]] = []

    async def create_compute(self, *args: Any) -> Any:
        if not Late.late:
            Late.late.append(args)
            await asyncio.Event().wait()
        return await super().create_compute(*args)

    async def rent_late(self) -> Any:
        return await super().create_compute(*Late.late[0])


@pytest.mark.parametrize("closed", [False, True])
def test_a_pod_that_comes_after_everybody_gave_it_up_is_swept(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    install(monkeypatch, stage, Late)
    monkeypatch.setattr(Late, "late", [])
    stage.options |= {"orphan_sweep": "on", "orphan_min_age_s": 60, "call_timeout_s": 20, "idle_ttl_s": 5000}

    async def act() -> None:
        session = (await stage.open()).session
        await stage.clock.advance(1)
        if closed:
            await stage.companion.close(session.id, actor="key:k1")
        await stage.advance_until(session.id, "terminated" if closed else "ready", most_s=300)
        await stage.clock.advance(400)
        late = await stage.companion.core.open("mock").provider.rent_late()
        await stage.clock.advance(1000)
        assert late.id not in stage.pods()
        assert len(stage.pods()) == (0 if closed else 1)

    play(stage, act)


def test_a_template_that_went_while_its_session_lives_changes_nothing_for_it(stage: Stage) -> None:
    spec = {"provider": "mock", "ports": [8888]}
    stage.options |= {"templates": {"one": {"spec": spec, "idle_ttl_s": 500}}, "warn_before_s": 0}

    async def act() -> None:
        request = SessionRequest(template="one", owner="ann")
        session = (await stage.companion.open(request, actor="key:k1")).session
        await stage.advance_until(session.id, "ready")
        stage.options["templates"] = {}
        await stage.restart()
        await stage.clock.advance(450)
        assert (await stage.get(session.id)).state == "ready"
        await stage.advance_until(session.id, "terminated", most_s=400)
        assert not stage.pods()

    play(stage, act)


def test_an_idempotency_key_is_answered_after_rotate_and_after_the_end(stage: Stage) -> None:
    async def act() -> None:
        request = SessionRequest(spec={"provider": "mock", "ports": [8888]}, owner="ann")
        key = ("k1", "once", "0" * 64)
        first = await stage.companion.open(request, actor="key:k1", idempotency=key)
        await stage.advance_until(first.session.id, "ready")
        rotated = await stage.companion.rotate(first.session.id, actor="key:k1")
        again = await stage.companion.open(request, actor="key:k1", idempotency=key)
        assert again.replayed and again.token == rotated.token != first.token
        await stage.companion.close(first.session.id, actor="key:k1")
        await stage.advance_until(first.session.id, "terminated")
        over = await stage.companion.open(request, actor="key:k1", idempotency=key)
        assert over.replayed and over.session.state == "terminated"
        assert stage.calls("create_compute") == 1

    play(stage, act)


def test_a_rotate_in_the_middle_of_renting_rents_once_and_the_new_token_counts(stage: Stage) -> None:
    stage.world.configure(provision_s=20)

    async def act() -> None:
        opened = await stage.open()
        for _ in range(4):
            await stage.companion.rotate(opened.session.id, actor="key:k1")
            await asyncio.sleep(0)
        last = await stage.companion.rotate(opened.session.id, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "ready", most_s=120)
        assert stage.calls("create_compute") == 1
        assert session.generation == last.session.generation == 5
        assert stage.companion.verifier(session)["token_hashes"] == [session.token_hash]

    play(stage, act)


def test_a_resume_and_a_close_and_the_reaper_at_one_time_leave_no_pod(stage: Stage) -> None:
    stage.options |= {"paused_ttl_s": 300, "warn_before_s": 0}

    async def act() -> None:
        ids = [(await stage.ready()).session.id for _ in range(6)]
        for one in ids:
            await stage.companion.pause(one, actor="key:k1")
        for one in ids:
            await stage.advance_until(one, "paused")
        for turn in range(3):
            works = []
            for place, one in enumerate(ids):
                verbs = [stage.companion.resume, stage.companion.close, stage.companion.pause]
                for verb in verbs[(place + turn) % 3 :] + verbs[: (place + turn) % 3]:
                    works.append(asyncio.ensure_future(verb(one, actor="key:k1")))
            await stage.clock.advance(0.3)
            await asyncio.gather(*works, return_exceptions=True)
        await stage.clock.advance(400)
        for one in ids:
            assert (await stage.get(one)).state == "terminated"
        assert not stage.pods()

    play(stage, act)


def test_an_account_that_went_from_the_configuration_is_listed_as_irrevocable_and_ended_when_it_is_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act() -> None:
        from pulumi_atlas.errors import ConfigError

        session = (await stage.ready()).session
        core = stage.companion.core
        opening = core.open

        def gone(*_: Any, **__: Any) -> Any:
            raise ConfigError("there is no such account")

        monkeypatch.setattr(core, "open", gone)
        await stage.companion.close(session.id, actor="key:k1")
        await stage.advance_until(session.id, "irrevocable", most_s=7200)
        monkeypatch.setattr(core, "open", opening)
        await stage.advance_until(session.id, "terminated", most_s=1000)
        assert not stage.pods()

    play(stage, act)

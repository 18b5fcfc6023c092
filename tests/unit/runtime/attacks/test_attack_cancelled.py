"""Whoever asked may leave in the middle of it, and providers may be interrupted: what was written is acted on all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from core_kit import Stage, install, play
from store_kit import a_session

from pulumi_atlas.models.session import SessionRequest
from pulumi_atlas.providers.mock import MockProvider
from pulumi_atlas.runtime.ledger import Change, Ledger, SessionGone
from pulumi_atlas.runtime.store.sqlite import SqliteStore
from pulumi_atlas.testing.clock import SimulatedClock
from pulumi_atlas.testing.sessions import MemoryStore


class SlowStore(MemoryStore):
    """Its writes are done at once and answered later: while `answers` is clear, nobody hears of them."""

    def __init__(self, tables: Any = None) -> None:
        super().__init__(tables)
        self.answers, self.asked = asyncio.Event(), asyncio.Event()
        self.answers.set()

    async def _answered(self) -> None:
        self.asked.set()
        await self.answers.wait()

    async def add(self, *args: Any, **kwargs: Any) -> Any:
        done = await super().add(*args, **kwargs)
        await self._answered()
        return done

    async def change(self, *args: Any, **kwargs: Any) -> Any:
        done = await super().change(*args, **kwargs)
        await self._answered()
        return done


async def left_in_the_middle(store: SlowStore, work: Any) -> None:
    """The work is cancelled when its write is done, and not answered yet."""
    store.answers.clear()
    store.asked.clear()
    task = asyncio.ensure_future(work)
    await store.asked.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    store.answers.set()


def test_a_close_whose_caller_leaves_ends_the_pod(stage: Stage) -> None:
    store = stage.store = SlowStore()

    async def act() -> None:
        session = (await stage.ready(max_lifetime_s=3e6)).session
        await stage.companion.pause(session.id, actor="key:k1")
        await stage.advance_until(session.id, "paused")
        await left_in_the_middle(store, stage.companion.close(session.id, actor="key:k1"))
        await stage.clock.advance(60)
        assert (await stage.get(session.id)).state == "terminated"
        assert not stage.pods()

    play(stage, act)


def test_a_touch_after_an_end_whose_caller_left_is_not_acknowledged(stage: Stage) -> None:
    store = stage.store = SlowStore()

    async def act() -> None:
        session = (await stage.ready()).session
        await left_in_the_middle(store, stage.companion.close(session.id, actor="key:k1"))
        with pytest.raises(SessionGone):
            await stage.companion.touch(session.id, "http")

    play(stage, act)


def test_a_session_whose_opener_leaves_is_rented_and_ended_like_others(stage: Stage) -> None:
    store = stage.store = SlowStore()

    async def act() -> None:
        request = SessionRequest(spec={"provider": "mock", "ports": [8888]}, owner="ann")
        asked = ("k1", "once", "0" * 64)
        opening = stage.companion.open(request, actor="key:k1", idempotency=asked)
        await left_in_the_middle(store, opening)
        again = await stage.companion.open(request, actor="key:k1", idempotency=asked)
        assert again.replayed
        await stage.advance_until(again.session.id, "ready", most_s=60)

    play(stage, act)


class Interrupted(MockProvider):
    """Now and then a call of it is cancelled from within."""

    due: set[str] = set()

    def _maybe(self, operation: str) -> None:
        if operation in self.due:
            self.due.discard(operation)
            raise asyncio.CancelledError

    async def create_compute(self, *args: Any) -> Any:
        made = await super().create_compute(*args)
        self._maybe("create_compute")
        return made

    async def terminate(self, *args: Any) -> Any:
        self._maybe("terminate")
        return await super().terminate(*args)

    async def list_compute(self, *args: Any) -> Any:
        self._maybe("list_compute")
        return await super().list_compute(*args)


@pytest.mark.parametrize("operation", ["create_compute", "terminate", "list_compute"])
def test_a_call_that_is_cancelled_from_within_ends_no_work(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    install(monkeypatch, stage, Interrupted)
    Interrupted.due = set()

    async def act() -> None:
        if operation == "create_compute":
            Interrupted.due.add(operation)
        session = (await stage.open()).session
        await stage.advance_until(session.id, "ready", most_s=120)
        assert len(stage.pods()) == 1
        Interrupted.due.add(operation)
        await stage.clock.advance(90)
        await stage.companion.close(session.id, actor="key:k1")
        Interrupted.due.add(operation)
        await stage.advance_until(session.id, "terminated", most_s=120)
        assert not stage.pods()
        assert all(not task.done() for task in stage.companion.crew._tasks), "the crew is at work"

    play(stage, act)


def test_a_reaper_that_begins_again_forgets_nobody(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It broke while it ended one session, and others waited for the cap."""
    stage.options |= {"max_kills_per_minute": 1, "warn_before_s": 0, "idle_ttl_s": 100}
    store = stage.store = SlowStore()

    async def act() -> None:
        for _ in range(3):
            session = (await stage.ready()).session
        for one in list(stage.companion.ledger.live):
            await stage.companion.touch(one, "http")
        await stage.clock.advance(99)
        store.answers.clear()
        await stage.clock.advance(2)  # one end is written, and not answered

        def breaks(now: Any, *, beat: bool = False) -> None:
            if beat:
                raise RuntimeError("broken")

        guard = stage.companion.crew.gate.clock_guard
        with monkeypatch.context() as patch:
            patch.setattr(guard, "look", breaks)
            await stage.clock.advance(1)
        store.answers.set()
        await stage.advance_until(session.id, "terminated", most_s=900)
        await stage.clock.advance(120)
        assert not stage.pods()

    play(stage, act)


def test_a_change_in_a_file_whose_caller_leaves_is_taken_in(tmp_path: Path) -> None:
    async def act() -> None:
        store, clock = SqliteStore(tmp_path / "sessions.db"), SimulatedClock()
        await store.open(name="x", now=clock.now())
        try:
            ledger = Ledger(store, clock)
            await ledger.add(a_session(), "operator")
            told = asyncio.Event()
            ledger.listeners.append(lambda session, events: told.set())
            task = asyncio.ensure_future(
                ledger.change("s1", lambda session: Change("key:k1", "closed", to="terminating"))
            )
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait_for(told.wait(), 30)
            assert ledger["s1"].is_gone and ledger["s1"].settling is None
            kept = await store.get("s1")
            assert kept is not None and kept.state == "terminating"
        finally:
            await store.aclose()

    asyncio.run(act())

"""Retention: what goes, and what may not, in the real store."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outbox_kit import START, MemoryStore, TurnedClock, event, run, session

from pulumi_atlas.models.session import Session
from pulumi_atlas.runtime.keeping import EVERY_S, Keeping, limits_at
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import Answered, StoreUnavailable
from pulumi_atlas.runtime.store.sqlite import SqliteStore

DAY = 86_400.0
SETTINGS = RuntimeSettings(keep_events_days=2, keep_sessions_days=5, keep_answers_s=3600)


class Kept:
    """The real store with a keeper."""

    def __init__(self, folder: Path) -> None:
        self.store, self.clock = SqliteStore(folder / "sessions.db"), TurnedClock()
        self.keeping = Keeping(self.store, SETTINGS, self.clock)

    async def add(self, ident: str, **fields: Any) -> Session:
        answered = Answered("key:k1", f"key-of-{ident}", "0" * 64, ident, self.clock.now())
        made = session(ident, created_at=self.clock.now(), **fields)
        added, _ = await self.store.add(made, [event(ident, at=self.clock.now())], answered)
        return added

    async def left(self) -> tuple[list[int], list[str], list[str]]:
        """Events, sessions, and sessions whose answer is kept."""
        events = [one.number for one in await self.store.events(after=0)]
        sessions = [one.id for one in (await self.store.page()).sessions]
        names = ("old", "new", "live")
        answers = [one for one in names if await self.store.answered("key:k1", f"key-of-{one}") is not None]
        return events, sessions, answers


def in_store(folder: Path, story: Any) -> None:
    async def whole() -> None:
        kept = Kept(folder)
        await kept.store.open(name="test", now=START)
        try:
            await story(kept)
        finally:
            await kept.store.aclose()

    run(whole())


def test_what_is_old_goes_and_what_is_live_stays(tmp_path: Path) -> None:
    async def story(kept: Kept) -> None:
        await kept.add("old", state="terminated", ended_at=START)
        await kept.add("live")
        kept.clock.turn(2 * DAY)
        assert await kept.keeping.step() == 2  # two answers
        assert await kept.left() == ([1, 2], ["old", "live"], [])
        kept.clock.turn(1)
        await kept.add("new", state="failed", ended_at=kept.clock.now())
        assert await kept.keeping.step() == 2
        assert await kept.left() == ([3], ["old", "live", "new"], ["new"])
        kept.clock.turn(3 * DAY)
        await kept.keeping.step()
        assert await kept.left() == ([], ["live", "new"], [])
        assert kept.keeping.status() == {"forgot_at": kept.clock.now(), "forgotten": 7}

    in_store(tmp_path, story)


def test_no_event_goes_that_is_on_its_way_to_a_webhook(tmp_path: Path) -> None:
    async def story(kept: Kept) -> None:
        await kept.store.set_webhooks(["hook"])
        await kept.add("old", state="terminated", ended_at=START)
        kept.clock.turn(100 * DAY)
        await kept.keeping.step()
        assert (await kept.left())[0] == [1]
        await kept.store.delivered(1, "hook")
        await kept.keeping.step()
        assert (await kept.left())[0] == []

    in_store(tmp_path, story)


@given(
    now=st.floats(0, 4e9),
    settings=st.builds(
        RuntimeSettings,
        keep_events_days=st.integers(1, 999),
        keep_sessions_days=st.integers(1, 999),
        keep_answers_s=st.floats(1, 1e6),
    ),
)
def test_nothing_younger_than_the_settings_say_is_asked_to_go(now: float, settings: RuntimeSettings) -> None:
    limits = limits_at(settings, now)
    assert now - limits.events_before == pytest.approx(settings.keep_events_days * DAY, abs=1e-3)
    assert now - limits.sessions_before == pytest.approx(settings.keep_sessions_days * DAY, abs=1e-3)
    assert now - limits.answers_before == pytest.approx(settings.keep_answers_s, abs=1e-3)


class Counting(MemoryStore):
    """Fails as told, and counts."""

    async def prune(self, *, events_before: float, sessions_before: float, answers_before: float) -> int:
        await self._reached("prune")
        return 3


def ticking(story: Any) -> None:
    async def whole() -> None:
        store, clock = Counting(), TurnedClock()
        running: asyncio.Task[None] = asyncio.ensure_future(Keeping(store, SETTINGS, clock).run())  # type: ignore[arg-type]
        try:
            work: Coroutine[Any, Any, None] = story(store, clock)
            await work
        finally:
            running.cancel()
            await asyncio.wait({running})

    run(whole())


def test_it_runs_at_once_and_then_each_hour() -> None:
    async def story(store: Counting, clock: TurnedClock) -> None:
        for count in (1, 2, 3):
            await clock.sleeper()
            assert store.calls.count("prune") == count
            clock.turn(EVERY_S)
        await clock.sleeper()
        assert clock.slept == [EVERY_S] * 4

    ticking(story)


def test_an_unavailable_store_is_tried_again_sooner() -> None:
    async def story(store: Counting, clock: TurnedClock) -> None:
        store.fails = 2
        for _ in range(3):
            await clock.sleeper()
            clock.turn(EVERY_S)
        assert clock.slept == [10.0, 20.0, EVERY_S]

    ticking(story)


def test_a_single_step_says_that_the_store_is_unavailable() -> None:
    async def story() -> None:
        store, clock = Counting(), TurnedClock()
        store.fails = 1
        keeping = Keeping(store, SETTINGS, clock)  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable):
            await keeping.step()
        assert keeping.status() == {"forgot_at": None, "forgotten": 0}
        assert await keeping.step() == 3

    run(story())

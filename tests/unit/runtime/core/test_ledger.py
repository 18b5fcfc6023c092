"""The ledger: what is decided is decided with the freshest activity, and what is written is told in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from core_kit import Stage, play

from pulumi_atlas.errors import Conflict, NotFound
from pulumi_atlas.models.session import Session
from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.runtime.ledger import Change, Happened, Ledger, Live
from pulumi_atlas.runtime.store.contract import Stale, StoreUnavailable
from pulumi_atlas.testing.clock import SimulatedClock
from pulumi_atlas.testing.sessions import MemoryStore


def row(ident: str = "s1", **fields: Any) -> Session:
    base: dict[str, Any] = {
        "id": ident, "state": "ready", "provider": "mock", "idle_ttl_s": 900.0, "max_lifetime_s": None,
        "warn_before_s": 60.0, "on_idle": "terminate", "paused_ttl_s": 600.0, "budget": None,
        "created_at": 1_767_225_600.0, "active_at": 1_767_225_600.0,
    }  # fmt: skip
    return Session(**{**base, **fields})


class Scene:
    def __init__(self) -> None:
        self.clock, self.store = SimulatedClock(), MemoryStore()
        self.ledger = Ledger(self.store, self.clock)

    async def begin(self, *rows: Session) -> Scene:
        await self.store.open(name="t", now=self.clock.now())
        for one in rows:
            await self.ledger.add(one, "key:k1")
        return self

    async def reopened(
        self, down_s: float = 0.0, *, alive_at: float | None = None, touches_lost: bool = False
    ) -> Scene:
        later = Scene()
        later.clock = SimulatedClock(self.clock.now() + down_s)
        later.store = self.store.after_crash()
        later.ledger = Ledger(later.store, later.clock)
        custody = await later.store.open(name="t", now=later.clock.now())
        await later.ledger.load(
            alive_at=alive_at or custody.alive_at, grace_s=120, gaps=custody.gaps, touches_lost=touches_lost
        )
        return later


def scene(act: Any) -> None:
    asyncio.run(act())


def to(state: Any, **fields: Any) -> Change:
    return Change("key:k1", "closed", to=state, fields=fields)


def test_a_change_is_written_once_with_its_event_and_told() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        told: list[Any] = []
        s.ledger.listeners.append(lambda session, events: told.append((session.state, [e.kind for e in events])))
        written = await s.ledger.change("s1", lambda now: to("terminating", outcome="terminated"))
        assert (written.state, written.version, written.cause) == ("terminating", 1, "closed")
        assert s.ledger["s1"].state == "terminating"
        assert told == [("terminating", ["status"])]
        events = await s.store.events(after=0)
        assert [(e.number, e.data["state"]) for e in events] == [(1, "ready"), (2, "terminating")]

    scene(act)


def test_a_state_that_may_not_follow_is_refused() -> None:
    async def act() -> None:
        s = await Scene().begin(row(state="paused"))
        with pytest.raises(Conflict, match="paused cannot become ready"):
            await s.ledger.change("s1", lambda now: to("ready"))
        assert (await s.ledger.read("s1")).version == 0
        with pytest.raises(NotFound):
            await s.ledger.change("nobody", lambda now: None)

    scene(act)


def test_changes_of_one_session_are_decided_one_after_the_other() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        seen: list[int] = []

        def decide(now: Session) -> Change:
            seen.append(now.generation)
            return Change("a", "closed", fields={"generation": now.generation + 1})

        await asyncio.gather(*(s.ledger.change("s1", decide) for _ in range(20)))
        assert seen == list(range(20))
        assert (await s.ledger.read("s1")).version == 20

    scene(act)


def test_somebody_elses_write_is_decided_on_anew() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        states: list[str] = []

        def decide(now: Session) -> Change | None:
            states.append(now.state)
            if len(states) == 1:
                table = s.store._tables.sessions
                table["s1"] = replace(table["s1"], state="pausing", version=7)
            return to("terminating")

        assert (await s.ledger.change("s1", decide)).version == 8
        assert states == ["ready", "pausing"]

    scene(act)


def test_a_write_that_was_done_although_it_was_said_to_have_failed_is_noticed() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        real, told = s.store.change, []

        async def lost(*args: Any, **kwargs: Any) -> Any:
            await real(*args, **kwargs)
            raise StoreUnavailable("the answer was lost")

        s.store.change = lost  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            await s.ledger.change("s1", lambda now: to("terminating"))
        assert s.ledger["s1"].state == "ready"
        s.store.change = real  # type: ignore[method-assign]
        s.ledger.listeners.append(lambda session, events: told.append(session.state))
        await s.ledger.change("s1", lambda now: None)
        assert s.ledger["s1"].state == "terminating"
        assert told == ["terminating"]

    scene(act)


def test_activity_in_memory_is_decided_with_and_made_durable_by_a_flush() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        await s.clock.advance(100)
        live = s.ledger["s1"]
        live.touch("http", s.ledger.moment(), idle_s=10, count=3)
        s.ledger.touched(live)
        fresh = await s.ledger.read("s1")
        assert (fresh.active_at, fresh.active_source, fresh.touches) == (s.clock.now() - 10, "http", 3)
        assert (await s.store.get("s1")).touches == 0  # type: ignore[union-attr]
        assert await s.ledger.flush() == 1
        stored = await s.store.get("s1")
        assert stored is not None
        assert (stored.active_at, stored.active_source, stored.touches) == (fresh.active_at, "http", 3)
        assert (await s.ledger.read("s1")).touches == 3
        assert await s.ledger.flush() == 0

    scene(act)


def test_an_older_touch_moves_nothing_back() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        await s.clock.advance(100)
        live, now = s.ledger["s1"], s.ledger.moment()
        live.touch("http", now)
        live.touch("ws", now, idle_s=50)
        assert (live.active_mono, live.source, live.touches) == (now.mono, "http", 2)

    scene(act)


@pytest.mark.parametrize("error", [StoreUnavailable("full"), asyncio.CancelledError()])
def test_a_flush_that_fails_loses_nothing(error: BaseException) -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        live, real = s.ledger["s1"], s.store.flush
        live.touch("http", s.ledger.moment(), count=2)
        s.ledger.touched(live)

        async def fails(*args: Any, **kwargs: Any) -> None:
            live.touch("http", s.ledger.moment())  # one more comes meanwhile
            s.ledger.touched(live)
            raise error

        s.store.flush = fails  # type: ignore[method-assign]
        with pytest.raises(type(error)):
            await s.ledger.flush()
        s.store.flush = real  # type: ignore[method-assign]
        assert await s.ledger.flush() == 1
        assert (await s.store.get("s1")).touches == 3  # type: ignore[union-attr]

    scene(act)


def test_a_touch_during_a_flush_is_flushed_next_time() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        live, real = s.ledger["s1"], s.store.flush
        live.touch("http", s.ledger.moment())
        s.ledger.touched(live)

        async def slow(*args: Any, **kwargs: Any) -> None:
            live.touch("http", s.ledger.moment())
            s.ledger.touched(live)
            await real(*args, **kwargs)

        s.store.flush = slow  # type: ignore[method-assign]
        await s.ledger.flush()
        s.store.flush = real  # type: ignore[method-assign]
        assert await s.ledger.flush() == 1
        assert (await s.store.get("s1")).touches == 2  # type: ignore[union-attr]

    scene(act)


def test_time_in_which_no_companion_lived_is_no_idleness() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        await s.clock.advance(300)
        await s.ledger.flush()
        later = await s.reopened(down_s=100_000)
        live = later.ledger["s1"]
        assert live.active_mono == pytest.approx(-300)
        assert live.grace_mono == 120
        assert later.ledger.next_due() == pytest.approx(540)

    scene(act)


def test_after_a_restart_there_is_grace_until_the_first_touch() -> None:
    async def act() -> None:
        s = await Scene().begin(row(idle_ttl_s=60))
        await s.clock.advance(59)
        await s.ledger.flush()
        later = await s.reopened()
        live = later.ledger["s1"]
        assert [d.at for d in _deadlines(later, live)] == [120]
        await later.clock.advance(10)
        live.touch("http", later.ledger.moment())
        assert [d.at for d in _deadlines(later, live)] == [70]

    scene(act)


def _deadlines(s: Scene, live: Live) -> Any:
    from pulumi_atlas.rules.sessions.lease import deadlines

    return deadlines(live, s.ledger.moment())


@pytest.mark.parametrize("turned", [-7200.0, 7200.0])
def test_a_clock_that_was_turned_while_nobody_lived_ends_nothing(turned: float) -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        await s.clock.advance(300)
        await s.ledger.flush()
        later = await s.reopened(down_s=turned)
        assert later.ledger.next_due() is not None
        assert later.ledger.next_due() >= 120 - 60  # type: ignore[operator]
        assert not list(later.ledger.due(later.ledger.moment()))

    scene(act)


def test_what_was_kept_on_purpose_stays_kept_after_a_restart() -> None:
    async def act() -> None:
        s = await Scene().begin(row(idle_ttl_s=60))
        await s.ledger.change("s1", lambda now: Change("a", "opened", fields={"keep_until": s.clock.now() + 1000}))
        assert s.ledger["s1"].keep_mono == 1000
        await s.clock.advance(100)
        await s.ledger.flush()
        later = await s.reopened()
        assert [d.at for d in _deadlines(later, later.ledger["s1"])] == [pytest.approx(900)]

    scene(act)


def test_what_is_due_comes_once_the_longest_overdue_first() -> None:
    async def act() -> None:
        s = await Scene().begin(*(row(f"s{n}", idle_ttl_s=100.0 - n, warn_before_s=0) for n in range(5)))
        await s.clock.advance(98)
        assert [live.id for live, _ in s.ledger.due(s.ledger.moment())] == ["s4", "s3", "s2"]
        assert not list(s.ledger.due(s.ledger.moment()))
        await s.clock.advance(2)
        assert [live.id for live, _ in s.ledger.due(s.ledger.moment())] == ["s1", "s0"]

    scene(act)


def test_a_touched_session_is_found_out_when_it_is_looked_at() -> None:
    async def act() -> None:
        s = await Scene().begin(row(idle_ttl_s=100, warn_before_s=0))
        await s.clock.advance(90)
        live = s.ledger["s1"]
        live.touch("http", s.ledger.moment())
        s.ledger.touched(live)
        await s.clock.advance(10)
        assert not list(s.ledger.due(s.ledger.moment()))
        assert s.ledger.next_due() == 190

    scene(act)


def test_what_comes_nearer_is_told() -> None:
    async def act() -> None:
        s = await Scene().begin(row("s1", warn_before_s=0))
        s.ledger.earlier.clear()
        await s.ledger.add(row("s2", idle_ttl_s=10, warn_before_s=0), "a")
        assert s.ledger.earlier.is_set()
        assert s.ledger.next_due() == 10
        s.ledger.earlier.clear()
        await s.ledger.add(row("s3", idle_ttl_s=50, warn_before_s=0), "a")
        assert not s.ledger.earlier.is_set()

    scene(act)


def test_all_is_indexed_anew_when_the_wall_clock_was_turned() -> None:
    async def act() -> None:
        s = await Scene().begin(row(expires_at=1_767_225_600.0 + 500, max_lifetime_s=500.0, warn_before_s=0))
        assert s.ledger.next_due() == 500
        s.clock.jump(400)
        s.ledger.reindex_all()
        assert s.ledger.next_due() == 100

    scene(act)


def test_a_final_session_leaves_the_memory_and_the_counts() -> None:
    async def act() -> None:
        s = await Scene().begin(row("s1", owner="ann"), row("s2", owner="ann"), row("s3"))
        assert (s.ledger.states["ready"], s.ledger.not_gone, len(s.ledger.of_owner("ann"))) == (3, 3, 2)
        await s.ledger.change("s1", lambda now: to("terminating"))
        assert (s.ledger.not_gone, len(s.ledger.of_owner("ann"))) == (2, 2)
        await s.ledger.change("s1", lambda now: to("terminated"))
        assert "s1" not in s.ledger.live
        assert +s.ledger.states == {"ready": 2}
        assert [live.id for live in s.ledger.of_owner("ann")] == ["s2"]
        with pytest.raises(NotFound):
            s.ledger["s1"]
        assert (await s.ledger.read("s1")).state == "terminated"

    scene(act)


def test_a_new_state_begins_with_no_attempts_behind_it() -> None:
    async def act() -> None:
        s = await Scene().begin(row(attempts=4, next_attempt_at=5.0))
        written = await s.ledger.change("s1", lambda now: to("terminating"))
        assert (written.attempts, written.next_attempt_at) == (0, None)

    scene(act)


def test_a_touch_waits_while_an_end_is_being_written(stage: Stage) -> None:
    async def act() -> None:
        for fails in (False, True):
            opened = await stage.ready()
            begun, go = asyncio.Event(), asyncio.Event()
            store = stage.companion.store
            real: Any = store.change

            async def slow(
                *args: Any, real: Any = real, begun: Any = begun, go: Any = go, fails: bool = fails, **kwargs: Any
            ) -> Any:
                begun.set()
                await go.wait()
                if fails:
                    raise StoreUnavailable("full")
                return await real(*args, **kwargs)

            store.change = slow  # type: ignore[method-assign]
            closing = asyncio.ensure_future(stage.companion.close(opened.session.id, actor="a"))
            await begun.wait()
            touch = asyncio.ensure_future(stage.companion.touch(opened.session.id, "http"))
            await stage.clock.settle()
            assert not touch.done()
            store.change = real  # type: ignore[method-assign]
            go.set()
            results = await asyncio.gather(closing, touch, return_exceptions=True)
            names = [type(one).__name__ for one in results]
            assert names == (["StoreUnavailable", "Live"] if fails else ["Session", "SessionGone"])

    play(stage, act)


def test_events_tell_of_the_session_as_it_is_afterwards() -> None:
    async def act() -> None:
        s = await Scene().begin(row())
        told = Happened("warning", {"deadline": "idle"})
        await s.ledger.change("s1", lambda now: Change("reaper", "idle", fields={"warned": "x"}, events=(told,)))
        event = (await s.store.events(after=1))[0]
        assert (event.kind, event.actor, event.cause) == ("warning", "reaper", "idle")
        assert event.data["deadline"] == "idle"
        assert event.data["id"] == "s1"

    scene(act)


def test_a_stale_write_with_no_row_is_not_found() -> None:
    async def act() -> None:
        s = await Scene().begin(row())

        async def gone(*args: Any, **kwargs: Any) -> Any:
            raise Stale(None)

        s.store.change = gone  # type: ignore[method-assign]
        with pytest.raises(NotFound):
            await s.ledger.change("s1", lambda now: to("terminating"))

    scene(act)


def test_a_moment_counts_by_both_clocks() -> None:
    now = Moment(1000.0, 5.0)
    assert now.mono_of(1060.0) == 65.0


def test_what_one_restart_forgave_the_next_one_does_not_hold_against_it() -> None:
    """After a long time without a companion: a start, one flush, and a crash."""

    async def act() -> None:
        s = await Scene().begin(row(idle_ttl_s=900))
        await s.clock.advance(300)
        await s.ledger.flush()
        second = await s.reopened(down_s=100_000)
        await second.clock.advance(5)
        await second.ledger.flush()
        third = await second.reopened(down_s=10)
        assert third.ledger["s1"].active_mono == pytest.approx(-305)
        assert third.ledger.next_due() == pytest.approx(900 - 305 - 60)
        await third.clock.advance(2)  # it dies before its first flush: what it forgave is known all the same
        fourth = await third.reopened(down_s=10)
        assert fourth.ledger["s1"].active_mono == pytest.approx(-305)

    scene(act)


@pytest.mark.parametrize("flushed", [True, False])
def test_what_the_wall_clock_leapt_over_is_no_idleness_after_a_restart_either(flushed: bool) -> None:
    async def act() -> None:
        s = await Scene().begin(row(idle_ttl_s=900))
        await s.ledger.change("s1", lambda now: Change("a", "opened", fields={"keep_until": s.clock.now() + 2000}))
        await s.clock.advance(300)
        await s.ledger.flush()
        s.clock.jump(3600)
        s.ledger.clock_turned(3600)
        if flushed:
            await s.ledger.flush()
        later = await s.reopened(down_s=0)
        live = later.ledger["s1"]
        assert live.active_mono == pytest.approx(-300)
        assert live.keep_mono == pytest.approx(1700)
        assert live.keep_until == pytest.approx(later.clock.now() + 1700)

    scene(act)


def test_a_clock_that_was_turned_back_leaves_no_gap_ahead() -> None:
    async def act() -> None:
        s = await Scene().begin(row(idle_ttl_s=900))
        s.clock.jump(3600)
        s.ledger.clock_turned(3600)
        s.clock.jump(-3600)
        s.ledger.clock_turned(-3600)
        await s.clock.advance(300)
        await s.ledger.flush()
        later = await s.reopened()
        assert later.ledger["s1"].active_mono == pytest.approx(-300)

    scene(act)


def test_a_long_wish_to_keep_it_outlives_two_restarts() -> None:
    async def act() -> None:
        s = await Scene().begin(row(idle_ttl_s=60))
        await s.ledger.change("s1", lambda now: Change("a", "opened", fields={"keep_until": s.clock.now() + 1000}))
        await s.ledger.flush()
        second = await s.reopened(down_s=5000)
        assert second.ledger["s1"].keep_mono == pytest.approx(1000)
        await second.ledger.flush()
        third = await second.reopened()
        assert third.ledger["s1"].keep_mono == pytest.approx(1000)

    scene(act)


def test_where_touches_may_be_lost_each_session_has_its_whole_idle_time_anew() -> None:
    async def act() -> None:
        s = await Scene().begin(row(idle_ttl_s=900), row("s2", idle_ttl_s=60))
        await s.clock.advance(50)
        await s.ledger.flush()
        later = await s.reopened(touches_lost=True)
        assert [d.at for d in _deadlines(later, later.ledger["s1"])] == [900]
        assert [d.at for d in _deadlines(later, later.ledger["s2"])] == [120]
        later.ledger["s1"].touch("http", later.ledger.moment())
        assert later.ledger["s1"].grace_mono is None

    scene(act)

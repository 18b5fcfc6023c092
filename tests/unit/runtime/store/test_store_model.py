"""Any order of calls leaves a store as a few plain dictionaries would be, restarts included."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_kit import IMPLEMENTATIONS, NOW, a_session, an_answer, an_event

from pulumi_atlas.errors import Conflict
from pulumi_atlas.models.session import FINAL_STATES, Session, SessionEvent, SessionState
from pulumi_atlas.runtime.store.contract import BirthNote, Stale, Store, TouchRow

T = TypeVar("T")

IDS = st.sampled_from(["a", "b", "c", "d"])
STATES: Any = st.sampled_from(["requested", "ready", "paused", "terminating", "terminated", "failed"])
TIMES = st.integers(0, 20).map(lambda n: NOW + n)
HOOKS = st.sets(st.sampled_from(["x", "y"]))
KEYS = st.sampled_from(["k1", "k2", None])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


class Stores(RuleBasedStateMachine):
    kind = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="atlas-store-"))
        self.runner = asyncio.Runner()
        self.sessions: dict[str, Session] = {}
        self.births: dict[str, BirthNote] = {}
        self.events: list[SessionEvent] = []
        self.answers: dict[str, str] = {}
        self.deliveries: dict[tuple[int, str], tuple[float, int]] = {}
        self.hooks: set[str] = set()
        self.last = 0
        self.alive_at: float | None = None

    def run_(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        self.store: Store = IMPLEMENTATIONS[self.kind](self.folder)
        custody = self.run_(self.store.open(name="tests", now=NOW))
        assert custody.alive_at == self.alive_at
        self.run_(self.store.set_webhooks(self.hooks))

    @rule()
    def restart(self) -> None:
        self.run_(self.store.aclose())
        self.start()

    @rule(ident=IDS, state=STATES, key=KEYS, at=TIMES, owner=TEXT)
    def add(self, ident: str, state: SessionState, key: str | None, at: float, owner: str) -> None:
        session = a_session(ident, state=state, owner=owner, labels={"x": owner}, ended_at=at)
        answer = None if key is None else an_answer(key, session_id=ident, at=at)
        work = self.store.add(session, [an_event(ident, at=at)], answer)
        if ident in self.sessions or key in self.answers:
            self.refused(work, Conflict)
            return
        _, events = self.run_(work)
        self.sessions[ident] = session
        if key is not None:
            self.answers[key] = ident
        self.happened(events, 1)

    @rule(
        ident=IDS,
        state=STATES,
        off=st.sampled_from([0, 0, 0, 1, -1]),
        count=st.integers(0, 3),
        at=TIMES,
        born=st.integers(1, 3),
    )
    def change(self, ident: str, state: SessionState, off: int, count: int, at: float, born: int) -> None:
        now = self.sessions.get(ident)
        birth = BirthNote(str(born) * 20, ident, "local", None, None, "open", at)
        events = [an_event(ident, at=at, data={"n": n}) for n in range(count)]
        version = (now.version if now else 0) + off
        work = self.store.change(ident, version, {"state": state, "ended_at": at}, events, [birth])
        if now is None or off:
            self.refused(work, Stale)
            return
        written, numbered = self.run_(work)
        self.sessions[ident] = replace(now, state=state, ended_at=at, version=version + 1)
        assert written == self.sessions[ident]
        self.births[birth.birth] = birth
        self.happened(numbered, count)

    @rule(touches=st.lists(st.tuples(IDS, TIMES, st.integers(0, 3), st.none() | TIMES)), at=TIMES)
    def flush(self, touches: list[tuple[str, float, int, float | None]], at: float) -> None:
        self.run_(
            self.store.flush([TouchRow(one, when, f"s{when}", n, keep) for one, when, n, keep in touches], now=at)
        )
        self.alive_at = at
        for ident, when, count, keep in touches:
            now = self.sessions.get(ident)
            if now is None:
                continue
            newer = now.active_at is None or when >= now.active_at
            keeps = [one for one in (now.keep_until, keep) if one is not None]
            self.sessions[ident] = replace(
                now,
                active_at=when if newer else now.active_at,
                active_source=f"s{when}" if newer else now.active_source,
                touches=now.touches + count,
                keep_until=max(keeps, default=None),
            )

    @rule(count=st.integers(0, 3), at=TIMES)
    def note(self, count: int, at: float) -> None:
        self.happened(self.run_(self.store.note([an_event(None, at=at)] * count)), count)

    @rule(born=st.integers(1, 3), state=st.sampled_from(["open", "held", "dead", "gone"]), at=TIMES, ident=IDS)
    def note_birth(self, born: int, state: Any, at: float, ident: str) -> None:
        note = BirthNote(str(born) * 20, ident, "local", None, "i", state, at, "p")
        self.run_(self.store.note_birth(note))
        self.births[note.birth] = note

    @rule(hooks=HOOKS)
    def set_webhooks(self, hooks: set[str]) -> None:
        self.run_(self.store.set_webhooks(hooks))
        self.hooks = hooks
        self.deliveries = {key: one for key, one in self.deliveries.items() if key[1] in hooks}

    @rule(number=st.integers(1, 30), hook=st.sampled_from(["x", "y"]))
    def delivered(self, number: int, hook: str) -> None:
        self.run_(self.store.delivered(number, hook))
        self.deliveries.pop((number, hook), None)

    @rule(number=st.integers(1, 30), hook=st.sampled_from(["x", "y"]), at=TIMES)
    def postponed(self, number: int, hook: str, at: float) -> None:
        self.run_(self.store.postponed(number, hook, due_at=at, error="e"))
        if (number, hook) in self.deliveries:
            self.deliveries[number, hook] = (at, self.deliveries[number, hook][1] + 1)

    @rule(events=TIMES, sessions=TIMES)
    def prune(self, events: float, sessions: float) -> None:
        before = len(self.events) + len(self.sessions) + len(self.births)
        gone = self.run_(self.store.prune(events_before=events, sessions_before=sessions, answers_before=NOW - 1))
        stays = [one.number for one in self.events if one.at >= events] + [number for number, _ in self.deliveries]
        first = min(stays, default=self.last + 1)
        self.events = [one for one in self.events if one.number >= first]
        unsettled = {one.session_id for one in self.births.values() if one.state in ("open", "held")}
        self.sessions = {
            ident: one
            for ident, one in self.sessions.items()
            if one.state not in FINAL_STATES or (one.ended_at or 0) >= sessions or ident in unsettled
        }
        self.births = {
            name: one
            for name, one in self.births.items()
            if one.state != "gone" or one.written_at >= sessions or one.session_id in self.sessions
        }
        assert gone == before - len(self.events) - len(self.sessions) - len(self.births)

    @invariant()
    def the_same_is_known(self) -> None:
        self.run_(self._compare())

    async def _compare(self) -> None:
        live = {one.id: one async for one in self.store.live()}
        assert live == {ident: one for ident, one in self.sessions.items() if one.state not in FINAL_STATES}
        assert {one.id: one for one in (await self.store.page()).sessions} == self.sessions
        assert list(await self.store.events(after=0)) == self.events
        assert await self.store.event_range() == (self.events[0].number if self.events else self.last + 1, self.last)
        assert {one.birth: one for one in await self.store.births()} == self.births
        due = await self.store.due(NOW + 99)
        assert {(one.event.number, one.webhook): (one.due_at, one.attempt) for one in due} == self.deliveries
        assert await self.store.next_due() == min((at for at, _ in self.deliveries.values()), default=None)
        assert (await self.store.custody()).alive_at == self.alive_at
        for key, ident in self.answers.items():
            answer = await self.store.answered("caller", key)
            assert answer is not None
            assert answer.session_id == ident

    def happened(self, events: tuple[SessionEvent, ...], count: int) -> None:
        assert [one.number for one in events] == list(range(self.last + 1, self.last + 1 + count))
        self.last += count
        self.events += events
        self.deliveries |= {(one.number, hook): (one.at, 0) for one in events for hook in self.hooks}

    def refused(self, work: Coroutine[Any, Any, Any], kind: type[Exception]) -> None:
        try:
            self.run_(work)
        except kind:
            return
        raise AssertionError(f"{kind.__name__} was expected")

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run_(self.store.aclose())
        self.runner.close()
        shutil.rmtree(self.folder, ignore_errors=True)


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=max(5, settings.default.max_examples // 5), stateful_step_count=30, deadline=None
)

"""What is known of the sessions: a small entry in memory for each that is not final, and the whole row in the store.

Every change of a session goes through `change`: one guarded write together with its events. Touches go into memory
first and are flushed in batches; whatever is decided about a session is decided with the freshest of both.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pulumi_atlas.errors import Conflict, NotFound
from pulumi_atlas.models.session import GONE_STATES, Cause, Session, SessionEvent, SessionState
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.gaps import Gap, lost_s, with_gap, without_future
from pulumi_atlas.rules.sessions.lease import Moment, Verdict, judge
from pulumi_atlas.rules.sessions.nearest import first_look
from pulumi_atlas.rules.sessions.states import may_follow
from pulumi_atlas.runtime._collection import no_collection
from pulumi_atlas.runtime._live import Live
from pulumi_atlas.runtime.store.contract import Answered, BirthNote, Stale, Store
from pulumi_atlas.runtime.view import shown

__all__ = ["Change", "Happened", "Ledger", "Live", "SessionGone"]


T = TypeVar("T")

#: A wish to keep a session moves by the time in which no companion lived, when that was this long, seconds.
_LONG_S = 30.0


class SessionGone(Conflict):
    """The session has ended, or is ending: for who uses it, it is gone."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event to be written with a change. `data` holds no secret; sessions are shown by whoever publishes them."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a session: fields of its row, and `to` for another state. A new state is an event by itself."""

    actor: str
    cause: Cause
    to: SessionState | None = None
    reason: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Happened, ...] = ()
    births: tuple[BirthNote, ...] = ()


#: Decides with the freshest row; None: nothing is to be changed. May raise: then nothing is.
Decide = Callable[[Session], Change | None]
#: Is told of each change after it was written. Must not block and must not raise.
Listener = Callable[[Session, Sequence[SessionEvent]], None]


class Ledger:
    """All sessions of one companion. Belongs to one event loop.

    `listeners` are told of each written change, in order. `states` counts the sessions by their state.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.live: dict[str, Live] = {}
        self.states: Counter[SessionState] = Counter()
        self._owners: dict[str, set[str]] = {}
        self.listeners: list[Listener] = []
        self.earlier = asyncio.Event()  # something is due sooner than what was
        self._index: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._dirty: set[str] = set()
        self._writes: set[asyncio.Task[Any]] = set()
        self._gaps: tuple[Gap, ...] = ()
        self._gaps_noted = True

    def moment(self) -> Moment:
        """Now, by both clocks."""
        return Moment(self.clock.now(), self.clock.monotonic())

    async def load(
        self,
        *,
        alive_at: float | None,
        grace_s: float,
        gaps: Sequence[Gap] = (),
        touches_lost: bool = False,
        each: Callable[[Session], None] = lambda session: None,
    ) -> int:
        """Take in what the store has, telling `each`. Time in which no companion lived, now and in the `gaps` before, counts
        as no idleness, and each session has `grace_s` seconds until its first touch. `touches_lost`: the last companion died;
        whoever was used until then may be unknown, so that each has its whole idle time anew. Returns how many there are."""
        now = self.moment()
        down_s = max(0.0, now.wall - alive_at) if alive_at is not None else 0.0
        self._gaps = gaps = with_gap(without_future(gaps, now.wall), now.wall - down_s, now.wall)
        self._gaps_noted = False
        with no_collection():
            async for session in self.store.live():
                live = Live(session, now)
                live.active_mono = min(now.mono, live.active_mono + lost_s(gaps, live.active_at))
                if live.keep_mono is not None and down_s >= _LONG_S:
                    live.keep_mono += down_s
                    self._keep_at(live, now)
                live.grace_mono = now.mono + (max(grace_s, live.idle_ttl_s) if touches_lost else grace_s)
                self._enter(live)
                live.looked_at = first_look(live, now)
                if live.looked_at is not None:
                    self._index.append((live.looked_at, next(self._order), live.id))
                each(session)
        heapq.heapify(self._index)
        self.earlier.set()
        return len(self.live)

    def clock_turned(self, by_s: float) -> None:
        """The wall clock leapt by so many seconds just now. What it leapt over is nobody's idleness, after a restart too."""
        now = self.moment()
        self._gaps = with_gap(without_future(self._gaps, now.wall), now.wall - by_s, now.wall)
        self._gaps_noted = False
        for live in self.live.values():
            self._keep_at(live, now)
            if live.keep_mono is not None and live.keep_mono <= now.mono:
                live.keep_mono = live.keep_until = None  # it is over, and its time must not seem to come again

    def _keep_at(self, live: Live, now: Moment) -> None:
        """A wish that still counts is a time on the wall clock: that as it is now."""
        if live.keep_mono is not None and live.keep_mono > now.mono:
            live.keep_until = now.wall + (live.keep_mono - now.mono)
            live.dirty = True
            self._dirty.add(live.id)

    @property
    def not_gone(self) -> int:
        """How many sessions there are that somebody may use."""
        return len(self.live) - sum(self.states[state] for state in GONE_STATES)

    def of_owner(self, owner: str) -> list[Live]:
        """The owner's sessions that are not final."""
        return [self.live[one] for one in self._owners.get(owner, ())]

    def __getitem__(self, session_id: str) -> Live:
        """The entry. Raises NotFound when it is final or unknown; the store may still know it."""
        try:
            return self.live[session_id]
        except KeyError:
            raise NotFound(f"there is no live session {session_id}") from None

    async def read(self, session_id: str) -> Session:
        """The whole row with the freshest activity. Raises NotFound."""
        session = await self.store.get(session_id)
        if session is None:
            raise NotFound(f"there is no session {session_id}")
        return self.freshened(session)

    async def add(self, session: Session, actor: str, answered: Answered | None = None) -> Session:
        """A new session, with its first event. Raises Conflict as `Store.add`."""
        return await self._whole(self._add(session, actor, answered))

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """The work to its end, even when whoever asked for it is cancelled in the middle: the store goes on with what was
        begun, and what was written and not taken in here would have no worker."""
        task = asyncio.ensure_future(work)
        self._writes.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have left

    async def _add(self, session: Session, actor: str, answered: Answered | None) -> Session:
        now = self.moment()
        first = _event(session, "status", actor, "opened", now, shown(session, now))
        added, events = await self.store.add(session, [first], answered)
        self._enter(Live(added, now))
        self._told(added, events)
        return added

    async def change(self, session_id: str, decide: Decide) -> Session:
        """Decide and write, as one step: nothing else changes the session in between. Returns the row as it is then.

        Raises NotFound, StoreUnavailable (nothing was changed), Conflict when the state may not follow, and whatever
        `decide` raises. A caller that is cancelled leaves it running: it happens whole or not at all.
        """
        return await self._whole(self._change(session_id, decide))

    async def _change(self, session_id: str, decide: Decide) -> Session:
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            session = await self.read(session_id)
            while True:
                self._notice(session)
                change = decide(session)
                if change is None:
                    return session
                try:
                    return await self._write(session, change)
                except Stale as stale:  # somebody else's companion or an operator's tool
                    if stale.current is None:
                        raise NotFound(f"there is no session {session_id}") from None
                    session = self.freshened(stale.current)

    async def flush(self, *, stopping: bool = False) -> int:
        """Make activity durable. How many rows were written. On StoreUnavailable all of it stays in memory. `stopping`: no
        touch follows."""
        ids, self._dirty = self._dirty, set()
        rows = [self.live[one].row() for one in ids if one in self.live and self.live[one].dirty]
        counts = {row.session_id: row.touches for row in rows}
        for row in rows:
            self.live[row.session_id].dirty = False
        gaps = self._gaps
        try:
            await self.store.flush(
                rows, now=self.clock.now(), gaps=None if self._gaps_noted else gaps, stopping=stopping
            )
        except BaseException:  # also when we are stopped in the middle: rather counted twice than lost
            for row in rows:
                if row.session_id in self.live:
                    self.live[row.session_id].dirty = True
            self._dirty |= ids
            raise
        self._gaps_noted = self._gaps_noted or gaps is self._gaps
        for one, count in counts.items():
            if one in self.live:
                self.live[one].touches -= count
        return len(rows)

    def touched(self, live: Live) -> None:
        """Its activity is to be flushed. The deadline index needs no change: later is found out when it is looked at."""
        self._dirty.add(live.id)

    # -- deadlines

    def reindex(self, live: Live, now: Moment) -> Verdict:
        """Note when to look at the session next. Call it when something may have come nearer."""
        verdict = judge(live, now)
        if verdict.look_at is not None and (live.looked_at is None or verdict.look_at < live.looked_at):
            self._push(live, verdict.look_at)
        return verdict

    def reindex_all(self) -> None:
        """After the wall clock was turned: every deadline anew."""
        now, self._index = self.moment(), []
        for live in self.live.values():
            live.looked_at = None
            self.reindex(live, now)

    def due(self, now: Moment) -> Iterator[tuple[Live, Verdict]]:
        """Sessions whose deadline or warning has come, the longest overdue first; each once. Whoever does not act on one
        calls `look_again` for it."""
        while self._index and self._index[0][0] <= now.mono:
            at, _, ident = heapq.heappop(self._index)
            live = self.live.get(ident)
            if live is None or live.looked_at != at:
                continue
            live.looked_at = None
            verdict = judge(live, now)
            if verdict.act != "wait":
                yield live, verdict
            elif verdict.look_at is not None:
                self._push(live, verdict.look_at)

    def look_again(self, live: Live, at_mono: float) -> None:
        """Look at the session at that time, or before."""
        if live.looked_at is None or at_mono < live.looked_at:
            self._push(live, at_mono)

    def next_due(self) -> float | None:
        """Monotonic time of the next look; None when there is none."""
        while self._index:
            at, _, ident = self._index[0]
            live = self.live.get(ident)
            if live is not None and live.looked_at == at:
                return at
            heapq.heappop(self._index)
        return None

    def _push(self, live: Live, at: float) -> None:
        live.looked_at = at
        if not self._index or at < self._index[0][0]:
            self.earlier.set()
        heapq.heappush(self._index, (at, next(self._order), live.id))

    # -- writing

    async def _write(self, session: Session, change: Change) -> Session:
        if change.to is not None and not may_follow(session.state, change.to):
            raise Conflict(f"a session that is {session.state} cannot become {change.to}")
        live, now = self.live.get(session.id), self.moment()
        if live is not None and change.to == "ready":
            live.touch("ready", now, count=0)  # its idle time begins here
        if live is not None and (change.to in GONE_STATES or change.to == "pausing"):
            live.settling = asyncio.Event()
        fields = _fields(change, live)
        after = replace(session, **fields, version=session.version + 1)
        events = _events(after, change, now, live)
        try:
            written, numbered = await self.store.change(session.id, session.version, fields, events, change.births)
            self._told(written, numbered)
            return self.freshened(written)
        finally:
            if live is not None and live.settling is not None:
                live.settling.set()
                live.settling = None

    def _enter(self, live: Live) -> None:
        self.live[live.id] = live
        self.states[live.state] += 1
        if live.owner is not None:
            mine = self._owners.get(live.owner)
            if mine is None:
                self._owners[live.owner] = {live.id}
            else:
                mine.add(live.id)

    def _leave(self, live: Live) -> None:
        del self.live[live.id]
        self.states[live.state] -= 1
        mine = self._owners.get(live.owner or "")
        if mine is not None:
            mine.discard(live.id)
            if not mine:
                del self._owners[live.owner or ""]

    def _notice(self, session: Session) -> None:
        """The row is ahead of us: a write was done although we were told that it failed, or somebody else wrote."""
        live = self.live.get(session.id)
        if live is not None and live.version < session.version:
            self._told(session, ())

    def _told(self, session: Session, events: Sequence[SessionEvent]) -> None:
        live = self.live.get(session.id)
        if live is not None:
            self.states[live.state] -= 1
            live.take(session, self.moment())
            self.states[live.state] += 1
            if session.is_final:
                self._leave(live)
            else:
                self.reindex(live, self.moment())
        fresh = self.freshened(session)
        for listener in self.listeners:
            listener(fresh, events)

    def freshened(self, session: Session) -> Session:
        """A row as the store has it, with the activity that is only in memory."""
        live = self.live.get(session.id)
        if live is None:
            return session
        return replace(
            session, active_at=live.active_at, active_source=live.source, keep_until=live.keep_until,
            touches=session.touches + live.touches,
        )  # fmt: skip


def _fields(change: Change, live: Live | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if change.to is not None:  # new work begins: what was counted for the work before does not count for it
        fields = {"cause": change.cause, "attempts": 0, "next_attempt_at": None}
    if live is not None:
        fields |= {"active_at": live.active_at, "active_source": live.source, "keep_until": live.keep_until}
    fields |= change.fields
    if change.to is not None:
        fields["state"] = change.to
    if change.reason is not None:
        fields["reason"] = change.reason
    return fields


def _events(after: Session, change: Change, now: Moment, live: Live | None) -> list[SessionEvent]:
    """The change's events; those that tell of the session show it as it is afterwards."""
    happened = ([Happened("status")] if change.to is not None else []) + list(change.events)
    found = []
    for one in happened:
        data = {**shown(after, now, live), **one.data} if one.kind in ("status", "warning") else dict(one.data)
        found.append(_event(after, one.kind, change.actor, change.cause, now, data))
    return found


def _event(session: Session, kind: str, actor: str, cause: str, now: Moment, data: dict[str, Any]) -> SessionEvent:
    return SessionEvent(
        at=now.wall, session_id=session.id, kind=kind, actor=actor, cause=cause, data=data, owner=session.owner
    )

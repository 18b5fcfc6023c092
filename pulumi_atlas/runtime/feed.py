"""Events as they happen, for whoever watches: replayed from the store first, then live, none lost and none twice.

A follower gets what is published from a small queue of its own as long as numbers come without a hole. When the queue is
full, or when a number is missing (written by something that does not publish, or published out of order), it reads the store
again behind its position. So memory is bounded, and the store decides what is true.

It relies on this of the store: when an event can be read, all with smaller numbers can.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from pulumi_atlas.models.session import FINAL_STATES, Session, SessionEvent
from pulumi_atlas.rules.clock import Clock, SystemClock
from pulumi_atlas.runtime._pausing import BackOff, pause
from pulumi_atlas.runtime.store.contract import Store, StoreUnavailable

__all__ = ["Feed", "Gap"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Some events before this are not kept any more, or never were. Those behind `number` follow: go on from there."""

    number: int


class Feed:
    """Fan-out in one process. `publish` is a ledger's listener; it also takes events that belong to no change.

    `queue`: how many events wait for one follower before it reads the store instead. `page`: how many it reads at once.
    """

    def __init__(self, store: Store, clock: Clock | None = None, *, queue: int = 256, page: int = 500) -> None:
        self._store, self._clock = store, clock or SystemClock()
        self._queue, self._page = queue, page
        self._everything: set[_Follower] = set()
        self._of_session: dict[str, set[_Follower]] = {}
        self._newest: int | None = None  # the newest number published; None before the first
        self._began: int | None = None  # the number before the first published
        self._closed = asyncio.Event()

    @property
    def followers(self) -> int:
        """How many streams are open."""
        return len(self._everything) + sum(len(some) for some in self._of_session.values())

    def publish(self, session: Session | None, events: Sequence[SessionEvent]) -> None:
        """Events that were just written. Never blocks, never raises."""
        for event in events:
            self._publish(event)

    async def follow(self, after: int | None, session_id: str | None = None) -> AsyncIterator[SessionEvent | Gap]:
        """Events behind the number `after` (None: from now on), of one session or of all, until `close`.

        A `Gap` comes first when some behind `after` are no longer kept, or when the store never got that far. A session's
        stream ends after its final status, and at once when nothing is left of it. An unavailable store is waited for.
        """
        follower = _Follower(self._queue)
        place = self._everything if session_id is None else self._of_session.setdefault(session_id, set())
        place.add(follower)
        try:
            over = session_id is not None and await self._is_over(session_id)
            follower.last = await self._start() if after is None else after
            while not self._closed.is_set():
                for one in await self._next(follower, session_id):
                    yield one
                    if _ends(one, session_id):
                        return
                if over and follower.has_caught_up:
                    return
        except _Closed:
            return
        finally:
            place.discard(follower)
            if session_id is not None and not place and self._of_session.get(session_id) is place:
                del self._of_session[session_id]

    def close(self) -> None:
        """End every stream. Those who come back say what they had last, so nothing is lost."""
        self._closed.set()
        for follower in self._all():
            follower.news.set()

    def _publish(self, event: SessionEvent) -> None:
        newest, self._newest = self._newest, max(self._newest or 0, event.number)
        if self._began is None:
            self._began = event.number - 1
        if newest is None or event.number > newest + 1:
            for follower in self._all():
                follower.fall_behind()
            return
        for follower in (*self._everything, *self._of_session.get(event.session_id or "", ())):
            follower.give(event)

    def _all(self) -> list[_Follower]:
        return [*self._everything, *(one for some in self._of_session.values() for one in some)]

    async def _start(self) -> int:
        """The number behind which "from now on" begins."""
        if self._newest is not None:
            return self._newest
        _, newest = await self._range()
        # What was published while we asked may be counted already.
        return newest if self._began is None else min(newest, self._began)

    async def _next(self, follower: _Follower, session_id: str | None) -> Sequence[SessionEvent | Gap]:
        """What comes next, in order; nothing when that was only a step, or the feed was closed."""
        if follower.behind:
            return await self._begin_to_read(follower)
        if follower.reading is not None:
            found = await self._events(follower.last, session_id)
            follower.has_read(found)
            return found
        event = follower.take()
        if event is None:
            await follower.news.wait()
        return () if event is None else (event,)

    async def _begin_to_read(self, follower: _Follower) -> Sequence[Gap]:
        """From here on, what is published waits in the queue, or sends the follower here again."""
        follower.behind = False
        oldest, newest = await self._range()
        if self._newest is None:
            self._newest = newest
        follower.reading = newest
        before = min(oldest, newest + 1) - 1
        if before <= follower.last <= newest:
            return ()
        follower.last = newest if follower.last > newest else before
        return (Gap(follower.last),)

    async def _range(self) -> tuple[int, int]:
        failures = BackOff()
        while True:
            try:
                return await self._store.event_range()
            except StoreUnavailable:
                await self._wait(failures)

    async def _events(self, after: int, session_id: str | None) -> Sequence[SessionEvent]:
        failures = BackOff()
        while True:
            try:
                return await self._store.events(after=after, session_id=session_id, limit=self._page)
            except StoreUnavailable:
                await self._wait(failures)

    async def _is_over(self, session_id: str) -> bool:
        """Whether no event of it can follow those that are written now."""
        failures = BackOff()
        while True:
            try:
                session = await self._store.get(session_id)
                return session is None or session.is_final
            except StoreUnavailable:
                await self._wait(failures)

    async def _wait(self, failures: BackOff) -> None:
        await pause(self._clock, failures.failed(), self._closed)
        if self._closed.is_set():
            raise _Closed


class _Closed(Exception):
    """The feed was closed while somebody waited for the store."""


class _Follower:
    """One stream: its position, and what waits for it."""

    def __init__(self, room: int) -> None:
        self.last = 0
        self.behind = True
        self.reading: int | None = (
            None  # the store's newest number when reading began; None: it lives on what is published
        )
        self.waiting: deque[SessionEvent] = deque()
        self.news = asyncio.Event()
        self._room = room

    def give(self, event: SessionEvent) -> None:
        if len(self.waiting) >= self._room:
            self.fall_behind()
            return
        self.waiting.append(event)
        self.news.set()

    def fall_behind(self) -> None:
        """It reads the store next."""
        self.behind = True
        self.waiting.clear()
        self.news.set()

    @property
    def has_caught_up(self) -> bool:
        return not self.behind and self.reading is None

    def has_read(self, found: Sequence[SessionEvent]) -> None:
        """A page from the store; an empty one is the last."""
        if found:
            self.last = found[-1].number
        elif self.reading is not None:
            self.last = max(self.last, self.reading)  # all up to there was read, even what is not of this session
            self.reading = None

    def take(self) -> SessionEvent | None:
        """The next event that it has not had yet; None when nothing waits."""
        while self.waiting:
            event = self.waiting.popleft()
            if event.number > self.last:
                self.last = event.number
                return event
        self.news.clear()
        return None


def _ends(event: SessionEvent | Gap, session_id: str | None) -> bool:
    if session_id is None or isinstance(event, Gap):
        return False
    return event.kind == "status" and event.data.get("state") in FINAL_STATES

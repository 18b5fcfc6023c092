"""Events as server-sent events (the WHATWG's HTML standard, 9.2), with replay from the store."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.feed import Gap
from pulumi_atlas.runtime.http.answers import caller_of, problems
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.problem import Refusal

__all__ = ["StillMay", "Streams", "routes"]

Asking = Annotated[Caller, Depends(caller_of)]
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_NUMBER = r"^[0-9]{1,18}$"
LastHeader = Annotated[str | None, Header(pattern=_NUMBER)]
LastQuery = Annotated[str | None, Query(alias="last_event_id", pattern=_NUMBER)]

#: Whether who opened the stream may still see it.
StillMay = Callable[[Caller], Awaitable[bool]]

_RETRY_MS = 3000
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "A stream of events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


class Streams:
    """The open streams of one process: how many there are, in all and of each caller."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._of: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """A place for one more. Raises Refusal (503) when there is none."""
        one = (caller.role, caller.ident)
        if self._of.total() >= self._bounds.streams or self._of[one] >= self._bounds.streams_each:
            raise Refusal(503, "there are too many streams of events", slug="too-many-streams", retry_after_s=10)
        self._of[one] += 1
        try:
            yield
        finally:
            self._of[one] -= 1
            if not self._of[one]:
                del self._of[one]


def routes(companion: Companion, bounds: Bounds, streams: Streams, still_may: StillMay) -> APIRouter:
    """The router, for this companion."""
    watch = _Watch(companion, bounds, streams, still_may)
    router = APIRouter(prefix="/v1", tags=["events"])

    @router.get("/events", response_class=Response, responses=_STREAM | problems())
    async def all_events(caller: Asking, last_event_id: LastHeader = None, in_query: LastQuery = None) -> Response:
        """What happens to all sessions, from now on or behind `Last-Event-ID`."""
        after = _after(last_event_id, in_query)
        if after is None:
            _, after = await companion.store.event_range()
        return watch.stream(caller, after)

    @router.get("/sessions/{session_id}/events", response_class=Response, responses=_STREAM | problems(404, 410))
    async def session_events(
        session_id: Id, caller: Asking, last_event_id: LastHeader = None, in_query: LastQuery = None
    ) -> Response:
        """What happens to one session. Without `Last-Event-ID` it begins with how the session is. It ends with the session."""
        after = _after(last_event_id, in_query)
        if after is None:
            _, newest = await companion.store.event_range()
            session = await companion.get(session_id)
            return watch.stream(caller, newest, session, _sse(newest, "status", companion.show(session)))
        session = await companion.get(session_id)
        if session.is_final and not await companion.store.events(after=after, session_id=session_id, limit=1):
            raise Refusal(410, "the session has ended, and nothing happened to it since", slug="session-gone")
        return watch.stream(caller, after, session)

    return router


def _after(header: str | None, query: str | None) -> int | None:
    """Behind which number to go on. The header counts: a browser that connects again repeats the query of its beginning."""
    found = header or query
    return None if found is None else int(found)


@dataclass(frozen=True, slots=True)
class _Watch:
    """What every stream needs."""

    companion: Companion
    bounds: Bounds
    streams: Streams
    still_may: StillMay

    def stream(
        self, caller: Caller, after: int, session: Session | None = None, first: ServerSentEvent | None = None
    ) -> Response:
        """The events behind `after`, of one session or of all; `first` before them."""
        told = self._told(caller, after, session, first)
        return _Events(told, self.streams.place(caller), self.bounds.send_s)

    async def _told(
        self, caller: Caller, after: int, session: Session | None, first: ServerSentEvent | None
    ) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(id=str(after), retry=_RETRY_MS)
        if first is not None:
            yield first
        if first is not None and session is not None and session.is_final:
            return
        follow = self.companion.feed.follow(after, None if session is None else session.id)
        async with aclosing(_with_comments(follow, self.bounds.comment_s)) as coming:
            async for one in coming:
                if not await self.still_may(caller):
                    return
                yield ServerSentEvent(comment="") if one is None else _event(one)
        if self.companion.draining:
            yield ServerSentEvent(retry=random.randint(1000, 5000))  # so that not all come back at once


class _Events(EventSourceResponse):
    """A stream that takes its place when it begins. It ends with the feed, so the library need not look for signals."""

    def __init__(
        self, told: AsyncIterator[ServerSentEvent], place: AbstractContextManager[None], send_s: float
    ) -> None:
        super().__init__(told, ping=0, send_timeout=send_s)
        self._place = place

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with self._place:
            await super().__call__(scope, receive, send)

    @staticmethod
    async def _listen_for_exit_signal() -> None:
        await asyncio.Event().wait()


async def _with_comments(
    follow: AsyncIterator[SessionEvent | Gap], every_s: float
) -> AsyncGenerator[SessionEvent | Gap | None, None]:
    """The events, and None whenever there was none for so long."""
    async with aclosing(follow) as events:  # type: ignore[type-var]
        coming = asyncio.ensure_future(anext(events, _END))
        try:
            while True:
                done, _ = await asyncio.wait([coming], timeout=every_s)
                if not done:
                    yield None
                    continue
                one = coming.result()
                if one is _END:
                    return
                coming = asyncio.ensure_future(anext(events, _END))
                yield one
        finally:
            coming.cancel()
            await asyncio.wait([coming])


_END: Any = object()


def _event(one: SessionEvent | Gap) -> ServerSentEvent:
    if isinstance(one, Gap):
        return _sse(one.number, "gap", {})
    whose = {} if one.session_id is None else {"id": one.session_id}
    return _sse(
        one.number, one.kind, {**whose, "at": round(one.at, 3), "actor": one.actor, "cause": one.cause, **one.data}
    )


def _sse(number: int, kind: str, data: Any) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data, separators=(",", ":"), allow_nan=False), event=kind, id=str(number))

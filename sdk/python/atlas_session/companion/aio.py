"""The companion's client for asyncio."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from atlas_session.companion import _answers, _requests, _retry
from atlas_session.companion._answers import Answer
from atlas_session.companion._clock import SYSTEM, Clock
from atlas_session.companion._connection import Ticket
from atlas_session.companion._follow import Follower
from atlas_session.companion._open import Core, new_idempotency_key, with_key_to_repeat
from atlas_session.companion._requests import Request
from atlas_session.companion._transport import Stream
from atlas_session.companion.errors import BadAnswer, Busy, CompanionError, Unreachable
from atlas_session.companion.heartbeat import AsyncHeartbeat
from atlas_session.companion.values import Event, Session

__all__ = ["AsyncCompanionClient"]

T = TypeVar("T")


class AsyncCompanionClient:
    """A companion's sessions, from asyncio. The verbs, arguments and errors are those of `CompanionClient`.

    ::

        async with AsyncCompanionClient("https://companion.example", key=key) as companion:
            session = await companion.open_session(template="notebook", owner="user-7")
            async with aclosing(companion.events(session.id)) as events:
                async for event in events:
                    print(event.event, event.data)

    Requests run in `threads` threads of its own, so that nothing blocks the loop; more at once wait their turn. Each stream
    of events has one thread to itself. A verb that is cancelled ends at once, and its request is aborted: it may or may not
    have been done.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        key: str | None = None,
        allow_http: bool = False,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 15.0,
        quiet_timeout_s: float = 45.0,
        attempts: int = 4,
        threads: int = 4,
        tls: ssl.SSLContext | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._core = Core(
            base_url,
            key,
            allow_http=allow_http,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            quiet_timeout_s=quiet_timeout_s,
            attempts=attempts,
            tls=tls,
            clock=clock,
        )
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="atlas-companion")

    def __repr__(self) -> str:
        return f"AsyncCompanionClient({self._core.endpoint.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections and threads. What is under way ends with a RuntimeError. May be called twice."""
        self._core.transport.close()
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    async def open_session(
        self,
        *,
        template: str | None = None,
        spec: Mapping[str, Any] | None = None,
        owner: str | None = None,
        idle_ttl_s: float | None = None,
        max_lifetime_s: float | None = None,
        warn_before_s: float | None = None,
        on_idle: Literal["terminate", "stop"] | None = None,
        paused_ttl_s: float | None = None,
        budget: float | None = None,
        auth: Literal["bearer", "signed_url", "none"] | None = None,
        labels: Mapping[str, str] | None = None,
        wait: Literal["ready"] | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """As `CompanionClient.open_session`. Give an `idempotency_key` to repeat it after it was cancelled."""
        name = idempotency_key if idempotency_key is not None else new_idempotency_key()
        lease = {
            "idle_ttl_s": idle_ttl_s,
            "max_lifetime_s": max_lifetime_s,
            "warn_before_s": warn_before_s,
            "on_idle": on_idle,
            "paused_ttl_s": paused_ttl_s,
            "budget": budget,
            "auth": auth,
            "labels": None if labels is None else dict(labels),
        }
        request = _requests.open_session(template, spec, owner, name, lease=lease, wait=wait, timeout_s=timeout_s)
        try:
            return await self._session(request)
        except (Unreachable, Busy, BadAnswer) as error:
            with_key_to_repeat(error, name)
            raise

    async def get_session(
        self, session_id: str, *, wait: Literal["ready"] | None = None, timeout_s: float | None = None
    ) -> Session:
        """As `CompanionClient.get_session`."""
        return await self._session(_requests.get_session(session_id, wait, timeout_s))

    async def list_sessions(self, *, owner: str | None = None, status: str | None = None) -> AsyncIterator[Session]:
        """As `CompanionClient.list_sessions`."""
        cursor, seen = None, set[str]()
        while True:
            request = _requests.list_sessions(owner, status, cursor)
            page = _answers.page(request, await self._ask(request))
            for session in page.sessions:
                yield session
            cursor = page.next_cursor
            if cursor is None:
                return
            if cursor in seen:
                raise BadAnswer(f"{request}: the list goes round in circles")
            seen.add(cursor)

    async def touch(self, session_id: str, *, source: str = "client", idle_s: float = 0.0, count: int = 1) -> Session:
        """As `CompanionClient.touch`."""
        return await self._session(_requests.touch(session_id, source, idle_s, count))

    async def extend(self, session_id: str, seconds: int) -> Session:
        """As `CompanionClient.extend`."""
        return await self._session(_requests.extend(session_id, seconds))

    async def pause(self, session_id: str) -> Session:
        """As `CompanionClient.pause`."""
        return await self._session(_requests.pause(session_id))

    async def resume(self, session_id: str) -> Session:
        """As `CompanionClient.resume`."""
        return await self._session(_requests.resume(session_id))

    async def rotate(self, session_id: str) -> Session:
        """As `CompanionClient.rotate`."""
        return await self._session(_requests.rotate(session_id))

    async def sign_url(
        self,
        session_id: str,
        path: str | None = None,
        *,
        port: str | int | None = None,
        url: str | None = None,
        expires_in_s: int = 600,
        method: str | None = None,
        prefix: bool = False,
        not_before: int | None = None,
        address: str | None = None,
        single_use: bool = False,
        form: Literal["url", "path"] = "url",
    ) -> str:
        """As `CompanionClient.sign_url`."""
        fields = {
            "path": path,
            "port": None if port is None else str(port),
            "url": url,
            "expires_in_s": expires_in_s,
            "method": method,
            "prefix": prefix or None,
            "not_before": not_before,
            "address": address,
            "single_use": single_use or None,
            "form": None if form == "url" else form,
        }
        request = _requests.sign_url(session_id, fields)
        return _answers.signed_url(request, await self._ask(request))

    async def close_session(self, session_id: str) -> Session:
        """As `CompanionClient.close_session`."""
        return await self._session(_requests.close_session(session_id))

    def events(self, session_id: str, *, last_event_id: str | None = None) -> AsyncGenerator[Event, None]:
        """As `CompanionClient.events`. Leave the loop through `contextlib.aclosing`, or the stream stays until it is collected."""
        return self._follow(Follower(session_id, last_event_id, attempts=self._core.attempts))

    def heartbeat(
        self,
        session_id: str,
        *,
        on_gone: Callable[[str], object],
        interval_s: float = 20.0,
        source: str = "client",
        active: Callable[[], bool | Awaitable[bool]] | None = None,
        on_warning: Callable[[Session], object] | None = None,
    ) -> AsyncHeartbeat:
        """A loop in a task that touches the session while it is in use; see `AsyncHeartbeat`. Not yet started."""
        return AsyncHeartbeat(
            self._beat,
            session_id,
            on_gone=on_gone,
            interval_s=interval_s,
            source=source,
            active=active,
            on_warning=on_warning,
            clock=self._core.clock,
        )

    async def _session(self, request: Request) -> Session:
        return _answers.session(request, await self._ask(request))

    async def _ask(self, request: Request) -> Answer:
        core, attempt = self._core, 0
        while True:
            attempt += 1
            try:
                return core.check(request, await self._send(request))
            except CompanionError as error:
                chance = core.clock.random()
                pause = _retry.pause_s(request, error, attempt=attempt, attempts=core.attempts, chance=chance)
                if pause is None:
                    raise
            await core.clock.sleep(pause)

    async def _beat(self, request: Request) -> Session:
        return _answers.session(request, self._core.check(request, await self._send(request)))

    async def _send(self, request: Request) -> Answer:
        self._core.transport.check_open()
        ticket = Ticket()
        return await _in_thread(self._threads, ticket, lambda: self._core.transport.send(request, ticket))

    async def _follow(self, follower: Follower) -> AsyncGenerator[Event, None]:
        while not follower.over:
            error: CompanionError | None = None
            line = _Line(self._core, follower)
            try:
                await line.begin()
                while not follower.over and (piece := await line.read()):
                    for event in follower.feed(piece):
                        yield event
            except CompanionError as failure:
                error = failure
            finally:
                line.close()
            if not follower.over:
                await self._core.clock.sleep(follower.lost(error, chance=self._core.clock.random()))


class _Line:
    """One connection of a follower, with its thread. Whatever was under way, `close` ends it, without waiting for it."""

    def __init__(self, core: Core, follower: Follower) -> None:
        self._core, self._follower = core, follower
        self._ticket = Ticket()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="atlas-events")
        self._stream: Stream | None = None

    async def begin(self) -> None:
        request, core = self._follower.request, self._core
        answer = await _in_thread(self._thread, self._ticket, lambda: self._open(request))
        streaming = self._stream is not None
        self._follower.begin(answer, streaming=streaming, key=core.endpoint.key, now=core.clock.wall())

    async def read(self) -> bytes:
        stream = self._stream
        return b"" if stream is None else await _in_thread(self._thread, self._ticket, stream.read)

    def close(self) -> None:
        self._ticket.abort()
        self._thread.submit(self._end)
        self._thread.shutdown(wait=False)

    def _open(self, request: Request) -> Answer:
        answer, self._stream = self._core.transport.open(request, self._ticket)
        return answer

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()


async def _in_thread(threads: ThreadPoolExecutor, ticket: Ticket, work: Callable[[], T]) -> T:
    """What `work` gives, from a thread. Cancelled, it aborts the request, so that the thread is free again soon."""
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    except asyncio.CancelledError:
        ticket.abort()
        raise

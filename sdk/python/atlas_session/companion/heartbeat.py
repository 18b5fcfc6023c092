"""A heartbeat: keeps a session alive while it is in use, and tells its owner when it is gone."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from atlas_session.companion._clock import Clock
from atlas_session.companion._connection import Ticket
from atlas_session.companion._requests import Request
from atlas_session.companion._rhythm import LOG, Rhythm
from atlas_session.companion._transport import ClientClosed
from atlas_session.companion.errors import CompanionError
from atlas_session.companion.values import Session

__all__ = ["AsyncHeartbeat", "Heartbeat"]


class Heartbeat:
    """A heartbeat in a daemon thread, from `CompanionClient.heartbeat`.

    ::

        beat = companion.heartbeat(session.id, on_gone=lambda reason: app.close(reason), active=app.is_used)
        beat.start()
        ...
        beat.stop()  # or: with companion.heartbeat(…):

    Every `interval_s` seconds, ±15 %, it asks `active` whether the session was in use just now (always, without one). When it
    was, it touches the session; when not, it only reads it, which is no activity. Failures are tried again after at most a
    minute, or what the companion asks for, and what was not reported then is reported later with its age. After the
    machine was suspended it beats at once.

    `on_gone` is called once, with ``no_such_session``, ``ended``, ``not_allowed``, or the status (``terminating``,
    ``terminated``, ``failed``, ``irrevocable``); the loop ends with it. An outage, however long, is none of these.
    `on_warning` is called with the session when its deadline is near, once for each deadline. Both run in the loop's thread;
    what they raise is logged. Starting it after it ended does nothing.
    """

    def __init__(
        self,
        send: Callable[[Request, Ticket], Session],
        session_id: str,
        *,
        on_gone: Callable[[str], object],
        interval_s: float,
        source: str,
        active: Callable[[], bool] | None,
        on_warning: Callable[[Session], object] | None,
        clock: Clock,
    ) -> None:
        self._rhythm = Rhythm(session_id, interval_s=interval_s, source=source, clock=clock)
        self._send, self._clock = send, clock
        self._on_gone, self._active, self._on_warning = on_gone, active, on_warning
        self._stop = threading.Event()
        self._ticket = Ticket()
        self._thread = threading.Thread(target=self._run, name=f"atlas-heartbeat-{session_id}", daemon=True)

    @property
    def session(self) -> Session | None:
        """The session as the companion last described it."""
        return self._rhythm.session

    @property
    def gone(self) -> str | None:
        """Why the session is gone, as told to `on_gone`; None while it is not."""
        return self._rhythm.gone

    def start(self) -> Self:
        """Begin, with a beat at once."""
        if self._thread.ident is None:
            self._thread.start()
        return self

    def stop(self) -> None:
        """End the loop, and a beat on its way, and wait for its thread, also while it runs a callback. May be called twice."""
        self._stop.set()
        self._ticket.abort()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stop.is_set() and self._rhythm.gone is None:
            pause = self._rhythm.pause()
            if pause > 0:
                self._clock.wait(self._stop, pause)
                continue
            active = self._active is None or _called(self._active, default=True)
            outcome = self._beat(self._rhythm.request(active=bool(active)))
            if outcome is None or self._stop.is_set():
                return
            warned = self._rhythm.settle(outcome)
            if warned is not None and self._on_warning is not None:
                _called(self._on_warning, warned)
        if self._rhythm.gone is not None:
            _called(self._on_gone, self._rhythm.gone)

    def _beat(self, request: Request) -> Session | Exception | None:
        """What came of it; None when the client was closed, which ends the loop."""
        try:
            return self._send(request, self._ticket)
        except CompanionError as error:
            return error
        except ClientClosed:
            LOG.info("a heartbeat ends, since its client was closed")
            return None
        except Exception as error:  # noqa: BLE001 (a loop that dies unseen would cost the session)
            LOG.exception("a heartbeat met an error that was not foreseen")
            return error


class AsyncHeartbeat:
    """A heartbeat as a task, from `AsyncCompanionClient.heartbeat`; what it does is said at `Heartbeat`.

    ::

        async with companion.heartbeat(session.id, on_gone=app.close, active=app.is_used):
            await app.serve()

        reason = await companion.heartbeat(session.id, on_gone=app.close).run()  # in a task group of your own

    `active`, `on_gone` and `on_warning` may be coroutine functions.
    """

    def __init__(
        self,
        send: Callable[[Request], Awaitable[Session]],
        session_id: str,
        *,
        on_gone: Callable[[str], object],
        interval_s: float,
        source: str,
        active: Callable[[], bool | Awaitable[bool]] | None,
        on_warning: Callable[[Session], object] | None,
        clock: Clock,
    ) -> None:
        self._rhythm = Rhythm(session_id, interval_s=interval_s, source=source, clock=clock)
        self._send, self._clock = send, clock
        self._on_gone, self._active, self._on_warning = on_gone, active, on_warning
        self._task: asyncio.Task[str | None] | None = None

    @property
    def session(self) -> Session | None:
        """The session as the companion last described it."""
        return self._rhythm.session

    @property
    def gone(self) -> str | None:
        """Why the session is gone, as told to `on_gone`; None while it is not."""
        return self._rhythm.gone

    def start(self) -> Self:
        """Begin in a task of the running loop, with a beat at once."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self.run())
        return self

    async def stop(self) -> None:
        """Cancel the loop, and a beat or callback on its way, and wait for its task. May be called twice, and from a callback."""
        task = self._task
        if task is None or task is asyncio.current_task():
            return
        task.cancel()
        await asyncio.wait([task])

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def run(self) -> str | None:
        """The loop itself. Returns why the session is gone, after `on_gone` was called; None when the client was closed."""
        while self._rhythm.gone is None:
            pause = self._rhythm.pause()
            if pause > 0:
                await self._clock.sleep(pause)
                continue
            active = self._active is None or await _awaited(self._active, default=True)
            outcome = await self._beat(self._rhythm.request(active=bool(active)))
            if outcome is None:
                return None
            warned = self._rhythm.settle(outcome)
            if warned is not None and self._on_warning is not None:
                await _awaited(self._on_warning, warned)
        await _awaited(self._on_gone, self._rhythm.gone)
        return self._rhythm.gone

    async def _beat(self, request: Request) -> Session | Exception | None:
        try:
            return await self._send(request)
        except CompanionError as error:
            return error
        except ClientClosed:
            LOG.info("a heartbeat ends, since its client was closed")
            return None
        except Exception as error:  # noqa: BLE001 (as above)
            LOG.exception("a heartbeat met an error that was not foreseen")
            return error


def _called(callback: Callable[..., Any], *arguments: Any, default: Any = None) -> Any:
    """What an owner's callback returns; what it raises is logged, and `default` taken."""
    try:
        return callback(*arguments)
    except Exception:  # noqa: BLE001 (the owner's code may raise anything)
        LOG.exception("a callback of a heartbeat failed")
        return default


async def _awaited(callback: Callable[..., Any], *arguments: Any, default: Any = None) -> Any:
    try:
        result = callback(*arguments)
        return await result if inspect.isawaitable(result) else result
    except Exception:  # noqa: BLE001 (the owner's code may raise anything)
        LOG.exception("a callback of a heartbeat failed")
        return default

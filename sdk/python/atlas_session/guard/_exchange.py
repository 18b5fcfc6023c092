"""One HTTP request that was let in: its upload is counted, its answer completed, and it ends when its access does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from atlas_session.guard._answers import added_only, adds_nothing, answer, application_headers
from atlas_session.guard._decide import Admitted, Refused
from atlas_session.guard._facts import Facts
from atlas_session.guard._gate import Gate
from atlas_session.guard._scope import App, Message, Receive, Scope, Send, bytes_of, texts_of

__all__ = ["Exchange", "from_any_thread"]


def from_any_thread(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Calls it in the loop's thread, unless the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


class Exchange:
    """`run` calls the application; an answer that has begun when access ends is cut off."""

    def __init__(self, gate: Gate, admitted: Admitted, facts: Facts, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._admitted = admitted
        self._facts = facts
        self._receive = receive
        self._send = send
        self._plain = adds_nothing(admitted, gate.settings)
        self._task: asyncio.Task[object] | None = None
        self._started = False
        self._ended = False

    async def run(self, app: App, scope: Scope) -> None:
        if not self._gate.can_change:
            await app(scope, self._counted, self._send if self._plain else self._completed)
            return
        self._task, loop = asyncio.current_task(), asyncio.get_running_loop()
        forget = self._gate.connect(self._admitted, lambda: from_any_thread(loop, self._end))
        try:
            await app(scope, self._counted, self._completed)
        except asyncio.CancelledError:
            if not self._ended:
                raise
        finally:
            task, self._task = self._task, None
            forget()
        if self._ended:
            if task is not None and task.uncancel() > 0:
                raise asyncio.CancelledError  # the server wants it to end, too
            if not self._started:
                await self._refuse()

    def _end(self) -> None:
        """In the loop's thread. The application is waiting for something: that ends with CancelledError."""
        if self._task is not None and not self._ended:
            self._ended = True
            self._task.cancel()

    async def _refuse(self) -> None:
        status, headers, body = answer(Refused(403, "revoked"), self._facts, self._gate.settings)
        await self._send({"type": "http.response.start", "status": status, "headers": bytes_of(headers)})
        await self._send({"type": "http.response.body", "body": body})

    async def _counted(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and message.get("body"):
            self._gate.note("upload", self._admitted)
        return message

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = list(given)
        added = added_only(headers, self._admitted, self._gate.settings)
        if added is not None:
            return headers + added
        return bytes_of(application_headers(texts_of(headers), self._admitted, self._facts, self._gate.settings))

    async def _completed(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            if not self._plain:
                message = {**message, "headers": self._headers(message.get("headers", ()))}
        await self._send(message)

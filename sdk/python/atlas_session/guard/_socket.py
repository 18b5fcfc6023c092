"""One WebSocket that was let in: the visitor's messages are counted, and it is closed when its access ends."""

from __future__ import annotations

import asyncio
import contextlib

from atlas_session.guard._credentials import SESSION_PROTOCOL
from atlas_session.guard._decide import Admitted
from atlas_session.guard._exchange import from_any_thread
from atlas_session.guard._facts import Facts
from atlas_session.guard._gate import Gate
from atlas_session.guard._scope import App, Message, Receive, Scope, Send

__all__ = ["POLICY_VIOLATION", "Socket"]

#: RFC 6455 section 7.4.1.
POLICY_VIOLATION = 1008

#: How long a close may take to be written, seconds, once the application has ended: the visitor may not be reading.
_CLOSE_S = 5.0


class _AccessEnded(ConnectionAbortedError):
    """What an application gets that writes to a WebSocket whose access has ended; an OSError, as after a disconnect."""


class Socket:
    """`run` calls the application. Once access has ended it reads a disconnect, and what it sends goes nowhere."""

    def __init__(self, gate: Gate, admitted: Admitted, facts: Facts, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._admitted = admitted
        self._offers_session = SESSION_PROTOCOL in facts.protocols
        self._receive = receive
        self._send = send
        self._closing: asyncio.Task[None] | None = None
        self._done = False

    async def run(self, app: App, scope: Scope) -> None:
        if not self._gate.can_change:
            await app(scope, self._counted, self._named)
            return
        loop = asyncio.get_running_loop()
        forget = self._gate.connect(self._admitted, lambda: from_any_thread(loop, self._end))
        try:
            await app(scope, self._counted, self._named)
        except Exception:
            if self._closing is None:
                raise
        finally:
            self._done = True
            forget()
            if self._closing is not None:
                await self._closed(self._closing)

    def _end(self) -> None:
        """In the loop's thread."""
        if self._closing is None and not self._done:
            self._closing = asyncio.ensure_future(self._close())

    async def _close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # it may be closed already
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "access ended"})

    @staticmethod
    async def _closed(closing: asyncio.Task[None]) -> None:
        await asyncio.wait({closing}, timeout=_CLOSE_S)
        closing.cancel()

    async def _counted(self) -> Message:
        message = await self._receive()
        if self._closing is not None:
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": "access ended"}
        if message["type"] == "websocket.receive":
            self._gate.note("ws", self._admitted)
        return message

    async def _named(self, message: Message) -> None:
        if self._closing is not None:
            raise _AccessEnded("access ended")
        if message["type"] == "websocket.accept" and self._offers_session and not message.get("subprotocol"):
            message = {**message, "subprotocol": SESSION_PROTOCOL}
        await self._send(message)

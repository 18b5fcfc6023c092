"""What is open when access is revoked: it ends at once, also where the application looks away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from atlas_session.guard import Guard
from atlas_session.guard._decide import Admitted
from atlas_session.guard._gate import Gate
from tests.unit.session.guard._kit import (
    DEADLINE_S,
    HOST,
    NOW,
    TOKEN,
    Facts,
    bearer,
    facts,
    linked,
    scope_of,
    settings,
    signed,
)

URL = f"http://{HOST}/data"
WS = f"ws://{HOST}/live"


class Idle:
    def ensure_started(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Connection:
    """One request to a guard; the test is its server, and the application waits until it is told to go on."""

    def __init__(self, app: Any, request: Facts) -> None:
        self.guard = Guard(app, linked("https://companion.example"), clock=lambda: NOW, reporter=lambda gate: Idle())
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        if request.websocket:
            self.incoming.put_nowait({"type": "websocket.connect"})
        else:
            self.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": True})
        self.task = asyncio.ensure_future(self.guard(scope_of(request), self.incoming.get, self.send))

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if message["type"] == "websocket.close":  # as servers do
            self.incoming.put_nowait({"type": "websocket.disconnect", "code": message["code"]})

    def revoke(self) -> None:
        """From another thread, as the link does."""
        gate = self.guard.gate
        thread = threading.Thread(target=gate.replace, args=(replace(gate.verifier, revoked=True),))
        thread.start()
        thread.join()

    async def ended(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.task
        assert not self.guard.gate._live

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


@pytest.mark.parametrize("request_", [facts(URL, bearer()), facts(signed(URL))])
def test_a_request_that_was_not_answered_yet_is_refused(request_: Facts) -> None:
    async def test() -> None:
        waiting = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            waiting.set()
            await asyncio.Event().wait()

        connection = Connection(app, request_)
        await waiting.wait()
        connection.revoke()
        await connection.ended()
        assert connection.sent[0]["status"] == 403 and connection.sent[1]["body"] == b"access denied\n"
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run(test)


def test_an_answer_that_has_begun_is_cut_off() -> None:
    async def test() -> None:
        begun = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            begun.set()
            await asyncio.Event().wait()

        connection = Connection(app, facts(URL, bearer()))
        await begun.wait()
        connection.revoke()
        await connection.ended()
        assert connection.types == ["http.response.start", "http.response.body"]

    run(test)


def test_an_upload_that_is_under_way_ends() -> None:
    async def test() -> None:
        received = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while True:
                await receive()
                received.set()

        connection = Connection(app, facts(URL, bearer(), method="PUT"))
        await received.wait()
        connection.revoke()
        await connection.ended()
        assert connection.sent[0]["status"] == 403

    run(test)


def test_a_server_that_cancels_is_obeyed() -> None:
    async def test() -> None:
        waiting = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            waiting.set()
            await asyncio.Event().wait()

        for revoked_too in (False, True):
            waiting.clear()
            connection = Connection(app, facts(URL, bearer()))
            await waiting.wait()
            if revoked_too:
                connection.revoke()
            connection.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connection.ended()
            assert connection.sent == [] and not connection.guard.gate._live

    run(test)


def test_other_visitors_stay() -> None:
    async def test() -> None:
        go_on = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go_on.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a"})

        connection = Connection(app, facts(URL, bearer()))
        await asyncio.sleep(0)
        gate = connection.guard.gate
        gate.replace(replace(gate.verifier, generation=7, keys={}))  # its token is as good as before
        go_on.set()
        await connection.ended()
        assert connection.sent[0]["status"] == 200

    run(test)


def offered() -> dict[str, str]:
    return {"sec-websocket-protocol": f"atlas-session, atlas-bearer.{TOKEN.token}"}


def test_a_websocket_is_closed_and_its_application_reads_a_disconnect() -> None:
    async def test() -> None:
        accepted, read = asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            accepted.set()
            read.append(await receive())
            with pytest.raises(OSError, match="access ended"):
                await send({"type": "websocket.send", "text": "late"})
            read.append(await receive())

        connection = Connection(app, facts(WS, offered()))
        await accepted.wait()
        connection.revoke()
        connection.incoming.put_nowait({"type": "websocket.receive", "text": "not read any more"})
        await connection.ended()
        assert connection.sent[1:] == [{"type": "websocket.close", "code": 1008, "reason": "access ended"}]
        assert [(message["type"], message["code"]) for message in read] == [("websocket.disconnect", 1008)] * 2
        assert not connection.guard.gate.activity.is_waiting

    run(test)


def test_an_application_that_fails_over_it_is_not_blamed() -> None:
    async def test(revoke: bool) -> None:
        accepted, go_on = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            accepted.set()
            await go_on.wait()
            await send({"type": "websocket.send", "text": "late"})
            raise LookupError("its own mistake")

        connection = Connection(app, facts(WS, offered()))
        await accepted.wait()
        if revoke:
            connection.revoke()
            await asyncio.sleep(0)  # the loop hears of it
        go_on.set()
        await connection.ended()
        assert "websocket.send" not in connection.types and "websocket.close" in connection.types

    asyncio.run(test(revoke=True))
    with pytest.raises(LookupError):
        asyncio.run(test(revoke=False))


def test_a_websocket_that_was_not_accepted_yet_is_refused() -> None:
    async def test() -> None:
        waiting, go_on = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            waiting.set()
            await go_on.wait()
            await send({"type": "websocket.accept"})

        connection = Connection(app, facts(WS, offered()))
        await waiting.wait()
        connection.revoke()
        await asyncio.sleep(0)
        go_on.set()
        await connection.ended()
        assert connection.types == ["websocket.close"]

    run(test)


def test_a_close_that_fails_is_nobodys_fault() -> None:
    async def test() -> None:
        accepted = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            accepted.set()
            await asyncio.Event().wait()

        for error in (OSError("gone"), RuntimeError("closed already")):
            accepted.clear()
            connection = Connection(app, facts(WS, offered()))
            await accepted.wait()

            async def fails(message: Any, error: Exception = error) -> None:
                raise error

            connection.send = fails  # type: ignore[method-assign, assignment]
            connection.revoke()
            await asyncio.sleep(0)
            connection.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connection.ended()

    run(test)


# ---- the gate


def test_what_was_replaced_meanwhile_ends_at_once() -> None:
    gate = Gate(linked("https://companion.example"))
    admitted = Admitted("bearer", None, "", None, token_hash=TOKEN.hash)
    gate.replace(settings(token_hashes=frozenset()).verifier())
    ended: list[str] = []
    forget = gate.connect(admitted, lambda: ended.append("x"))
    assert ended == ["x"]
    forget()
    forget()
    gate.replace(replace(gate.verifier, revoked=True))
    assert ended == ["x"]


def test_each_connection_is_ended_by_what_let_it_in() -> None:
    gate = Gate(linked("https://companion.example", token_hashes=frozenset({"0" * 64, "1" * 64})))
    ended: list[str] = []
    for digit in "01":
        admitted = Admitted("bearer", None, "", None, token_hash=digit * 64)
        gate.connect(admitted, lambda digit=digit: ended.append(digit))  # type: ignore[misc]
    gate.replace(replace(gate.verifier, hashes=frozenset({"1" * 64})))
    assert ended == ["0"]


def test_a_loop_that_is_closed_is_left_alone() -> None:
    from atlas_session.guard._exchange import from_any_thread

    loop = asyncio.new_event_loop()
    loop.close()
    from_any_thread(loop, lambda: None)

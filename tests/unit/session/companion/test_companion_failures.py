"""A companion, or something in its place, that misbehaves: what is raised, what is sent again, and what never gets out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import traceback
from typing import Any

import pytest
from companion_kit import DEADLINE_S, KEY, Face, FakeClock, FakeCompanion, answer, lost, raw, stuck, until, until_async

from atlas_session.companion import (
    AsyncCompanionClient,
    BadAnswer,
    Busy,
    CompanionClient,
    CompanionError,
    NoSuchSession,
    NotAllowed,
    Refused,
    Session,
    SessionEnded,
    Unreachable,
)

SAFE: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("get_session", ("s1",), {}),
    ("touch", ("s1",), {}),
    ("close_session", ("s1",), {}),
    ("open_session", (), {"template": "a"}),
    ("list_sessions", (), {}),
]
UNSAFE: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("extend", ("s1", 5), {}),
    ("pause", ("s1",), {}),
    ("resume", ("s1",), {}),
    ("rotate", ("s1",), {}),
]
HTML = b"<html>not found</html>"
GOOD = b'{"id": "s1", "status": "ready"}'


@pytest.mark.parametrize(
    "misdeed", [lost(done=False), lost(), answer(500), answer(502), answer(503), answer(429), answer(408)]
)
@pytest.mark.parametrize(("verb", "arguments", "options"), SAFE)
def test_what_is_safe_is_sent_again(
    face: Face, companion: FakeCompanion, clock: FakeClock, verb: str, arguments: Any, options: Any, misdeed: Any
) -> None:
    companion.add("s1")
    companion.say(misdeed, misdeed, misdeed)
    getattr(face, verb)(*arguments, **options)
    assert len(companion.requests) == 4
    assert clock.sleeps == [0.125, 0.25, 0.5]


@pytest.mark.parametrize(("verb", "arguments", "options"), SAFE)
def test_and_not_for_ever(face: Face, companion: FakeCompanion, verb: str, arguments: Any, options: Any) -> None:
    companion.add("s1")
    companion.always = lost(done=False)
    with pytest.raises(Unreachable) as caught:
        getattr(face, verb)(*arguments, **options)
    assert len(companion.requests) == 4 and caught.value.sent


@pytest.mark.parametrize(("verb", "arguments", "options"), UNSAFE)
@pytest.mark.parametrize("misdeed", [lost(), answer(500), answer(502), answer(503), answer(504)])
def test_what_is_not_safe_is_sent_once(
    face: Face, companion: FakeCompanion, verb: str, arguments: Any, options: Any, misdeed: Any
) -> None:
    companion.add("s1")
    companion.say(misdeed)
    with pytest.raises((Unreachable, Busy, BadAnswer)):
        getattr(face, verb)(*arguments, **options)
    assert len(companion.requests) == 1


@pytest.mark.parametrize(("verb", "arguments", "options"), UNSAFE)
def test_but_after_429_nothing_was_done(
    face: Face, companion: FakeCompanion, verb: str, arguments: Any, options: Any
) -> None:
    companion.add("s1")
    companion.say(answer(429, Retry_After="1"))
    getattr(face, verb)(*arguments, **options)
    assert len(companion.requests) == 2


def test_an_open_that_fails_says_how_to_repeat_it(face: Face, companion: FakeCompanion) -> None:
    companion.say(*[lost()] * 4)
    with pytest.raises(Unreachable) as caught:
        face.open_session(template="a", idempotency_key="mine")
    assert "idempotency_key='mine'" in str(caught.value) and companion.opened == 1
    assert face.open_session(template="a", idempotency_key="mine").id == "s1" and companion.opened == 1


def test_retry_after_is_waited_for(face: Face, companion: FakeCompanion, clock: FakeClock) -> None:
    companion.add("s1")
    date = "Fri, 15 Jan 2027 08:00:20 GMT"  # 20 s after the clock's beginning
    companion.say(answer(429, Retry_After="7"), answer(503, Retry_After=date))
    face.get_session("s1")
    assert clock.sleeps == [7.125, pytest.approx(20 - 7.125 + 0.25)]


def test_a_long_retry_after_is_left_to_the_caller(face: Face, companion: FakeCompanion, clock: FakeClock) -> None:
    companion.say(answer(503, {"title": "upgrade"}, Retry_After="3600"))
    with pytest.raises(Busy, match="upgrade") as caught:
        face.get_session("s1")
    assert caught.value.retry_after_s == 3600 and clock.sleeps == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NoSuchSession),
        (405, Refused),
        (409, Refused),
        (410, SessionEnded),
        (413, Refused),
        (422, Refused),
        (501, BadAnswer),
    ],
)
def test_each_status_has_its_error_and_is_not_repeated(
    face: Face, companion: FakeCompanion, status: int, kind: type[CompanionError]
) -> None:
    problem = {"type": "https://e.example/x", "title": "No", "detail": "Because.", "status": status, "extra": [1]}
    companion.say(answer(status, problem))
    with pytest.raises(CompanionError, match="Because") as caught:
        face.touch("s1")
    error = caught.value
    assert type(error) is kind and error.status == status
    assert error.problem == {"type": "https://e.example/x", "title": "No", "detail": "Because."}
    assert len(companion.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
@pytest.mark.parametrize(
    ("kind", "body"), [("text/html", HTML), ("", b""), ("application/json", b'{"detail":"Not Found"}')]
)
def test_the_end_of_a_session_is_believed_from_the_companion_only(
    face: Face, companion: FakeCompanion, status: int, kind: str, body: bytes
) -> None:
    companion.say(answer(status, body, kind))
    with pytest.raises(BadAnswer) as caught:
        face.get_session("s1")
    assert caught.value.status == status and "URL" in caught.value.hint


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(face: Face, companion: FakeCompanion, status: int) -> None:
    with FakeCompanion() as elsewhere:
        companion.say(answer(status, Location=elsewhere.url + "/v1/sessions/s1"))
        with pytest.raises(BadAnswer, match="redirect"):
            face.get_session("s1")
        assert elsewhere.connections == 0 and len(companion.requests) == 1


@pytest.mark.parametrize(
    "misdeed",
    [
        answer(200, b"{", "application/json"),
        answer(200, b"null", "application/json"),
        answer(200, b"[]", "application/json"),
        answer(200, b"\xff\xfe", "application/json"),
        answer(200, b"[" * 100_000, "application/json"),
        answer(200, b'{"id": "s1"}', "application/json"),
        answer(200, b'{"id": 1, "status": "ready"}', "application/json"),
        answer(200, b'{"id": "s1", "status": "ready", "deadline": "soon"}', "application/json"),
        answer(200, b'{"id": "s1", "status": "ready", "deadline": NaN}', "application/json"),
        answer(200, b'{"id": "s1", "status": "ready", "deadline": 1e999}', "application/json"),
        answer(200, b'{"id": "s1", "status": "ready", "deadline": ' + b"9" * 400 + b"}", "application/json"),
        answer(200, b'{"id": "s1", "status": "ready", "generation": true}', "application/json"),
        answer(200, b'{"id": "s1", "status": "ready", "urls": ["a"]}', "application/json"),
        answer(200, b'{"id": "s1", "status": "ready", "urls": {"a": 1}}', "application/json"),
        answer(200, b'{"id": "s1", "status": "ready", "token": 5}', "application/json"),
        answer(200, GOOD, "text/html"),
        answer(200, GOOD, Content_Encoding="gzip"),
        answer(204),
        answer(206, GOOD, "application/json"),
        answer(200, GOOD + b" " * (1 << 20), "application/json"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}"),
        raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 200 + b"\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"z" * 70_000 + b"\r\n\r\n"),
    ],
)
def test_an_answer_that_makes_no_sense(face: Face, companion: FakeCompanion, misdeed: Any) -> None:
    companion.say(*[misdeed] * 4)
    with pytest.raises((BadAnswer, Unreachable)):
        face.get_session("s1")
    companion.plan.clear()
    companion.add("s1")
    assert face.get_session("s1").id == "s1", "the next request is not spoiled by it"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\n"
        + GOOD
        + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + GOOD,
        b"HTTP/1.1 20",
    ],
)
def test_an_answer_that_breaks_off_is_none(face: Face, companion: FakeCompanion, data: bytes) -> None:
    companion.add("s1", status="paused")
    companion.say(raw(data), raw(data))
    assert face.get_session("s1").status == "paused"
    assert len(companion.requests) == 3


def test_an_answer_that_repeats_the_key_is_in_no_traceback(face: Face, companion: FakeCompanion) -> None:
    line = f"Authorization: Bearer {KEY}\r\n".encode()
    companion.say(*[raw(line)] * 4)
    with pytest.raises(BadAnswer) as caught:
        face.get_session("s1")
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_huge_answer_is_not_read_to_its_end(face: Face, companion: FakeCompanion) -> None:
    def pour(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                handler.wfile.write(b" " * 100_000)
            companion.violations.append("all of a gigabyte was read")

    misdeed = answer(200)
    misdeed.do = pour
    companion.say(misdeed)
    with pytest.raises(BadAnswer, match="more than"):
        face.get_session("s1")


def test_no_answer_in_time(companion: FakeCompanion, clock: FakeClock) -> None:
    companion.always = stuck()
    with CompanionClient(companion.url, key=companion.key, read_timeout_s=0.05, attempts=2, clock=clock) as client:
        with pytest.raises(Unreachable, match="timed out") as caught:
            client.get_session("s1")
        assert caught.value.sent and len(companion.requests) == 2


def test_an_answer_that_trickles_in_ends_too(companion: FakeCompanion) -> None:
    class Hasty(FakeClock):
        def monotonic(self) -> float:
            self.time += 1.0  # each look at the clock takes a second: 15 of them are the time-out
            return self.time

    def trickle(handler: Any) -> None:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            for letter in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000:
                handler.wfile.write(bytes([letter]))

    misdeed = answer(200)
    misdeed.do = trickle
    companion.say(misdeed)
    with (
        CompanionClient(companion.url, key=companion.key, attempts=1, clock=Hasty()) as client,
        pytest.raises(Unreachable, match="timed out"),
    ):
        client.get_session("s1")


def test_nobody_there(clock: FakeClock) -> None:
    with FakeCompanion() as companion:
        url = companion.url
    with Face("sync", url, key="k", clock=clock) as face:
        for verb, arguments, options in [*SAFE, *UNSAFE]:
            with pytest.raises(Unreachable) as caught:
                getattr(face, verb)(*arguments, **options)
            assert not caught.value.sent
        assert len(clock.sleeps) == 3 * len([*SAFE, *UNSAFE]), "what did not arrive may be sent again"


def test_a_list_that_goes_round_in_circles_ends(face: Face, companion: FakeCompanion) -> None:
    body = b'{"sessions": [{"id": "s1", "status": "ready"}], "next_cursor": "a"}'
    companion.always = answer(200, body)
    with pytest.raises(BadAnswer, match="circles"):
        face.list_sessions()
    assert len(companion.requests) == 2


def test_no_error_or_log_line_holds_the_key_or_a_token(
    face: Face, companion: FakeCompanion, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = f"atlas_{'s' * 43}"
    said = f"{token} {'x' * 264}{companion.key} Bearer {token} \x1b[31m\n{token}" + "y" * 1000
    problem = dict.fromkeys(("type", "title", "detail", "instance"), said)
    misdeeds = [answer(status, problem) for status in (400, 401, 403, 404, 409, 410, 422, 501)]
    misdeeds += [answer(503, problem, Retry_After="999"), answer(429, problem, Retry_After="999")]
    misdeeds += [answer(200, json_of(token)), answer(302, problem, Location=f"https://e.example/{companion.key}")]
    for misdeed in misdeeds:
        companion.say(misdeed)
        with pytest.raises(CompanionError) as caught:
            face.touch("s1")
        error = caught.value
        shown = [str(error), repr(error), repr(error.problem), "".join(traceback.format_exception(error))]
        for text in shown:
            assert companion.key not in text and token not in text and "\x1b" not in text
            assert companion.key[:12] not in text, "not even a part of it, where the text was cut"
        assert all(len(value) <= 300 for value in error.problem.values())
    assert companion.key not in caplog.text


def json_of(token: str) -> bytes:
    return b'{"id": "s1", "token": "%b"}' % token.encode()


def test_a_verb_that_is_cancelled_leaves_the_client_usable(companion: FakeCompanion) -> None:
    async def main() -> None:
        async with AsyncCompanionClient(companion.url, key=companion.key, threads=1, read_timeout_s=3600) as client:
            companion.add("s1")
            await client.get_session("s1")
            companion.say(stuck())
            task = asyncio.create_task(client.touch("s1"))
            await until_async(lambda: len(companion.requests) == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            session = await asyncio.wait_for(client.get_session("s1"), DEADLINE_S)
            assert isinstance(session, Session), "its only thread is free again"

    asyncio.run(main())


def test_closing_ends_what_is_under_way(companion: FakeCompanion) -> None:
    async def main() -> None:
        client = AsyncCompanionClient(companion.url, key=companion.key, read_timeout_s=3600)
        companion.always = stuck()
        tasks = [asyncio.create_task(client.touch("s1")) for _ in range(3)]
        await until_async(lambda: len(companion.requests) == 3)
        await asyncio.wait_for(client.aclose(), DEADLINE_S)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result).__mro__[1] for result in results] == [RuntimeError] * 3

    asyncio.run(main())


def test_an_answer_that_nobody_asked_for_is_never_taken(client: CompanionClient, companion: FakeCompanion) -> None:
    forged = b'{"id": "s1", "status": "failed"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "

    def twice(handler: Any) -> None:
        handler.wfile.write(head + b"%d\r\n\r\n%b" % (len(GOOD), GOOD))
        handler.wfile.write(
            (head + b"%d\r\n\r\n%b" % (len(forged), forged)) * 500
        )  # more than one buffer of the client

    misdeed = answer(200)
    misdeed.do = twice
    companion.add("s1")
    companion.say(misdeed)
    client.get_session("s1")
    until(lambda: client._core.transport._kept[0][0].is_stale())
    assert client.get_session("s1").status == "ready"


def test_a_client_from_before_a_fork_serves_both(client: CompanionClient, companion: FakeCompanion) -> None:
    companion.add("s1")
    client.get_session("s1")
    kept = client._core.transport
    kept._pid = os.getpid() + 1  # as a child sees it
    client.get_session("s1")
    assert companion.connections == 2, "the parent's connection is not used by the child"

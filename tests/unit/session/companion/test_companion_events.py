"""Events: parsed as the standard says, followed over losses, and ended with the session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from typing import Any

import pytest
from companion_kit import DEADLINE_S, Face, FakeClock, FakeCompanion, answer, lost, until, until_async

from atlas_session.companion import (
    AsyncCompanionClient,
    BadAnswer,
    Busy,
    CompanionClient,
    Event,
    NoSuchSession,
    NotAllowed,
    Refused,
    Unreachable,
)
from atlas_session.companion._follow import Follower
from atlas_session.companion._sse import Parser, TooLong
from atlas_session.companion.errors import CompanionError

OVER = {"id": "s1", "status": "terminated"}


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\n", [("", "message", "a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "message", "a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", [("", "message", "a"), ("", "message", "b"), ("", "message", "c")]),
        (b"data: a\rdata: b\ndata: c\r\n\r\n", [("", "message", "a\nb\nc")]),
        (b"data\n\ndata\ndata\n\ndata:\n", [("", "message", ""), ("", "message", "\n")]),
        (
            b"data:test\n\ndata: test\n\ndata:  test\n\n",
            [("", "message", "test"), ("", "message", "test"), ("", "message", " test")],
        ),
        (b": a comment\n\n:\n\n", []),
        (b"event: x\n\ndata: a\n\n", [("", "message", "a")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("", "x", "a"), ("", "message", "b")]),
        (
            b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            [("1", "message", "a"), ("1", "message", "b"), ("", "message", "c")],
        ),
        (b"id: 1\0\ndata: a\n\n", [("", "message", "a")]),
        (b"data : a\nDATA: b\n data: c\n\n", []),
        (b"data: a:b: c\n\n", [("", "message", "a:b: c")]),
        (b"data: \xff\xc3\n\n", [("", "message", "\ufffd\ufffd")]),
        (b"data: a\xe2\x80\xa8b\x0bc\x0cd\x85\n\n", [("", "message", "a\u2028b\x0bc\x0cd\ufffd")]),
        (b"data: half", []),
        (b"data: half\n", []),
    ],
)
def test_the_standards_cases(stream: bytes, expected: list[tuple[str, str, str]]) -> None:
    assert Parser().feed(stream) == expected
    parser = Parser()
    assert [message for byte in stream for message in parser.feed(bytes([byte]))] == expected


@pytest.mark.parametrize(
    ("line", "kept"), [("10", 10), ("010", 10), ("-1", None), ("1.5", None), ("1e3", None), ("", None), ("٣", None)]
)
def test_the_retry_of_the_server(line: str, kept: int | None) -> None:
    parser = Parser()
    parser.feed(f"retry: {line}\n".encode())
    assert parser.retry_ms == kept


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_byte_order_mark_may_come_in_pieces(cut: int) -> None:
    stream = b"\xef\xbb\xbf\ndata: a\n\n"
    parser = Parser()
    assert parser.feed(stream[:cut]) + parser.feed(stream[cut:]) == [("", "message", "a")]


def test_an_id_counts_from_the_blank_line_on_also_without_data() -> None:
    parser = Parser("0")
    parser.feed(b"id: 1\n")
    assert parser.last_event_id == "0"
    parser.feed(b"\n")
    assert parser.last_event_id == "1"


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 2000, b"data: aaaa\n" * 200, b": " + b"c" * 2000 + b"\n"])
@pytest.mark.parametrize("size", [1, 100, 4000])
def test_memory_is_bounded(stream: bytes, size: int) -> None:
    parser = Parser(limit=1000)
    with pytest.raises(TooLong):
        for start in range(0, len(stream), size):
            parser.feed(stream[start : start + size])


def test_events_come_until_the_session_has_ended(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    companion.emit("s1", "status", {"id": "s1", "status": "ready"})
    companion.emit("s1", "warning", {"id": "s1", "status": "ready", "deadline": 5})
    companion.emit("s1", "custom", "not json")
    companion.emit("s1", "custom", "null")
    companion.emit("s1", "status", OVER)
    assert face.events("s1") == [
        Event("1", "status", {"id": "s1", "status": "ready"}),
        Event("2", "warning", {"id": "s1", "status": "ready", "deadline": 5}),
        Event("3", "custom", "not json"),
        Event("4", "custom", None),
        Event("5", "status", OVER),
    ]
    assert face.events("s1", last_event_id="5") == [], "it has ended"
    assert companion.requests == ["GET /v1/sessions/s1/events"] * 2
    assert companion.headers[0]["accept"] == "text/event-stream"


def test_a_stream_that_breaks_off_goes_on_behind_the_last_event(
    face: Face, companion: FakeCompanion, clock: FakeClock
) -> None:
    companion.add("s1")
    companion.emit("s1", "status", {"id": "s1", "status": "ready"})
    companion.emit("s1", "cut", {})
    companion.emit("s1", "status", OVER)
    assert [event.id for event in face.events("s1")] == ["1", "2", "3"], "the half event is not given"
    assert [headers.get("last-event-id") for headers in companion.headers] == [None, "2"]
    assert clock.sleeps == [2.25], "3 s, between half and all of it"


def test_one_may_go_on_where_one_stopped(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    for status in ("requested", "provisioning", "ready"):
        companion.emit("s1", "status", {"id": "s1", "status": status})
    first = face.events("s1", most=2)
    companion.emit("s1", "status", OVER)
    rest = face.events("s1", last_event_id=first[-1].id)
    assert [event.id for event in first + rest] == ["1", "2", "3", "4"]


def test_a_gap_is_an_event(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    for _ in range(3):
        companion.emit("s1", "x", {})
    companion.kept_from = 2
    companion.emit("s1", "status", OVER)
    assert [(event.id, event.event) for event in face.events("s1", last_event_id="1")] == [
        ("2", "gap"),
        ("3", "x"),
        ("4", "status"),
    ]


def test_outages_between_events_are_lived_through(face: Face, companion: FakeCompanion, clock: FakeClock) -> None:
    companion.add("s1")
    companion.emit("s1", "cut", {})
    companion.emit("s1", "status", OVER)
    companion.say(lost(done=False))
    misdeeds = [answer(503, Retry_After="5"), answer(500), answer(502), answer(429), *[lost(done=False)] * 20]

    def follow(handler: Any) -> None:
        companion.say(*misdeeds)
        handler._events("s1")

    first = lost()
    first.do, first.done = follow, False
    companion.say(first)
    assert [event.event for event in face.events("s1")] == ["cut", "status"]
    assert len(companion.requests) == 2 + len(misdeeds) + 1
    assert max(clock.sleeps) <= 60 and clock.sleeps[2] == 5 + 6 * 0.75


def test_an_outage_at_the_very_beginning_is_raised(face: Face, companion: FakeCompanion) -> None:
    companion.always = answer(503)
    with pytest.raises(Busy):
        face.events("s1")
    assert len(companion.requests) == 4
    companion.always = lost(done=False)
    with pytest.raises(Unreachable):
        face.events("s1")


@pytest.mark.parametrize(
    ("status", "kind"), [(401, NotAllowed), (403, NotAllowed), (404, NoSuchSession), (422, Refused), (200, BadAnswer)]
)
def test_what_must_be_known_is_raised(
    face: Face, companion: FakeCompanion, status: int, kind: type[CompanionError]
) -> None:
    companion.say(answer(status, {"title": "x"}))
    with pytest.raises(kind):
        face.events("s1")
    assert len(companion.requests) == 1


@pytest.mark.parametrize("status", [204, 410])
def test_no_content_and_gone_are_the_end(face: Face, companion: FakeCompanion, status: int) -> None:
    companion.say(answer(204) if status == 204 else answer(410, {"title": "over"}))
    assert face.events("s1") == []


def test_a_dead_stream_is_begun_anew(companion: FakeCompanion, clock: FakeClock) -> None:
    companion.add("s1")
    companion.emit("s1", "x", {})
    with CompanionClient(companion.url, key=companion.key, quiet_timeout_s=0.05, clock=clock) as client:
        events = client.events("s1")
        assert next(events).id == "1"
        threading.Thread(
            target=lambda: (until(lambda: len(companion.requests) >= 3), companion.emit("s1", "y", {}))
        ).start()
        assert next(events).id == "2"
        events.close()


def test_an_event_without_end_is_refused(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    companion.emit("s1", "x", json.dumps("y" * (1 << 21)))
    with pytest.raises(BadAnswer, match="more than"):
        face.events("s1")


def test_a_stream_that_is_left_waiting_can_be_cancelled(companion: FakeCompanion) -> None:
    companion.add("s1")
    companion.emit("s1", "x", {})

    async def main() -> None:
        async with AsyncCompanionClient(companion.url, key=companion.key) as client:
            seen: list[Event] = []

            async def watch() -> None:
                async with contextlib.aclosing(client.events("s1")) as events:
                    async for event in events:
                        seen.append(event)

            task = asyncio.create_task(watch())
            await until_async(lambda: seen)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until_async(lambda: not [t for t in threading.enumerate() if t.name.startswith("atlas-events")])

    asyncio.run(main())


def test_more_streams_than_threads(companion: FakeCompanion) -> None:
    async def main() -> None:
        async with AsyncCompanionClient(companion.url, key=companion.key, threads=1) as client:
            for number in range(6):
                companion.add(f"s{number}")

            async def watch(id: str) -> list[str]:
                return [event.id async for event in client.events(id)]

            tasks = [asyncio.create_task(watch(f"s{number}")) for number in range(6)]
            await until_async(lambda: len(companion.requests) == 6)
            assert (await client.get_session("s3")).id == "s3", "the verbs' thread is not taken by them"
            for number in range(6):
                companion.set(f"s{number}", status="terminated")
            assert await asyncio.gather(*tasks) == [["1"]] * 6

    asyncio.run(main())


def test_closing_the_client_ends_a_stream_in_another_thread(companion: FakeCompanion) -> None:
    companion.add("s1")
    client = CompanionClient(companion.url, key=companion.key, quiet_timeout_s=3600)
    ended: list[BaseException] = []

    def watch() -> None:
        try:
            list(client.events("s1"))
        except RuntimeError as error:
            ended.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    until(lambda: companion.requests)
    client.close()
    thread.join(DEADLINE_S)
    assert "closed" in str(ended[0])


def test_the_servers_retry_is_obeyed_within_reason() -> None:
    for asked, base in ((b"1000", 1.0), (b"0", 0.5), (b"999999999", 60.0)):
        follower = Follower("s1", None, attempts=1)
        follower.begin(_NOTHING, streaming=True, key="k", now=0)
        follower.feed(b"retry: " + asked + b"\n\n")
        assert follower.lost(None, chance=0.0) == base / 2


_NOTHING: Any = None

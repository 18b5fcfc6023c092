"""Laws of the companion's client: streams of events, answers, and requests that are sent again."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from atlas_session.companion import _answers, _requests, _retry
from atlas_session.companion._answers import Answer
from atlas_session.companion._sse import Message, Parser
from atlas_session.companion.errors import BadAnswer, Busy, CompanionError, Unreachable

#: Streams made of what matters to the parser.
PARTS = st.sampled_from(
    [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\0",
        b"x",
        b"7",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xe2\x80\xa8",
    ]
)
STREAMS = st.lists(PARTS, max_size=60).map(b"".join)
LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
ENDS = st.sampled_from(["\n", "\r", "\r\n"])


def by_the_book(stream: bytes) -> list[Message]:
    """The standard read once more, over the whole stream, in its own words."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    found, kept, kind, data = [], "", "", ""
    for line in re.split("\r\n|\r|\n", text)[:-1]:
        if line == "":
            if data != "":
                found.append(Message(kept, kind or "message", data[:-1]))
            kind = data = ""
            continue
        if line[0] == ":":
            continue
        name, value = line.split(":", 1) if ":" in line else (line, "")
        value = value[1:] if value[:1] == " " else value
        if name == "event":
            kind = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            kept = value
    return found


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 300), max_size=12))
def test_however_a_stream_is_cut_the_events_are_those_of_the_standard(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *[cut for cut in cuts if cut < len(stream)]})
    parser = Parser()
    found = [m for start, end in itertools.pairwise(places) for m in parser.feed(stream[start:end])]
    assert found == by_the_book(stream)


@given(stream=st.binary(max_size=300))
def test_any_bytes_are_read(stream: bytes) -> None:
    one, many = Parser(), Parser()
    assert one.feed(stream) == [m for byte in stream for m in many.feed(bytes([byte]))]
    assert (one.last_event_id, one.retry_ms) == (many.last_event_id, many.retry_ms)


@given(
    events=st.lists(st.tuples(LINE, LINE, st.lists(LINE, min_size=1, max_size=4)), max_size=5),
    end=ENDS,
    bom=st.booleans(),
)
def test_what_is_written_is_read(events: list[tuple[str, str, list[str]]], end: str, bom: bool) -> None:
    stream, expected, last = "\ufeff" if bom else "", [], ""
    for id, kind, data in events:
        lines = [f"id: {id}", f"event: {kind}", *[f"data: {line}" for line in data], ": comment", ""]
        stream += "".join([line + end for line in lines])
        last = last if "\0" in id else id
        expected.append(Message(last, kind or "message", "\n".join(data)))
    assert Parser().feed(stream.encode()) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = [
    "id",
    "status",
    "owner",
    "generation",
    "urls",
    "deadline",
    "warning_at",
    "cost",
    "token",
    "type",
    "title",
    "detail",
]
BODIES = (
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(FIELDS), JSON | st.just("s1"), max_size=8).map(
        lambda value: json.dumps(value).encode()
    )
)
TYPES = st.sampled_from(
    ["application/json", "application/problem+json", "Application/JSON; charset=utf-8", "text/html", ""]
)
RETRY_AFTER = (
    st.none() | st.text(max_size=12) | st.sampled_from(["5", "99999999999", "Fri, 15 Jan 2027 08:00:20 GMT", "-1"])
)


@given(status=st.integers(100, 999), kind=TYPES, body=BODIES, asked=RETRY_AFTER)
def test_any_answer_is_a_session_or_one_of_the_errors(status: int, kind: str, body: bytes, asked: str | None) -> None:
    headers = {"content-type": kind} | ({} if asked is None else {"retry-after": asked})
    request, answer = _requests.get_session("s1"), Answer(status, headers, body)
    error = _answers.refusal(request, answer, key="k" * 20, now=1_800_000_000.0)
    assert (error is None) == (200 <= status < 300)
    if error is not None:
        assert error.status == status and str(error)
        if isinstance(error, Busy) and error.retry_after_s is not None:
            assert error.retry_after_s >= 0
        return
    for read in (_answers.session, _answers.page):
        try:
            read(request, answer)
        except BadAnswer:
            continue


@given(text=st.text(max_size=400), where=st.integers(0, 400), key=st.text("abcdefXYZ012-_", min_size=8, max_size=60))
def test_no_problem_holds_the_key(text: str, where: int, key: str) -> None:
    body = json.dumps({"title": text[:where] + key + text[where:], "detail": key * 3}).encode()
    answer = Answer(422, {"content-type": "application/problem+json"}, body)
    error = _answers.refusal(_requests.get_session("s1"), answer, key=key, now=0.0)
    assert error is not None
    assert key not in str(error) and all(key not in value and len(value) <= 300 for value in error.problem.values())


def _errors() -> st.SearchStrategy[CompanionError]:
    def busy(status: int, after: float | None) -> CompanionError:
        error = Busy("busy", status=status)
        error.retry_after_s = after
        return error

    def away(sent: bool) -> CompanionError:
        error = Unreachable("away")
        error.sent = sent
        return error

    after = st.none() | st.floats(0, 1e6)
    return (
        st.builds(busy, st.sampled_from([429, 503]), after)
        | st.builds(away, st.booleans())
        | st.builds(lambda status: BadAnswer("bad", status=status), st.none() | st.integers(200, 599))
    )


@given(
    error=_errors(),
    safe=st.booleans(),
    attempt=st.integers(1, 30),
    attempts=st.integers(1, 20),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_what_may_have_been_done_is_repeated_only_when_that_is_safe(
    error: CompanionError, safe: bool, attempt: int, attempts: int, chance: float
) -> None:
    request: Any = _requests.touch("s1", "client", 0, 1) if safe else _requests.rotate("s1")
    pause = _retry.pause_s(request, error, attempt=attempt, attempts=attempts, chance=chance)
    if pause is None:
        return
    assert attempt < attempts
    assert safe or (isinstance(error, Unreachable) and not error.sent) or error.status == 429
    asked = (error.retry_after_s or 0.0) if isinstance(error, Busy) else 0.0
    assert asked <= pause <= asked + 8.0 and asked <= 30.0

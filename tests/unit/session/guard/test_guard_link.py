"""What passes between the guard and the companion, step by step, without a thread or a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from atlas_session.guard._decide import Admitted
from atlas_session.guard._gate import Gate
from atlas_session.guard._link import Link, Silent, reporter_for
from atlas_session.guard._transport import Answer, NoAnswer
from tests.unit.session.guard._kit import (
    GUARD_KEY,
    KEY,
    OTHER_TOKEN,
    TOKEN,
    Lines,
    answer_of,
    linked,
    settings,
)

LOG = "atlas_session.guard"
_PUBLIC = Admitted("public", None, "", None)


class World:
    """A link, its clock, and a companion that answers with whatever stands in `answers` (the last one for ever)."""

    def __init__(self, **changes: Any) -> None:
        self.now = 1000.0
        self.requests: list[tuple[str, str, Mapping[str, str], Any]] = []
        self.answers: list[Answer | Exception] = [good()]
        self.gate = Gate(linked("https://companion.example/base", **changes), monotonic=lambda: self.now)
        self.link = Link(self.gate, transport=self.request, monotonic=lambda: self.now, draw=lambda: 1.0)

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        self.requests.append((method, path, headers, None if body is None else json.loads(body)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def step(self, after: float = 0.0) -> float:
        self.now += after
        return self.link.step()

    @property
    def touches(self) -> list[Any]:
        return [body for method, _, _, body in self.requests if method == "POST"]


def good(etag: str | None = None, status: int = 200, **changes: Any) -> Answer:
    headers = {"etag": etag} if etag else {}
    return Answer(status, headers, json.dumps(answer_of(settings(), **changes)).encode())


def bad(status: int, **headers: str) -> Answer:
    """The companion's own refusal."""
    headers = {"content_type": "application/problem+json; charset=utf-8", **headers}
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"{}")


def test_a_guard_without_a_companion_is_silent() -> None:
    assert isinstance(reporter_for(Gate(settings())), Silent)
    assert isinstance(reporter_for(Gate(linked("https://companion.example"))), Link)


def test_it_asks_with_the_guard_key() -> None:
    world = World()
    assert world.step() == 5.0
    ((method, path, headers, body),) = world.requests
    assert (method, path, body) == ("GET", "/v1/sessions/s1/verifier", None)
    assert headers["Authorization"] == f"Bearer {GUARD_KEY}"


def test_a_session_id_is_one_segment() -> None:
    world = World()
    object.__setattr__(world.gate.settings, "session_id", "a/../b?c")
    Link(world.gate, transport=world.request, monotonic=lambda: world.now).step()
    assert world.requests[0][1] == "/v1/sessions/a%2F..%2Fb%3Fc/verifier"


def test_what_it_answers_is_put_into_force() -> None:
    world = World()
    world.answers = [good(token_hashes=[OTHER_TOKEN.hash], generation=4)]
    world.step()
    assert world.gate.verifier.hashes == {OTHER_TOKEN.hash} and world.gate.verifier.generation == 4


def test_nothing_is_sent_when_nothing_has_changed() -> None:
    world = World()
    before = world.gate.verifier
    world.answers = [good('"v1"'), bad(304), good('W/"v2"', generation=1), bad(304)]
    for _ in range(4):
        world.step(15.0)
    asked = [headers.get("If-None-Match") for _, _, headers, _ in world.requests]
    assert asked == [None, '"v1"', '"v1"', 'W/"v2"']
    assert world.gate.verifier == replace(before, generation=1)


def test_nothing_has_changed_is_no_answer_to_who_knows_nothing() -> None:
    world = World()
    world.answers = [bad(304)]
    with Lines(LOG) as lines:
        world.step()
    assert "it answered 304" in lines.text


@pytest.mark.parametrize("etag", ["v1", '"a\r\nb"', '"é"', '"a" "b"', f'"{"x" * 300}"'])
def test_an_etag_that_is_none_is_not_sent_back(etag: str) -> None:
    world = World()
    world.answers = [good(etag)]
    world.step()
    world.step(15.0)
    assert "If-None-Match" not in world.requests[1][2]


@pytest.mark.parametrize(
    "answer",
    [
        NoAnswer("TimeoutError"),
        bad(304),
        bad(200),
        bad(204),
        bad(301, location="https://evil.example"),
        bad(400),
        bad(401),
        bad(403),
        bad(404),
        bad(410, content_type="text/html"),  # a gateway's own page
        bad(410, content_type=""),
        bad(429),
        bad(500),
        bad(503),
        Answer(200, {}, b""),
        Answer(200, {}, b'{"generation": 9, "token_hashes": [], "url_keys": {}}'),
        good(generation=1),  # older than the one in force
    ],
)
def test_while_it_is_away_the_last_verifier_stays(answer: Any) -> None:
    world = World(generation=2)
    world.answers = [good('"v1"', generation=2, token_hashes=[OTHER_TOKEN.hash]), answer]
    world.step()
    kept = world.gate.verifier
    for _ in range(50):
        world.step(40.0)
    assert len(world.requests) == 51
    if answer == bad(304):  # it had an ETag: this is what it is for
        return
    assert world.gate.verifier is kept and kept.hashes == {OTHER_TOKEN.hash}
    world.answers = [good(generation=3)]
    world.step(40.0)
    assert world.gate.verifier.generation == 3


def test_failures_are_said_once_a_minute_and_name_no_key() -> None:
    world = World()
    world.answers = [bad(503)]
    with Lines(LOG) as lines:
        for _ in range(12):
            world.step(10.0)
        world.answers = [good()]
        world.step(40.0)
        world.step(20.0)
    assert lines.texts == [
        "no verifier from the companion (it answered 503); visitors are let in as before",
        "no verifier from the companion (it answered 503); visitors are let in as before",
        "the companion answers again",
    ]
    assert GUARD_KEY not in lines.text


def test_patience_is_kept_when_it_is_asked_for() -> None:
    world = World()
    world.answers = [bad(503, retry_after="12"), good(generation=1)]
    world.step()
    world.step(11.0)
    assert len(world.requests) == 1
    world.step(1.0)
    assert world.gate.verifier.generation == 1


def test_one_busy_moment_does_not_keep_revocation_and_reports_for_minutes() -> None:
    world = World()
    world.answers = [bad(503, retry_after="300"), good(revoked=True)]
    world.step()
    world.gate.activity.note("http", world.now)
    world.step(2.0)
    assert [source["source"] for source in world.touches] == ["http"]
    world.answers = [good(revoked=True)]
    world.step(13.0)
    assert world.gate.verifier.revoked


@pytest.mark.parametrize("answer", [good(revoked=True), bad(410)])
def test_revoked_or_gone_means_nobody(answer: Answer) -> None:
    world = World()
    ended: list[str] = []
    for how, details in (("bearer", {"token_hash": TOKEN.hash}), ("public", {})):
        world.gate.connect(Admitted(how, None, "", None, **details), lambda how=how: ended.append(how))  # type: ignore[arg-type, misc]
    world.answers = [good('"v1"'), answer]
    world.step()
    assert ended == []
    world.step(10.0)
    assert world.gate.verifier.revoked and sorted(ended) == ["bearer", "public"]
    world.step(10.0)
    assert "If-None-Match" not in world.requests[-1][2] or answer.status == 200


def test_activity_is_reported_in_batches() -> None:
    world = World()
    world.step()
    for at, source in ((1001.0, "ws"), (1002.0, "http"), (1003.0, "http")):
        world.gate.activity.note(source, at)
    world.now = 1004.5
    assert world.step() == 0.0  # there is another kind to report
    world.gate.activity.note("http", 1004.6)
    world.step()
    assert world.touches == [
        {"source": "http", "idle_s": 1.5, "count": 2},
        {"source": "ws", "idle_s": 3.5, "count": 1},
    ] or world.touches == [
        {"source": "ws", "idle_s": 3.5, "count": 1},
        {"source": "http", "idle_s": 1.5, "count": 2},
    ]
    world.step(5.0)
    assert len(world.touches) == 2
    for _ in range(3):
        world.step(5.0)
    assert world.touches[2:] == [{"source": "http", "idle_s": pytest.approx(10.0, abs=5), "count": 1}]


def test_a_lost_report_goes_out_with_the_next() -> None:
    world = World()
    world.step()
    world.gate.activity.note("http", 1000.0)
    world.answers = [NoAnswer("TimeoutError")]
    world.step()
    world.gate.activity.note("http", 1001.0)
    world.answers = [bad(503, retry_after="4")]
    world.step(2.0)
    world.answers = [good()]
    world.step(3.0)
    assert len(world.touches) == 2
    world.step(1.0)
    assert world.touches == [
        {"source": "http", "idle_s": 0.0, "count": 1},
        {"source": "http", "idle_s": 1.0, "count": 2},
        {"source": "http", "idle_s": 5.0, "count": 2},
    ]
    assert not world.gate.activity.is_waiting


@pytest.mark.parametrize(
    ("status", "again"), [(401, True), (404, True), (429, True), (500, True), (400, False), (422, False)]
)
def test_a_report_that_will_never_be_taken_is_dropped(status: int, again: bool) -> None:
    world = World()
    world.step()
    world.gate.activity.note("http", 1000.0)
    world.answers = [bad(status)]
    world.step()
    assert world.gate.activity.is_waiting == again


@pytest.mark.parametrize("status", [400, 410, 422])
def test_a_gateways_own_page_says_nothing(status: int) -> None:
    world = World()
    world.step()
    world.gate.activity.note("http", 1000.0)
    world.answers = [bad(status, content_type="text/html")]
    world.step()
    assert world.gate.activity.is_waiting and not world.gate.verifier.revoked


def test_a_report_may_be_told_that_the_session_is_gone() -> None:
    world = World()
    world.step()
    world.gate.activity.note("http", 1000.0)
    world.answers = [bad(410)]
    world.step()
    assert world.gate.verifier.revoked


def test_a_forked_worker_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a real fork: only the process id changes."""
    started: list[Any] = []
    monkeypatch.setattr("threading.Thread.start", lambda thread: started.append(thread))
    world = World()
    world.link.ensure_started()
    world.link.ensure_started()
    assert len(started) == 1
    world.gate.activity.note("http", 1.0)
    monkeypatch.setattr("os.getpid", lambda: -1)
    world.link.ensure_started()
    world.link.ensure_started()
    assert len(started) == 2 and not world.gate.activity.is_waiting
    world.link.stop()
    world.link.ensure_started()
    assert len(started) == 3


def test_a_mistake_does_not_end_the_thread() -> None:
    world = World()

    def broken(*_: Any) -> Answer:
        raise ZeroDivisionError

    world.link._request = broken
    with Lines(LOG) as lines:
        assert world.link._safe_step() == 5.0
    assert lines.texts == ["the guard's link to the companion made a mistake"]


def test_a_mistake_in_a_poll_does_not_keep_reports() -> None:
    world = World()
    real = world.request

    def broken(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = real(method, path, headers, body)
        if method == "GET":
            raise ZeroDivisionError
        return answer

    world.link._request = broken
    world.gate.activity.note("http", world.now)
    with Lines(LOG):
        for _ in range(5):
            world.link._safe_step()
            world.now += 2.0
    assert [method for method, *_ in world.requests].count("GET") == 3  # after 0, 2 and 6 seconds
    assert len(world.touches) == 1


def test_a_mistake_in_a_report_does_not_keep_polls_and_loses_nothing() -> None:
    world = World()
    real = world.request

    def broken(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = real(method, path, headers, body)
        if method == "POST":
            raise ZeroDivisionError
        return answer

    world.link._request = broken
    world.gate.activity.note("http", world.now)
    with Lines(LOG):
        for _ in range(11):
            world.link._safe_step()
            world.now += 1.0
        assert [method for method, *_ in world.requests] == ["GET", "POST", "POST", "POST", "GET"]
        world.link._request = real
        world.now += 40.0
        for _ in range(2):
            world.link._safe_step()
    assert world.touches[-1]["count"] == 1 and not world.link._is_waiting


def test_a_mistake_at_the_end_ends_quietly() -> None:
    world = World()
    world.step()
    world.gate.activity.note("http", 1000.0)

    def broken(*_: Any) -> Answer:
        raise ZeroDivisionError

    world.link._request = broken
    world.link.stop()
    with Lines(LOG) as lines:
        world.link._run(world.link._stopping)
    assert lines.texts == ["the guard's link to the companion made a mistake"]


def test_a_thread_that_does_not_start_refuses_nobody_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    ended: list[int] = []

    def start(thread: Any) -> None:
        if len(started) < 2:
            started.append(None)
            raise RuntimeError("can't start new thread")
        started.append(thread)

    monkeypatch.setattr("threading.Thread.start", start)
    world = World()
    with Lines(LOG) as lines:
        world.link.ensure_started()
        world.gate.activity.note("http", 1.0)
        world.gate.connect(_PUBLIC, lambda: ended.append(1))
        world.link.ensure_started()
        world.link.ensure_started()
        world.link.ensure_started()
    assert len(started) == 3 and world.gate.activity.is_waiting
    assert lines.texts == [
        "the link to the companion did not start (can't start new thread); visitors are let in as before"
    ]
    world.gate.replace(replace(world.gate.verifier, revoked=True))
    assert ended == [1]


def test_a_forked_worker_whose_thread_does_not_start_at_once_begins_anew_only_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("threading.Thread.start", lambda thread: started.append(thread))
    world = World()
    world.link.ensure_started()
    world.gate.activity.note("http", 1.0)

    def failing(thread: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("os.getpid", lambda: -1)
    monkeypatch.setattr("threading.Thread.start", failing)
    world.link.ensure_started()
    assert not world.gate.activity.is_waiting
    world.gate.activity.note("http", 1.0)  # the worker's own
    monkeypatch.setattr("threading.Thread.start", lambda thread: started.append(thread))
    world.link.ensure_started()
    assert len(started) == 2 and world.gate.activity.is_waiting


def test_what_is_left_is_reported_at_the_end() -> None:
    world = World()
    world.step()
    for source in ("http", "ws"):
        world.gate.activity.note(source, 1000.0)
    world.link.stop()
    world.link._run(world.link._stopping)
    assert len(world.touches) == 2
    assert KEY not in [headers for _, _, headers, _ in world.requests]

"""What the guard remembers: used grants, activity; and when it turns to the companion."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_session._frame import b64url
from atlas_session.guard._activity import Activity
from atlas_session.guard._nonces import NonceMemory
from atlas_session.guard._plan import LOOK_S, REPORT_S, LinkPlan, retry_after_s
from atlas_session.guard._transport import REQUEST_S
from atlas_session.guard._verifier import MAX_POLL_S, Verifier, parse_answer
from tests.unit.session.guard._kit import KEY, NOW, TOKEN, answer_of, settings

# ---- nonces


def test_a_nonce_is_used_once_until_it_has_expired() -> None:
    memory = NonceMemory()
    assert memory.spend("a", NOW + 10, NOW)
    assert not memory.spend("a", NOW + 10, NOW + 10)
    assert memory.spend("b", NOW + 1000, NOW + 69)
    assert len(memory) == 2
    assert memory.spend("c", NOW + 1000, NOW + 70)  # "a" is forgotten a minute after it expired
    assert len(memory) == 2


def test_a_full_memory_refuses() -> None:
    memory = NonceMemory(capacity=2)
    assert memory.spend("a", NOW + 1, NOW) and memory.spend("b", NOW + 100, NOW)
    assert not memory.spend("c", NOW + 1, NOW)
    assert memory.spend("c", NOW + 100, NOW + 61)
    assert not memory.spend("b", NOW + 100, NOW + 61)


# ---- activity


def test_activity_is_taken_once_and_given_back_when_it_was_lost() -> None:
    activity = Activity({"http", "ws"})
    assert not activity.is_waiting
    activity.note("http", 1.0)
    activity.note("http", 3.0)
    activity.note("http", 2.0)  # threads
    activity.note("upload", 9.0)
    assert activity.is_waiting
    taken = activity.take()
    assert taken == {"http": (3, 3.0)} and activity.take() == {}
    activity.note("http", 5.0)
    activity.note("ws", 4.0)
    activity.give_back(taken)
    assert activity.take() == {"http": (4, 5.0), "ws": (1, 4.0)}
    activity.note("http", 6.0)
    activity.forget()
    assert not activity.is_waiting


# ---- the plan


def test_a_new_link_asks_at_once_and_then_every_ten_seconds() -> None:
    plan = LinkPlan.begin(100.0)
    assert plan.due(100.0, waiting=True) == "poll"
    plan = plan.polled(101.0)
    assert plan.due(101.0, waiting=False) is None and plan.due(110.9, waiting=False) is None
    assert plan.due(111.0, waiting=False) == "poll"
    plan = plan.polled(111.0, poll_s=3.0)
    assert plan.due(114.0, waiting=False) == "poll"


def test_reports_are_ten_seconds_apart_and_let_polls_go_first() -> None:
    plan = LinkPlan.begin(0.0).polled(0.0)
    assert plan.due(0.0, waiting=False) is None
    assert plan.due(0.0, waiting=True) == "report"
    plan = plan.reported(1.0, more=True)
    assert plan.due(1.0, waiting=True) == "report"
    plan = plan.reported(1.5, more=False)
    assert plan.due(9.9, waiting=True) is None
    assert plan.due(11.5, waiting=True) == "poll"
    assert plan.polled(11.5).due(11.5, waiting=True) == "report"


def test_after_the_first_lost_poll_no_report_comes_between() -> None:
    plan = LinkPlan.begin(0.0).poll_failed(10.0, 1.0)
    assert plan.due(11.0, waiting=True) is None and plan.wait_s(11.0, waiting=True) == 1.0
    assert plan.due(12.0, waiting=True) == "poll"
    plan = plan.poll_failed(12.0, 1.0)
    assert plan.due(13.0, waiting=True) == "report"  # it is away, but perhaps not for reports


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
def test_failures_back_off(draw: float) -> None:
    plan, waits = LinkPlan.begin(0.0), []
    for _ in range(8):
        plan = plan.poll_failed(0.0, draw)
        waits.append(plan.poll_at)
    assert waits == [wait * (0.5 + 0.5 * draw) for wait in (2, 4, 8, 16, 30, 30, 30, 30)]
    assert plan.polled(0.0).poll_failed(0.0, draw).poll_at == waits[0]
    plan = LinkPlan.begin(0.0).report_failed(0.0, draw)
    assert plan.report_at == 2.0 and plan.report_failures == 1


@pytest.mark.parametrize(
    ("asked", "wait"), [(None, 2.0), (0.0, 2.0), (1.0, 2.0), (12.0, 12.0), (120.0, 120.0), (1e9, 300.0)]
)
def test_the_companion_may_ask_for_patience(asked: float | None, wait: float) -> None:
    assert LinkPlan.begin(0.0).report_failed(0.0, 1.0, retry_after_s=asked).report_at == wait
    assert LinkPlan.begin(0.0).poll_failed(0.0, 1.0, retry_after_s=asked).poll_at == min(wait, MAX_POLL_S)


def test_patience_with_polls_does_not_keep_reports() -> None:
    plan = LinkPlan.begin(0.0).poll_failed(10.0, 1.0, retry_after_s=15.0)
    assert plan.due(11.9, waiting=True) is None and plan.wait_s(11.0, waiting=True) == 1.0
    assert plan.due(12.0, waiting=True) == "report"
    assert plan.due(25.0, waiting=True) == "poll"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("²", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}) == seconds
    assert retry_after_s({}) is None


SLOW = st.floats(0.0, REQUEST_S)


@given(
    poll_s=st.floats(1.0, MAX_POLL_S),
    begin=st.floats(0.0, 10.0),
    took=st.lists(SLOW, min_size=40, max_size=40),
    draws=st.lists(st.floats(0.0, 1.0), min_size=40, max_size=40),
    report_fails=st.booleans(),
)
def test_revocation_arrives_within_thirty_seconds_after_one_lost_poll(
    poll_s: float, begin: float, took: list[float], draws: list[float], report_fails: bool
) -> None:
    """Simulated: a poll was answered; a moment later access is revoked; the next poll is lost. There is always activity."""
    now, durations, lots = begin, iter(took), iter(draws)
    plan = LinkPlan.begin(0.0).polled(now, poll_s=poll_s)
    lost = 0
    for _ in range(38):
        due = plan.due(now, waiting=True)
        if due is None:
            wait = plan.wait_s(now, waiting=True)
            assert 0 < wait <= LOOK_S
            now += max(wait, 1e-6)
            continue
        now += next(durations)
        if due == "report":
            plan = plan.report_failed(now, next(lots)) if report_fails else plan.reported(now, more=False)
        elif lost:
            break
        else:
            lost, plan = 1, plan.poll_failed(now, next(lots))
    assert lost and now - begin <= 30.0


def test_a_wait_is_never_long() -> None:
    plan = LinkPlan.begin(0.0).poll_failed(0.0, 1.0, retry_after_s=200.0)
    assert plan.wait_s(1.0, waiting=False) == LOOK_S
    assert plan.polled(0.0, poll_s=3.0).wait_s(1.0, waiting=False) == 2.0
    assert plan.polled(0.0).reported(0.0, more=False).wait_s(REPORT_S, waiting=True) == 0.0


# ---- the companion's answer


def test_an_answer_is_a_verifier() -> None:
    chosen = settings(generation=3)
    assert parse_answer(json.dumps(answer_of(chosen)).encode()) == (chosen.verifier(), 10.0)
    empty = {"generation": 0, "token_hashes": [], "url_keys": {}, "revoked": True}
    assert parse_answer(json.dumps(empty).encode()) == (Verifier(revoked=True), 10.0)


@pytest.mark.parametrize(
    ("poll_s", "every"),
    [(3, 3.0), (2.5, 2.5), (0, 1.0), (-5, 1.0), (60, 15.0), (None, 10.0), ("5", 10.0), (True, 10.0), (math.nan, 10.0),
     (math.inf, 15.0), pytest.param(10**400, 15.0, id="huge"), pytest.param(-(10**400), 1.0, id="-huge"), ([], 10.0)],
)  # fmt: skip
def test_how_often_to_ask_is_bounded(poll_s: Any, every: float) -> None:
    assert parse_answer(json.dumps(answer_of(settings(), poll_s=poll_s)).encode())[1] == every


GOOD = answer_of(settings())
MISSING = object()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(["generation"], [MISSING, None, "1", 1.0, True, -1, 10**12]),
        *itertools.product(["token_hashes"], [MISSING, None, {}, "x", [None], ["x"], [TOKEN.hash.upper()], TOKEN.hash]),
        *itertools.product(
            ["url_keys"],
            [
                MISSING,
                None,
                [],
                {"k 1": b64url(KEY)},
                {"k1": "x"},
                {"k1": b64url(KEY[1:])},
                {"k1": 1},
                {"k1": "é" * 43},
            ],
        ),
        *itertools.product(["revoked"], [MISSING, None, 0, 1, "false", "true"]),
    ],
)
def test_half_an_answer_is_none(name: str, value: Any) -> None:
    changed = {key: given for key, given in {**GOOD, name: value}.items() if given is not MISSING}
    with pytest.raises(ValueError) as caught:
        parse_answer(json.dumps(changed).encode())
    assert b64url(KEY) not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b"1", b"\xff", b"[" * 60_000, json.dumps(GOOD).encode()[:-1], b"<html>"]
)
def test_what_is_no_answer_is_none(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_answer(body)

"""Laws of leases and states: when something ends, and what may follow what."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.models.session import FINAL_STATES, GONE_STATES, Session, SessionState
from pulumi_atlas.rules.sessions import ending, renting
from pulumi_atlas.rules.sessions.lease import Moment, cost_at, deadlines, judge, marks, remaining_s, settled, warned_of
from pulumi_atlas.rules.sessions.states import FOLLOWERS, act_for, may_follow
from pulumi_atlas.runtime.ledger import Live

STATES: tuple[SessionState, ...] = get_args(SessionState)
WALL = 1_767_225_600.0

seconds = st.floats(1, 5000)
maybe = st.none() | seconds


@st.composite
def lives(draw: st.DrawFn, state: SessionState | None = None) -> Live:
    lifetime = draw(maybe)
    session = Session(
        id="s1", state=state or draw(st.sampled_from(STATES)), provider="mock", idle_ttl_s=draw(seconds),
        max_lifetime_s=lifetime, warn_before_s=draw(st.sampled_from([0.0, 1.0, 60.0, 5000.0])),
        on_idle="terminate", paused_ttl_s=draw(seconds), budget=draw(st.none() | st.floats(0.01, 10)),
        created_at=WALL, active_at=WALL + draw(st.floats(0, 100)),
        expires_at=None if lifetime is None else WALL + lifetime, paused_at=draw(st.none() | st.just(WALL)),
        keep_until=draw(st.none() | st.floats(WALL, WALL + 5000)),
        cost_settled=draw(st.floats(0, 5)), cost_per_hour=draw(st.none() | st.floats(0, 50)),
        cost_since=draw(st.none() | st.just(WALL)),
    )  # fmt: skip
    live = Live(session, Moment(WALL + 100, 100.0))
    live.grace_mono = draw(st.none() | st.floats(0, 500))
    return live


def at(mono: float, *, turned: float = 0.0) -> Moment:
    return Moment(WALL + mono + turned, mono)


@given(lives(), st.floats(100, 10_000))
def test_it_ends_at_its_first_deadline_and_never_before(live: Live, mono: float) -> None:
    now = at(mono)
    found = deadlines(live, now)
    assert [one.at for one in found] == sorted(one.at for one in found)
    verdict = judge(live, now)
    assert (verdict.act == "end") == bool(found and found[0].at <= mono)
    if verdict.act == "end":
        assert verdict.deadline == found[0]


@given(lives(), st.floats(100, 10_000))
def test_looking_when_told_to_misses_nothing(live: Live, mono: float) -> None:
    """Between a look and the next nothing becomes due."""
    verdict = judge(live, at(mono))
    if verdict.act != "wait":
        return
    if verdict.look_at is None:
        assert judge(live, at(mono + 1e6)).act == "wait" or not deadlines(live, at(mono))
        return
    assert verdict.look_at > mono
    between = mono + (verdict.look_at - mono) * 0.999
    assert judge(live, at(between)).act == "wait"
    assert judge(live, at(verdict.look_at + 1e-3)).act != "wait"


@given(lives(), st.floats(100, 10_000))
def test_each_deadline_is_warned_of_once(live: Live, mono: float) -> None:
    """However many stand at the same time, warnings come to an end, each with its own identity."""
    seen: list[str] = []
    while (verdict := judge(live, at(mono))).act == "warn":
        assert verdict.deadline is not None
        seen.append(verdict.deadline.identity)
        live.warned = warned_of(live, at(mono), verdict.deadline.identity)
        assert len(seen) <= 4
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(marks(live.warned))


@given(lives("ready"), st.floats(100, 5000), st.floats(0, 50))
def test_a_touch_never_brings_the_idle_end_nearer(live: Live, mono: float, idle_s: float) -> None:
    live.grace_mono = None
    before = {one.kind: one.at for one in deadlines(live, at(mono))}
    live.touch("http", at(mono), idle_s=idle_s)
    after = {one.kind: one.at for one in deadlines(live, at(mono))}
    assert after["idle"] >= before["idle"]
    assert after["idle"] >= mono - idle_s + live.idle_ttl_s - 1e-6
    assert {k: v for k, v in after.items() if k != "idle"} == {k: v for k, v in before.items() if k != "idle"}


@given(lives("ready"), st.floats(100, 5000), st.floats(-4000, 4000))
def test_a_turned_wall_clock_ends_nothing_as_idle(live: Live, mono: float, turned: float) -> None:
    straight = [one for one in deadlines(live, at(mono)) if one.kind == "idle"]
    crooked = [one for one in deadlines(live, at(mono, turned=turned)) if one.kind == "idle"]
    assert straight == crooked


@given(lives(), st.floats(100, 5000))
def test_what_is_gone_has_no_deadline(live: Live, mono: float) -> None:
    if live.state in GONE_STATES:
        assert not deadlines(live, at(mono))
        assert remaining_s(live, at(mono)) is None
    left = remaining_s(live, at(mono))
    assert left is None or left >= 0


@given(
    st.floats(0, 100), st.none() | st.floats(0, 50), st.floats(0, 1e4), st.floats(0, 1e4), st.none() | st.floats(0, 9)
)
def test_settling_changes_no_sum(
    before: float, rate: float | None, first: float, second: float, price: float | None
) -> None:
    row = settled(before, rate, WALL, WALL + first, price)
    assert row["cost_settled"] == cost_at(before, rate, WALL, WALL + first)
    total = cost_at(row["cost_settled"], row["cost_per_hour"], row["cost_since"], WALL + first + second)
    assert total >= row["cost_settled"] >= before
    assert cost_at(before, rate, WALL + 10, WALL) == before


@given(st.sampled_from(STATES), st.sampled_from(STATES))
def test_states_lead_to_an_end_and_never_back_from_it(before: SessionState, after: SessionState) -> None:
    if before in FINAL_STATES:
        assert not may_follow(before, after)
    if before in GONE_STATES and may_follow(before, after):
        assert after in GONE_STATES
    assert may_follow(before, after) == (after in FOLLOWERS[before])
    if may_follow(before, after) and after in FINAL_STATES:
        assert before in GONE_STATES or after == "failed"


def test_every_state_can_reach_an_end_and_works_only_where_work_is() -> None:
    reached: set[Any] = set(FINAL_STATES)
    while more := {state for state in STATES if FOLLOWERS[state] & reached} - reached:
        reached |= more
    assert reached == set(STATES)
    assert {state for state in STATES if act_for(state) == "none"} == {"ready", "paused", *FINAL_STATES}


@given(st.integers(1, 60), st.integers(1, 10), st.floats(400, 5000))
def test_terminates_are_further_and_further_apart_and_never_given_up(attempts: int, tries: int, slow_s: float) -> None:
    again = ending.after_try(attempts, tries=tries, slow_s=slow_s)
    later = ending.after_try(attempts + 1, tries=tries, slow_s=slow_s)
    assert 0 < again.wait_s <= later.wait_s or later.irrevocable
    assert again.irrevocable == (attempts > tries)
    assert again.wait_s <= slow_s


@given(
    st.sampled_from(["no_capacity", "rate_limited", "transport", "provider", "unknown_outcome", "timeout", "validation"]),
    st.integers(1, 50), st.floats(-10, 1000), st.none() | st.floats(0, 500),
)  # fmt: skip
def test_what_may_have_been_rented_is_never_given_up_nor_sent_again(
    kind: Any, attempts: int, left_s: float, retry_after: float | None
) -> None:
    after = renting.after_failure(kind, attempts=attempts, left_s=left_s, retry_after=retry_after)
    assert (after.act == "look") == (kind in ("unknown_outcome", "timeout"))
    if after.act == "again":
        assert (retry_after or 0) <= after.wait_s < left_s
    if left_s <= 0 or kind == "validation":
        assert after.act != "again"


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_absence_is_concluded_from_complete_listings_of_the_account_only(
    found: bool, complete: bool, same: bool, sure: bool
) -> None:
    verdict = renting.after_search(found=found, complete=complete, same_account=same, sure=sure)
    assert (verdict == "adopt") == found
    assert (verdict == "absent") == (not found and complete and same and sure)

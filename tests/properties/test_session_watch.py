"""Laws of what ends sessions without anybody's asking: the cap, the freeze, the clock in doubt, orphans, owners' money."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_atlas.models.session import SessionState
from pulumi_atlas.rules.sessions.freeze import ClockWatch, Freeze
from pulumi_atlas.rules.sessions.inspecting import find
from pulumi_atlas.rules.sessions.kills import WINDOW_S, Kills, refusal
from pulumi_atlas.rules.sessions.lease import WARN_AT_SHARE, Moment, judge, marks, warned_of
from pulumi_atlas.rules.sessions.orphans import Sighting, judge_orphan, seen_again
from pulumi_atlas.rules.sessions.outage import FAILURES, Health
from pulumi_atlas.rules.sessions.spending import Spending, judge_spending

sys.path.insert(0, str(Path(__file__).parent.parent / "unit" / "runtime" / "watch"))

from watch_kit import Rig

GAPS = st.floats(0.0, 45.0, allow_nan=False)


# -- the cap


@given(st.integers(1, 8), st.lists(st.tuples(GAPS, st.sampled_from(["take", "done", "back"])), max_size=200))
def test_no_minute_holds_more_kills_than_the_cap(cap: int, moves: list[tuple[float, str]]) -> None:
    """However long writes take, and in whatever order they end."""
    kills, now, pending, done = Kills(cap), 0.0, 0, []
    for gap, move in moves:
        now += gap
        if move == "take":
            free = kills.free_at(now)
            if kills.take(now):
                pending += 1
                assert free == now
            else:
                assert free > now
        elif pending and move == "done":
            kills.done(now)
            pending, done = pending - 1, [*done, now]
        elif pending:
            kills.give_back()
            pending -= 1
        inside = [at for at in done if now < at + WINDOW_S]
        assert len(inside) + pending <= cap
        assert kills.count(now) == len(inside) + pending


@given(st.integers(1, 8), st.lists(GAPS, min_size=1, max_size=100))
def test_the_cap_wastes_nothing(cap: int, gaps: list[float]) -> None:
    """Whoever comes back when told to, gets a place; and without a cap everybody does."""
    kills, free, now = Kills(cap), Kills(0), 0.0
    for gap in gaps:
        now = max(now + gap, kills.free_at(now + gap))
        assert kills.take(now) and free.take(now)
        kills.done(now)
        free.done(now)


# -- the freeze

REASONS = st.sampled_from(["starting", "store not confirmed", "clock jumped"])
UNTIL = st.none() | st.floats(0, 100, allow_nan=False)


@given(st.lists(st.tuples(REASONS, UNTIL), max_size=12), st.floats(0, 100, allow_nan=False))
def test_a_freeze_lasts_as_long_as_its_longest_reason(holds: list[tuple[str, float | None]], now: float) -> None:
    freeze = Freeze()
    for reason, until in holds:
        freeze.hold(reason, until=until)
    standing = {reason for reason, until in holds if until is None or until > now}
    assert freeze.why(now) == tuple(sorted(standing))
    ends = freeze.ends_at(now)
    assert (refusal(now, frozen=freeze.why(now), frozen_until=ends, outage=None, free_at=now) is None) == (not standing)
    for_ever = any(until is None for reason, until in holds)
    assert (ends is None) == for_ever
    if ends is not None:
        assert ends == now or freeze.why(max(now, ends - 1e-6))
        assert freeze.why(ends) == ()


@given(st.booleans(), st.booleans(), st.booleans(), st.floats(0, 1e6, allow_nan=False))
def test_no_kill_while_anything_stands_against_it_and_asking_again_is_never_at_once(
    frozen: bool, down: bool, capped: bool, now: float
) -> None:
    refused = refusal(
        now,
        frozen=("x",) if frozen else (),
        frozen_until=None if frozen else now,
        outage="down" if down else None,
        free_at=now + 5 if capped else now,
    )
    assert (refused is not None) == (frozen or down or capped)
    assert refused is None or refused.look_at > now


# -- the clock

JUMP_S, GRACE_S = 30.0, 120.0
#: Time that passes, how much the wall clock is turned in it, and whether the guard beats then.
TICKS = st.lists(
    st.tuples(
        st.floats(0.01, 25.0, allow_nan=False),
        st.sampled_from([0.0, 0.0, 0.0])
        | st.floats(-20, 20, allow_nan=False)
        | st.floats(-4000, 4000, allow_nan=False),
        st.booleans(),
    ),
    max_size=60,
)


@given(TICKS)
def test_every_jump_is_caught_whatever_the_order_of_ticks(ticks: list[tuple[float, float, bool]]) -> None:
    now = Moment(1e9, 50.0)
    watch = ClockWatch.begin(now)
    believed, seen, doubt_since = now.wall - now.mono, now.wall - now.mono, None
    for passed, turned, beat in ticks:
        now = Moment(now.wall + passed + turned, now.mono + passed)
        was = watch
        watch = was.after(now, jump_s=JUMP_S, grace_s=GRACE_S, beat=beat)
        offset = now.wall - now.mono
        stood_still = was.beat is not None and now.mono - was.beat > JUMP_S
        if stood_still or abs(offset - seen) > JUMP_S or abs(offset - believed) > JUMP_S:
            assert watch.jumped, "this look, or all since the clock was last believed, moved it too far"
            doubt_since = now.mono
            believed = offset
        if watch.jumped:
            assert watch.thaw_at is not None and watch.thaw_at > now.mono
        elif was.jumped:
            assert doubt_since is not None and now.mono - doubt_since >= GRACE_S, "not before the grace is over"
            believed = offset
        seen = offset


@given(st.lists(st.floats(0.5, 29.0, allow_nan=False), min_size=1, max_size=300))
def test_an_honest_clock_is_never_doubted(gaps: list[float]) -> None:
    now = Moment(1e9, 0.0)
    watch = ClockWatch.begin(now)
    for gap in gaps:
        now = Moment(now.wall + gap, now.mono + gap)
        watch = watch.after(now, jump_s=JUMP_S, grace_s=GRACE_S, beat=True)
        assert not watch.jumped


@given(st.floats(30.1, 1e6, allow_nan=False), st.booleans())
def test_a_companion_that_stood_still_is_in_doubt(still_s: float, at_a_beat: bool) -> None:
    watch = ClockWatch.begin(Moment(1e9, 0.0)).after(Moment(1e9, 0.0), jump_s=JUMP_S, grace_s=GRACE_S, beat=True)
    after = watch.after(Moment(1e9 + still_s, still_s), jump_s=JUMP_S, grace_s=GRACE_S, beat=at_a_beat)
    assert after.jumped and after.thaw_at == still_s + GRACE_S
    again = after.after(Moment(1e9 + still_s + 1, still_s + 1), jump_s=JUMP_S, grace_s=GRACE_S)
    assert again.thaw_at == after.thaw_at


# -- orphans

#: So that what may be swept is met, too.
OFTEN = st.sampled_from([True, True, True, True, True, False])

STATES: list[SessionState | None] = [
    None, "requested", "provisioning", "ready", "pausing", "paused", "resuming", "terminating", "terminated", "failed",
    "irrevocable",
]  # fmt: skip


@given(
    st.fixed_dictionaries(
        {
            **dict.fromkeys(("ours", "noted", "same_account", "dead", "complete"), OFTEN),
            "wanted": OFTEN.map(lambda often: not often),
            "session": st.sampled_from(STATES),
            "times": st.integers(0, 4),
            "least_times": st.integers(2, 3),
            "age_s": st.sampled_from([None, -100.0, 599.0, 600.0, 601.0, 2000.0, 5000.0]),
            "least_age_s": st.sampled_from([1.0, 600.0]),
            "mode": st.sampled_from(["off", "dry_run", "on"]),
        }
    )
)
def test_nothing_is_swept_that_is_foreign_unknown_wanted_young_seen_once_or_from_an_incomplete_listing(
    facts: dict[str, Any],
) -> None:
    judgement = judge_orphan(**facts).judgement
    may = (
        facts["ours"]
        and facts["noted"]
        and facts["same_account"]
        and not facts["wanted"]
        and (facts["dead"] or facts["session"] in ("terminated", "failed"))
        and facts["complete"]
        and facts["times"] >= facts["least_times"]
        and facts["age_s"] is not None
        and facts["age_s"] >= facts["least_age_s"]
    )
    assert (judgement == "sweep") == (may and facts["mode"] == "on")
    assert (judgement == "would_sweep") == (may and facts["mode"] != "on")
    assert (judgement == "foreign") == (not facts["ours"])
    if facts["ours"] and not facts["wanted"] and not facts["noted"]:
        assert judgement == "unknown"


@given(st.lists(st.floats(0.1, 40, allow_nan=False), max_size=30))
def test_sightings_count_only_when_far_enough_apart(gaps: list[float]) -> None:
    seen: Sighting | None = None
    counted: list[float] = []
    mono = 0.0
    for gap in gaps:
        mono += gap
        before = seen
        seen = seen_again(seen, mono=mono, wall=1e9 + mono, apart_s=30.0)
        if before is None or seen.times > before.times:
            counted.append(mono)
        assert seen.times == len(counted)
    assert all(later - earlier >= 30.0 for earlier, later in itertools.pairwise(counted))


# -- outages, money, listings


@given(st.lists(st.sampled_from(["fails", "wrong", "answers"]), max_size=30))
def test_an_outage_is_so_many_failures_in_a_row_and_ends_with_an_answer(looks: list[str]) -> None:
    health, row, ever, wrong = Health(), 0, False, False
    for number, look in enumerate(looks):
        now = Moment(1e9 + number, float(number))
        if look == "answers":
            health, row, ever, wrong = health.answers(), 0, True, False
        else:
            wrong = wrong or look == "wrong"
            health, row = health.failed("no", now, certain=look == "wrong"), row + 1
        assert health.down == (row >= FAILURES or (row > 0 and (wrong or not ever)))
        assert (health.since is None) == (row == 0)


@given(st.floats(0.01, 1e4), st.floats(0, 2e4), st.floats(0, 100))
def test_an_owner_is_stopped_at_the_budget_and_looked_at_in_time(budget: float, spent: float, per_hour: float) -> None:
    now = Moment(1e9, 7.0)
    act, look_at = judge_spending(budget, Spending(spent, per_hour), now)
    assert (act == "stop") == (spent >= budget)
    assert (act == "fine") == (spent < budget * WARN_AT_SHARE)
    if act != "stop" and per_hour > 0:
        assert look_at is not None and look_at > now.mono
        then = spent + per_hour * (look_at - now.mono) / 3600
        mark = budget if act == "warn" else budget * WARN_AT_SHARE
        assert then <= mark * (1 + 1e-9) + 1e-9, "not later than the next mark is reached"


@given(st.sampled_from(STATES[1:]), st.sampled_from([None, "provisioning", "running", "stopped", "finished", "failed"]))
def test_a_listing_says_nothing_about_states_that_a_worker_is_busy_with(state: Any, status: Any) -> None:
    found = find(state, status, can_stop=True)
    if state not in ("ready", "paused"):
        assert found == "fine"
    if status in ("running", "provisioning") and state == "ready":
        assert found == "fine", "what is in use is in use"


class Plain:
    """A tenure with every deadline."""

    state: SessionState = "ready"
    active_at = 1e9
    keep_mono: float | None = None
    keep_until: float | None = None
    grace_mono: float | None = None
    max_lifetime_s: float | None = 1e4
    paused_at: float | None = None
    paused_ttl_s = 1e4
    cost_settled = 0.0
    cost_per_hour: float | None = 1.0
    cost_since: float | None = 1e9
    warned: str | None = None

    def __init__(self, idle: float, life: float, budget: float, warn: float) -> None:
        self.active_mono, self.idle_ttl_s, self.warn_before_s = 0.0, idle, warn
        self.expires_at: float | None = 1e9 + life
        self.budget: float | None = budget


@given(
    st.floats(10, 1e4),
    st.floats(10, 1e4),
    st.floats(0.001, 3),
    st.floats(1, 5e3),
    st.lists(st.floats(0.1, 500), max_size=60),
)
def test_each_deadline_is_warned_of_at_most_once_in_whatever_order_they_stand(
    idle: float, life: float, budget: float, warn: float, steps: list[float]
) -> None:
    tenure, told, mono = Plain(idle, life, budget, warn), [], 0.0
    for step in steps:
        mono += step
        now = Moment(1e9 + mono, mono)
        for _ in range(4):
            verdict = judge(tenure, now)
            if verdict.act != "warn" or verdict.deadline is None:
                break
            told.append(verdict.deadline.identity)
            tenure.warned = warned_of(tenure, now, verdict.deadline.identity)
        assert judge(tenure, now).act != "warn", "all that stands has been told"
    assert len(told) == len(set(told))
    assert set(marks(tenure.warned)) <= set(told)


# -- all of it


@settings(max_examples=8)
@given(
    cap=st.integers(1, 20),
    count=st.integers(1, 25),
    touched=st.sets(st.integers(0, 24)),
    ttl=st.floats(300, 3000),
    hours=st.sampled_from([1, 6]),
)
def test_after_hours_of_outage_no_storm_and_nobody_who_came_back_is_ended(
    cap: int, count: int, touched: set[int], ttl: float, hours: int
) -> None:
    async def act() -> None:
        rig = await Rig(max_kills_per_minute=cap).begin()
        lives = [await rig.session(idle_ttl_s=ttl + number) for number in range(count)]
        back = [one for number, one in enumerate(lives) if number in touched]
        async with rig.watching(rig.reaper, rig.inspector):
            await rig.clock.advance(45)
            with rig.world.outage():
                await rig.clock.advance(hours * 3600)
                assert await rig.kills() == []
            await rig.clock.advance(100)  # the outage is seen to be over, and the grace lasts
            for one in back:
                rig.touch(one)
            await rig.clock.advance(250)
            for at in await rig.kills():
                window = [other for other in await rig.kills() if at <= other < at + 60]
                assert len(window) <= cap
            assert {await rig.state(one) for one in back} <= {"ready"}
            rest = [one for one in lives if one not in back]
            ended = [one for one in rest if await rig.state(one) == "terminating"]
            assert len(ended) == min(len(rest), len(await rig.kills())) and (ended or not rest)

    asyncio.run(act())

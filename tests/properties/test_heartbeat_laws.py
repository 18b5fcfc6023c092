"""Laws of the heartbeat's schedule, over a simulated companion, clock and user."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from atlas_session.companion import _schedule
from atlas_session.companion._schedule import FLOOR_S, JITTER, MOST_ASKED_S, MOST_BACK_OFF_S, State
from atlas_session.companion.errors import (
    BadAnswer,
    Busy,
    CompanionError,
    NoSuchSession,
    NotAllowed,
    Refused,
    SessionEnded,
    Unreachable,
)
from atlas_session.companion.values import GONE, Session

ALIVE = ["requested", "provisioning", "ready", "pausing", "paused", "resuming", "a-status-of-tomorrow"]
INTERVALS = st.sampled_from([2.0, 5.0, 20.0, 60.0, 300.0])
SEEDS = st.integers(0, 2**32)


def busy(after: float | None) -> Busy:
    error = Busy("busy", status=503)
    error.retry_after_s = after
    return error


OUTAGES = st.one_of(
    st.builds(lambda: Unreachable("timed out")),
    st.builds(lambda: BadAnswer("failed", status=500)),
    st.builds(lambda: BadAnswer("a gateway's page", status=404)),
    st.builds(lambda: Refused("no", status=422)),
    st.builds(busy, st.none() | st.floats(0, 1e7)),
)


@dataclass
class World:
    """Runs the schedule as the faces do. Suspended, the monotonic clock stands still."""

    interval_s: float
    seed: int
    takes_s: float = 0.1
    monotonic: float = 100.0
    wall: float = 1_800_000_000.0
    state: State = field(init=False)
    beats: list[tuple[float, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.state = _schedule.begin(self.interval_s, self.monotonic, self.wall)

    def pass_time(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds
        self.look()

    def look(self) -> None:
        self.state = _schedule.observe(self.state, self.monotonic, self.wall)

    def until_due(self) -> None:
        while (pause := _schedule.pause_s(self.state)) > 0:
            self.pass_time(pause)

    def beat(self, outcome: Session | CompanionError, *, active: bool = True) -> None:
        self.until_due()
        self.state, beat = _schedule.beat(self.state, active=active)
        self.beats.append((self.wall, beat.kind, beat.idle_s))
        self.pass_time(self.takes_s)
        chance = self.chance.random()
        if isinstance(outcome, Session):
            self.state = _schedule.answered(self.state, outcome, chance=chance)
        else:
            self.state = _schedule.failed(self.state, outcome, chance=chance)

    def gaps(self) -> list[float]:
        return [later[0] - earlier[0] for earlier, later in zip(self.beats, self.beats[1:], strict=False)]


def session(status: str = "ready", **fields: float | None) -> Session:
    return Session("s1", status, **fields)  # type: ignore[arg-type]


@given(interval=INTERVALS, seed=SEEDS, takes=st.floats(0, 0.5))
def test_healthy_and_active_it_touches_within_the_interval_and_a_little(
    interval: float, seed: int, takes: float
) -> None:
    world = World(interval, seed, takes_s=takes)
    for _ in range(40):
        world.beat(session())
    assert {kind for _, kind, _ in world.beats} == {"touch"}
    assert all(interval * (1 - JITTER) - 1e-3 <= gap <= interval * (1 + JITTER) + 1e-3 for gap in world.gaps())
    assert len({round(gap, 3) for gap in world.gaps()}) > 10, "spread, so that a fleet does not beat as one"
    assert world.beats[0][0] == 1_800_000_000.0, "the first at once"


@given(interval=INTERVALS, seed=SEEDS, outcomes=st.lists(OUTAGES | st.just(session()), min_size=1, max_size=60))
def test_no_outage_ever_means_gone_and_none_is_met_with_a_burst(
    interval: float, seed: int, outcomes: list[Session | CompanionError]
) -> None:
    world = World(interval, seed)
    for outcome in outcomes:
        assert _schedule.gone(outcome) is None
        world.beat(outcome)
    most = max(MOST_BACK_OFF_S + MOST_ASKED_S, interval * (1 + JITTER)) + world.takes_s
    assert all(gap + 1e-3 >= FLOOR_S and gap <= most + 1e-3 for gap in world.gaps())


@given(interval=INTERVALS, seed=SEEDS, failures=st.integers(1, 200))
def test_after_an_outage_one_touch_and_then_the_interval_again(interval: float, seed: int, failures: int) -> None:
    world = World(interval, seed)
    for _ in range(failures):
        world.beat(Unreachable("away"))
    assert all(gap <= MOST_BACK_OFF_S + world.takes_s + 1e-3 for gap in world.gaps()), "back within a minute"
    world.beats.clear()
    for _ in range(5):
        world.beat(session())
    assert all(gap >= interval * (1 - JITTER) - 1e-3 for gap in world.gaps())


def test_failures_in_a_row_are_followed_by_longer_and_longer_waits() -> None:
    state, waits = _schedule.begin(20.0, 0.0, 0.0), []
    for _ in range(8):
        state = _schedule.failed(state, Unreachable("away"), chance=1.0)
        waits.append(state.due - state.elapsed)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    state = _schedule.answered(state, session(), chance=0.5)
    state = _schedule.failed(state, Unreachable("away"), chance=1.0)
    assert state.due - state.elapsed == 2, "and an answer ends the row"


@given(interval=st.sampled_from([2.0, 20.0]), seed=SEEDS, takes=st.floats(20, 100))
def test_slow_answers_are_not_followed_at_once(interval: float, seed: int, takes: float) -> None:
    world = World(interval, seed, takes_s=takes)
    for _ in range(5):
        world.beat(session())
    assert all(gap >= takes + FLOOR_S - 1e-3 for gap in world.gaps() if takes > interval * (1 + JITTER))


@given(seed=SEEDS, asked=st.floats(0, 1e6))
def test_the_companions_retry_after_is_obeyed_up_to_a_bound(seed: int, asked: float) -> None:
    world = World(20.0, seed)
    world.beat(busy(asked))
    world.beat(session())
    assert world.gaps()[0] >= min(asked, MOST_ASKED_S)


@given(interval=INTERVALS, seed=SEEDS, used=st.lists(st.booleans(), min_size=1, max_size=60))
def test_an_idle_user_is_never_kept_alive(interval: float, seed: int, used: list[bool]) -> None:
    world = World(interval, seed)
    for active in used:
        world.beat(session(), active=active)
    assert [kind == "touch" for _, kind, _ in world.beats] == used
    assert all(idle == 0 for _, _, idle in world.beats)


@given(interval=INTERVALS, seed=SEEDS, steps=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_activity_during_an_outage_is_told_later_with_its_age(
    interval: float, seed: int, steps: list[tuple[bool, bool]]
) -> None:
    world = World(interval, seed)
    pending: float | None = None
    for active, reachable in steps:
        world.until_due()
        pending = world.wall if active else pending
        world.beat(session() if reachable else Unreachable("away"), active=active)
        at, kind, idle = world.beats[-1]
        assert (kind == "touch") == (pending is not None)
        if pending is not None:
            assert abs(idle - (at - pending)) < 1e-3
        pending = None if reachable else pending


@given(interval=INTERVALS, seed=SEEDS, slept=st.floats(6, 1e6), failing=st.booleans(), stands=st.booleans())
def test_after_the_machine_slept_it_beats_at_once(
    interval: float, seed: int, slept: float, failing: bool, stands: bool
) -> None:
    world = World(interval, seed)
    for _ in range(8):
        world.beat(Unreachable("away") if failing else session(), active=False)
    world.pass_time(FLOOR_S)
    world.wall += slept
    if not stands:
        world.monotonic += slept  # on some systems it goes on
    world.look()
    if stands or slept > MOST_BACK_OFF_S + interval * 2:
        assert _schedule.pause_s(world.state) == 0
    before = len(world.beats)
    for _ in range(3):
        world.beat(session())
    assert min(world.gaps()[before:]) >= FLOOR_S, "one, no burst"


@given(seed=SEEDS, jumps=st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_a_clock_that_is_set_never_stops_it(seed: int, jumps: list[float]) -> None:
    world = World(20.0, seed)
    for jump in jumps:
        world.beat(session())
        begun = world.monotonic
        world.wall += jump
        world.look()
        world.until_due()
        assert world.monotonic - begun <= 20.0 * (1 + JITTER)


@given(
    seed=SEEDS,
    lifetime=st.floats(30, 3000),
    before=st.floats(1, 600),
    skew=st.sampled_from([0.0, -86_400.0, 5_000.0]),
    known=st.booleans(),
    active=st.booleans(),
)
def test_it_warns_once_for_each_deadline_and_in_time(
    seed: int, lifetime: float, before: float, skew: float, known: bool, active: bool
) -> None:
    world = World(20.0, seed)
    end, skew = world.wall + lifetime, skew if known else 0.0
    warnings: list[float] = []
    while world.wall < end:
        world.until_due()
        now = world.wall + skew if known else None
        told = session(deadline=end + skew, warning_at=end + skew - before, now=now)
        world.beat(told, active=active)
        world.state, warned = _schedule.warning(world.state)
        if warned is not None:
            warnings.append(world.wall)
    assert len(warnings) <= 1
    if warnings:
        assert abs(warnings[0] - max(end - before, 1_800_000_000.0)) < 1.5 + world.takes_s
    else:
        assert before < 1.5 + world.takes_s


def test_a_deadline_that_is_put_off_is_warned_of_anew() -> None:
    world, warned = World(20.0, 1), []
    for number in range(6):
        world.until_due()
        deadline = world.wall + (10 if number % 2 else 5000)
        world.beat(session(deadline=deadline, warning_at=deadline - 60))
        world.state, told = _schedule.warning(world.state)
        warned.append(told is not None)
    assert warned == [False, True] * 3


def test_a_deadline_is_warned_of_also_when_the_companion_is_away() -> None:
    world = World(20.0, 1)
    end = world.wall + 300
    world.beat(session(deadline=end, warning_at=end - 100))
    told = []
    while world.wall < end:
        world.beat(Unreachable("away"))
        world.state, warned = _schedule.warning(world.state)
        told += [world.wall] if warned else []
    assert len(told) == 1


@given(status=st.sampled_from([*ALIVE, *sorted(GONE)]))
def test_only_a_status_without_return_is_gone(status: str) -> None:
    assert _schedule.gone(session(status)) == (status if status in GONE else None)


def test_what_else_is_gone() -> None:
    assert _schedule.gone(NoSuchSession("x")) == "no_such_session"
    assert _schedule.gone(SessionEnded("x")) == "ended"
    assert _schedule.gone(NotAllowed("x")) == "not_allowed"


def test_after_a_refused_touch_it_looks_and_so_learns_that_the_session_is_gone() -> None:
    world = World(20.0, seed=1)
    world.beat(Refused("terminating", status=409))
    world.beat(Session(id="s-1", status="irrevocable"), active=False)
    assert [kind for _, kind, _ in world.beats] == ["touch", "look"]
    assert _schedule.gone(Session(id="s-1", status="irrevocable")) == "irrevocable"


def test_a_refused_touch_is_sent_again_after_the_look_with_its_age() -> None:
    world = World(20.0, seed=1)
    world.beat(Refused("pausing", status=409))
    world.beat(Session(id="s-1", status="paused"), active=False)
    world.beat(Session(id="s-1", status="ready"), active=False)
    world.beat(Session(id="s-1", status="ready"), active=False)
    assert [kind for _, kind, _ in world.beats] == ["touch", "look", "touch", "look"]
    at, _, idle_s = world.beats[2]
    assert abs(idle_s - (at - world.beats[0][0])) < 0.01

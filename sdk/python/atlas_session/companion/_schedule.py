"""When a heartbeat beats, what it sends, and what it tells its owner: functions of a state, the time and a chance.

A beat is a touch when there was activity that the companion has not confirmed, otherwise a look (reading the session, which
is no activity): so an idle user is not kept alive, and the owner still learns that the session is gone. After a touch that
was refused comes a look: the session may be in a state that takes none, and only a look tells which.

Times are `elapsed` seconds: the monotonic clock, plus what the wall clock went ahead of it while the machine was suspended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from atlas_session.companion.errors import Busy, CompanionError, NoSuchSession, NotAllowed, Refused, SessionEnded
from atlas_session.companion.values import Session

__all__ = [
    "FLOOR_S",
    "JITTER",
    "MOST_ASKED_S",
    "MOST_BACK_OFF_S",
    "SLICE_S",
    "Beat",
    "State",
    "answered",
    "beat",
    "begin",
    "failed",
    "gone",
    "observe",
    "pause_s",
    "warning",
]

#: No two beats are closer than this, and an interval is at least twice as long.
FLOOR_S = 1.0
#: Beats come after the interval, more or less by this part of it.
JITTER = 0.15
#: Failures are followed by waits up to this, and a companion that asks for a longer one is obeyed up to the second.
MOST_BACK_OFF_S, MOST_ASKED_S = 60.0, 300.0
#: Waits are cut into pieces of this, to see soon after waking that the machine was suspended.
SLICE_S = 2.0

_FIRST_BACK_OFF_S = 2.0
#: Clocks that part by more than this mean that the machine was suspended, or that its clock was set.
_JUMP_S = 5.0
#: Deadlines that differ by less are the same one.
_SAME_S = 1.0
#: Less is no time to wait.
_PRECISION_S = 0.001


@dataclass(frozen=True, slots=True)
class State:
    """What a heartbeat knows.

    `elapsed`: the time of the last `observe`. `due`: when the next beat is. `last`: when the last one was sent.
    `activity`: the latest activity that the companion has not confirmed. `failures`: in a row, up to now.
    `refused`: the last touch was refused. `looking`: the beat on its way is a look, and confirms no activity.
    `session`, `warn_at`: as last answered, and when to warn of its deadline. `warned`: the deadline that was warned of.
    """

    interval_s: float
    monotonic: float
    wall: float
    elapsed: float
    due: float
    last: float | None = None
    activity: float | None = None
    failures: int = 0
    refused: bool = False
    looking: bool = False
    session: Session | None = None
    warn_at: float | None = None
    warned: float | None = None


class Beat(NamedTuple):
    """What to send: a touch for activity `idle_s` seconds ago, or a look."""

    kind: Literal["touch", "look"]
    idle_s: float = 0.0


def begin(interval_s: float, monotonic: float, wall: float) -> State:
    """The state before the first beat, which is due at once."""
    return State(interval_s, monotonic, wall, elapsed=0.0, due=0.0)


def observe(state: State, monotonic: float, wall: float) -> State:
    """The state at this time. When the machine was suspended meanwhile, a beat is due at once."""
    passed = max(0.0, monotonic - state.monotonic)
    jump = (wall - state.wall) - passed
    slept = jump if jump > _JUMP_S else 0.0
    state = replace(state, monotonic=monotonic, wall=wall, elapsed=state.elapsed + passed + slept)
    if slept:
        state = replace(state, due=min(state.due, state.elapsed))
    return state


def pause_s(state: State) -> float:
    """Seconds until the next look at the clock; 0 when a beat is due."""
    left = state.due - state.elapsed
    return min(SLICE_S, left) if left > _PRECISION_S else 0.0


def beat(state: State, *, active: bool) -> tuple[State, Beat]:
    """The beat that is due, and the state in which it is on its way. `active`: whether there was activity just now."""
    activity = state.elapsed if active else state.activity
    looking = activity is None or state.refused
    sent = replace(state, last=state.elapsed, activity=activity, refused=False, looking=looking)
    return sent, Beat("look") if looking else Beat("touch", state.elapsed - (activity or 0.0))


def answered(state: State, session: Session, *, chance: float) -> State:
    """The state after the companion's answer, `state` being observed when it came."""
    begun = state.elapsed if state.last is None else state.last
    due = begun + state.interval_s * (1 - JITTER + 2 * JITTER * chance)
    warn_at = _warn_at(session, state)
    if warn_at is not None and not _was_warned(state, session) and state.elapsed < warn_at < due:
        due = warn_at  # look again then: it may have been put off
    return replace(
        state,
        due=max(due, state.elapsed + FLOOR_S),
        activity=state.activity if state.looking else None,
        failures=0,
        session=session,
        warn_at=warn_at,
    )


def failed(state: State, error: Exception, *, chance: float) -> State:
    """The state after a beat that failed, `state` being observed then: the next waits longer, with full jitter."""
    most = min(MOST_BACK_OFF_S, _FIRST_BACK_OFF_S * 2.0 ** min(state.failures, 16))
    asked = min((error.retry_after_s or 0.0) if isinstance(error, Busy) else 0.0, MOST_ASKED_S)
    wait = max(FLOOR_S, asked + chance * most)
    refused = isinstance(error, Refused) and not state.looking
    return replace(state, due=state.elapsed + wait, failures=state.failures + 1, refused=refused)


def gone(outcome: Session | CompanionError) -> str | None:
    """Why the session is gone, in a word, when it is. No answer, or one that makes no sense, never means that."""
    if isinstance(outcome, Session):
        return outcome.status if outcome.is_gone else None
    if isinstance(outcome, NoSuchSession):
        return "no_such_session"
    if isinstance(outcome, SessionEnded):
        return "ended"
    return "not_allowed" if isinstance(outcome, NotAllowed) else None


def warning(state: State) -> tuple[State, Session | None]:
    """The session to warn of, when its deadline is near and was not warned of yet."""
    session = state.session
    if session is None or state.warn_at is None or state.elapsed < state.warn_at or _was_warned(state, session):
        return state, None
    return replace(state, warned=_deadline(session)), session


def _warn_at(session: Session, state: State) -> float | None:
    """When to warn, in elapsed seconds. The companion's clock counts, where it gave it."""
    at = session.warning_at
    if at is None:
        if session.deadline is None:
            return None
        at = session.deadline - 2 * state.interval_s
    return state.elapsed + at - (state.wall if session.now is None else session.now)


def _deadline(session: Session) -> float:
    return (session.deadline if session.deadline is not None else session.warning_at) or 0.0


def _was_warned(state: State, session: Session) -> bool:
    return state.warned is not None and abs(state.warned - _deadline(session)) < _SAME_S

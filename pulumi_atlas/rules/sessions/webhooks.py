"""When is an event sent to a webhook again, and what does its answer mean? By the advice of Standard Webhooks.

The schedule: at once, then 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h after the attempt before, each up to a tenth
longer by chance. That is ten attempts in about three days; then the event is given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

__all__ = [
    "ATTEMPTS",
    "JITTER",
    "MOST_ASKED_S",
    "MOST_THROTTLED_S",
    "SCHEDULE_S",
    "WHOLE_SCHEDULE_S",
    "Answer",
    "Judgement",
    "judge_answer",
    "retry_after_s",
]

#: Seconds before each attempt, counted from the one before it.
SCHEDULE_S = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
ATTEMPTS = len(SCHEDULE_S)
#: By what share at most a wait is longer than the schedule's.
JITTER = 0.1
#: After so long every event is delivered or given up.
WHOLE_SCHEDULE_S = sum(SCHEDULE_S) * (1 + JITTER)
#: The longest wait that an answer's `Retry-After` may ask for, seconds.
MOST_ASKED_S = 3600.0
#: The longest that a webhook which asks for less is left alone by our own counting, seconds.
MOST_THROTTLED_S = 300.0

_LESS = frozenset({429, 502, 504})
_GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an attempt: an HTTP status, or None and why there was none. `retry_after_s`: as the answer asked."""

    status: int | None
    retry_after_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows for the event, and for the webhook.

    `again`: after `wait_s`. `gone`: the webhook wants nothing any more, and the event stays as it is. `throttle_s`: nothing
    is to be sent to this webhook for so long.
    """

    outcome: Literal["delivered", "again", "given_up", "gone"]
    wait_s: float = 0.0
    throttle_s: float = 0.0
    error: str = ""


def judge_answer(answer: Answer, *, attempt: int, chance: float, throttled: int = 0) -> Judgement:
    """The judgement of attempt number `attempt`, from 1. `chance`: from 0 to 1, for the jitter. `throttled`: how often in a
    row before this the webhook asked for less.

    2xx is success and 410 the end. All else, redirects too, is a failure that is tried again.
    """
    if answer.status is not None and 200 <= answer.status < 300:
        return Judgement("delivered")
    error = answer.error or f"HTTP {answer.status}"
    if answer.status == _GONE:
        return Judgement("gone", error=error)
    asked = None if answer.retry_after_s is None else min(max(0.0, answer.retry_after_s), MOST_ASKED_S)
    throttle = 0.0
    if answer.status in _LESS:
        throttle = asked if asked is not None else min(MOST_THROTTLED_S, 5.0 * float(2 ** min(throttled, 16)))
    if attempt >= ATTEMPTS:
        return Judgement("given_up", throttle_s=throttle, error=error)
    planned = SCHEDULE_S[attempt] * (1 + JITTER * chance)
    return Judgement("again", max(planned, asked or 0.0, throttle), throttle, error)


def retry_after_s(value: str | None, *, now: float) -> float | None:
    """The header `Retry-After` in seconds from `now` (unix seconds); None when it is absent or makes no sense."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for numbers beyond any calendar
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.fromtimestamp(now, UTC)).total_seconds())

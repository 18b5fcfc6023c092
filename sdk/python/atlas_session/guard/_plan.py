"""When to ask the companion, and when to report: a function of what happened last and of the time. No I/O.

Asked every `poll_s` seconds (at most 15), and 2, 4, 8 … at most 30 seconds after a failure, less up to half of it.
With one poll lost, a revocation arrives within 15 s + the report that is under way (4 s) + the lost poll (4 s) + 2 s
+ the next poll (4 s): 29 s. Where the companion itself asks for patience (``Retry-After``), a poll waits for up to 15 s
instead of those 2 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from atlas_session.guard._verifier import MAX_POLL_S, POLL_S

__all__ = ["REPORT_S", "Due", "LinkPlan", "retry_after_s"]

Due = Literal["poll", "report"]

#: No more often than this does activity of one kind go out, seconds.
REPORT_S = 10.0
#: The longest wait between two looks at what is due: activity that came in meanwhile is not kept waiting.
LOOK_S = 5.0

_FIRST_BACK_OFF_S = 2.0
_LONGEST_BACK_OFF_S = 30.0
#: How long a report may be put off by the companion. Polls are put off for no longer than they are ever apart.
_LONGEST_RETRY_AFTER_S = 300.0


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Monotonic seconds from which each is due, and how often each has failed in a row."""

    poll_at: float
    report_at: float
    poll_s: float = POLL_S
    poll_failures: int = 0
    report_failures: int = 0
    poll_failed_at: float = float("-inf")

    @classmethod
    def begin(cls, now: float) -> LinkPlan:
        """Asks at once: the environment of a pod that was started again may be old."""
        return cls(poll_at=now, report_at=now)

    def due(self, now: float, *, waiting: bool) -> Due | None:
        """What to do now. `waiting`: there is activity to report. A poll goes first."""
        if now >= self.poll_at:
            return "poll"
        return "report" if waiting and now >= self._report_from else None

    def wait_s(self, now: float, *, waiting: bool) -> float:
        """Seconds until something may be due."""
        until = min(self.poll_at, self._report_from) if waiting else self.poll_at
        return min(max(until - now, 0.0), LOOK_S)

    @property
    def _report_from(self) -> float:
        """After the first lost poll no report comes between, where the next poll is due within two seconds."""
        if self.poll_failures != 1:
            return self.report_at
        return max(self.report_at, min(self.poll_at, self.poll_failed_at + _FIRST_BACK_OFF_S))

    def polled(self, now: float, *, poll_s: float | None = None) -> LinkPlan:
        """After an answer. `poll_s`: how often to ask from now on, where it says so."""
        every = self.poll_s if poll_s is None else poll_s
        return replace(self, poll_at=now + every, poll_s=every, poll_failures=0)

    def poll_failed(self, now: float, draw: float, *, retry_after_s: float | None = None) -> LinkPlan:
        """`draw`: a random number from 0 to 1."""
        patience = None if retry_after_s is None else min(retry_after_s, MAX_POLL_S)  # or nothing would be revoked
        wait = _back_off(self.poll_failures, draw, patience)
        return replace(self, poll_at=now + wait, poll_failures=self.poll_failures + 1, poll_failed_at=now)

    def reported(self, now: float, *, more: bool) -> LinkPlan:
        """`more`: another kind of activity of the same batch is still waiting."""
        return replace(self, report_at=now if more else now + REPORT_S, report_failures=0)

    def report_failed(self, now: float, draw: float, *, retry_after_s: float | None = None) -> LinkPlan:
        """`draw`: a random number from 0 to 1."""
        wait = max(_back_off(self.report_failures, draw, retry_after_s), _FIRST_BACK_OFF_S)
        return replace(self, report_at=now + wait, report_failures=self.report_failures + 1)


def _back_off(failures: int, draw: float, retry_after_s: float | None) -> float:
    """Doubling, with jitter downwards; longer where the companion asks for it, but never longer than five minutes."""
    longest = min(_FIRST_BACK_OFF_S * 2.0 ** min(failures, 10), _LONGEST_BACK_OFF_S)
    wait = longest * (0.5 + 0.5 * draw)
    return wait if retry_after_s is None else max(wait, min(retry_after_s, _LONGEST_RETRY_AFTER_S))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After``; a date there is not understood, and is as if it were not sent."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

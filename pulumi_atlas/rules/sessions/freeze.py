"""Why nothing may be killed now, and whether the wall clock can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pulumi_atlas.rules.sessions.lease import Moment

__all__ = ["CLOCK_JUMPED", "STARTING", "STORE_NOT_CONFIRMED", "STORE_UNAVAILABLE", "ClockWatch", "Freeze"]

STARTING = "starting"
STORE_NOT_CONFIRMED = "store not confirmed"
STORE_UNAVAILABLE = "store unavailable"
CLOCK_JUMPED = "clock jumped"


class Freeze:
    """Reasons for which every kill waits; while there is one, nothing is ended and nothing is swept. Times are monotonic."""

    def __init__(self) -> None:
        self._until: dict[str, float | None] = {}

    def hold(self, reason: str, *, until: float | None = None) -> None:
        """Freeze for that reason: until then at least, or until it is lifted. A later word never makes it shorter."""
        if reason in self._until:
            known = self._until[reason]
            until = None if known is None or until is None else max(known, until)
        self._until[reason] = until

    def lift(self, reason: str) -> None:
        """That reason is no more."""
        self._until.pop(reason, None)

    def why(self, mono: float) -> tuple[str, ...]:
        """The reasons that stand, sorted; none: kills are free."""
        self._until = {reason: until for reason, until in self._until.items() if until is None or until > mono}
        return tuple(sorted(self._until))

    def ends_at(self, mono: float) -> float | None:
        """When the last of the reasons that stand will have passed; None: when somebody lifts it."""
        standing = [self._until[reason] for reason in self.why(mono)]
        known = [until for until in standing if until is not None]
        return max(known, default=mono) if len(known) == len(standing) else None


@dataclass(frozen=True, slots=True)
class ClockWatch:
    """What the two clocks are believed to be to each other: `offset` is wall time minus monotonic time, taken for true.

    The wall clock has jumped when the offset differs from that, or from the one last seen, by more than the bound: small
    turns sum up, and a jump that undoes an earlier drift is one too. (On Linux both clocks are slewed together, so that an
    honest clock does not drift at all.) A host that was suspended shows the same way. So does a companion that stood
    still: no beat for longer than the bound, while its visitors knocked in vain.

    After a jump `thaw_at` (monotonic) is when the new wall clock is taken for true; another jump begins the wait anew.
    """

    offset: float
    seen: float
    beat: float | None = None
    thaw_at: float | None = None

    @classmethod
    def begin(cls, now: Moment) -> Self:
        """The clocks as they are at the start are taken for true."""
        offset = now.wall - now.mono
        return cls(offset, offset)

    @property
    def jumped(self) -> bool:
        """Whether the wall clock is in doubt."""
        return self.thaw_at is not None

    def after(self, now: Moment, *, jump_s: float, grace_s: float, beat: bool = False) -> ClockWatch:
        """What is believed after a look at both clocks. `beat`: this look is one of those that come every second."""
        offset = now.wall - now.mono
        stood_still = self.beat is not None and now.mono - self.beat > jump_s
        jumped = abs(offset - self.offset) > jump_s or abs(offset - self.seen) > jump_s
        last = now.mono if beat or (stood_still and self.beat is not None) else self.beat
        if jumped or stood_still:
            return ClockWatch(offset, offset, last, now.mono + grace_s)
        if self.thaw_at is not None and now.mono >= self.thaw_at:
            return ClockWatch(offset, offset, last)
        return ClockWatch(self.offset, offset, last, self.thaw_at)

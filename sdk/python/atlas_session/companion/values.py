"""What the companion answers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FINAL", "GONE", "Event", "Session"]

#: Nothing comes after these: the stream of events ends.
FINAL = frozenset({"terminated", "failed"})

#: A session with one of these can no longer be used, and no touch brings it back.
GONE = FINAL | {"terminating", "irrevocable"}


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the companion described it. Times are unix seconds by the companion's clock; None is not known, or none.

    `urls`: port → address. `deadline`: when it ends or is paused unless something is done, because of `deadline_kind`
    (``idle``, ``lifetime``, ``budget``, ``paused``); `remaining_s`: seconds until then, from `now`; `warning_at`: when to
    warn of that; `expires_at`: when its lifetime ends, whatever is done. `active_at`, `active_source`: the last activity.
    `cost`: money so far. `cause`, `reason`: why it is as it is, in a word and in a sentence. `now`: the companion's clock
    when it answered. `token` (for the pod) and `touch_token` (for the companion) are there in the answer that made them,
    and nowhere else.
    """

    id: str
    status: str
    owner: str | None = None
    template: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    auth: str | None = None
    generation: int = 0
    urls: Mapping[str, str] = field(default_factory=dict, hash=False)
    deadline: float | None = None
    deadline_kind: str | None = None
    remaining_s: float | None = None
    warning_at: float | None = None
    expires_at: float | None = None
    active_at: float | None = None
    active_source: str | None = None
    cost: float | None = None
    cause: str | None = None
    reason: str | None = None
    now: float | None = None
    token: str | None = field(default=None, repr=False)
    touch_token: str | None = field(default=None, repr=False)

    @property
    def state(self) -> str:
        """Another name of `status`."""
        return self.status

    @property
    def is_ready(self) -> bool:
        """Whether its pod can be used."""
        return self.status == "ready"

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, or is ending: no touch brings it back."""
        return self.status in GONE

    def seconds_left(self, now: float) -> float | None:
        """Seconds from `now` (unix, as the companion counts) to the deadline, 0 when it is past; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - now)

    def seconds_to_warning(self, now: float) -> float | None:
        """Seconds from `now` (unix, as the companion counts) to the warning, 0 when it is due; None without one."""
        return None if self.warning_at is None else max(0.0, self.warning_at - now)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a session.

    `id`: what to give as `last_event_id` to go on behind it. `event`: ``status``, ``warning``, ``gap`` (some that came
    before are no longer kept: read the session anew), or a word of a newer companion. `data`: what its JSON says (for
    ``status`` and ``warning`` the session), or the text itself where it is not JSON.
    """

    id: str
    event: str
    data: Any = field(default=None, hash=False)

"""What is old is forgotten: events, ended sessions, and answers kept for repeated requests. Once an hour.

The store sees to it that nothing goes that still counts: no event that is on its way to a webhook, no session that has not
ended, none whose pod may still be there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.runtime._pausing import BackOff, pause
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import Store, StoreUnavailable

__all__ = ["EVERY_S", "Keeping", "Limits", "limits_at"]

EVERY_S = 3600.0
_DAY_S = 86_400.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is older than these (unix seconds) is forgotten."""

    events_before: float
    sessions_before: float
    answers_before: float


def limits_at(settings: RuntimeSettings, now: float) -> Limits:
    """The limits at `now`, unix seconds."""
    return Limits(
        events_before=now - settings.keep_events_days * _DAY_S,
        sessions_before=now - settings.keep_sessions_days * _DAY_S,
        answers_before=now - settings.keep_answers_s,
    )


class Keeping:
    """Forgets what the settings say need not be kept. `run` goes on until it is cancelled."""

    def __init__(self, store: Store, settings: RuntimeSettings, clock: Clock) -> None:
        self._store, self._settings, self._clock = store, settings, clock
        self._last_at: float | None = None
        self._forgotten = 0

    async def run(self) -> None:
        """The first time at once, then each hour. An unavailable store is tried again after a while."""
        failures = BackOff(first=10.0, most=EVERY_S)
        while True:
            try:
                await self.step()
            except StoreUnavailable:
                await pause(self._clock, failures.failed())
                continue
            failures.worked()
            await pause(self._clock, EVERY_S)

    async def step(self) -> int:
        """Forget now. How many rows went. Raises StoreUnavailable."""
        now = self._clock.now()
        limits = limits_at(self._settings, now)
        count = await self._store.prune(
            events_before=limits.events_before,
            sessions_before=limits.sessions_before,
            answers_before=limits.answers_before,
        )
        self._last_at, self._forgotten = now, self._forgotten + count
        if count:
            _log.info("forgot %d rows that were kept long enough", count)
        return count

    def status(self) -> dict[str, Any]:
        """When it last ran (unix seconds), and how many rows went since the start."""
        return {"forgot_at": self._last_at, "forgotten": self._forgotten}

"""What both faces of the heartbeat share: the schedule's state, and what outcomes mean for it."""

from __future__ import annotations

import logging

from atlas_session.companion import _requests, _schedule
from atlas_session.companion._clock import Clock
from atlas_session.companion._requests import Request
from atlas_session.companion.errors import CompanionError
from atlas_session.companion.values import Session

__all__ = ["LOG", "Rhythm"]

LOG = logging.getLogger("atlas_session.companion")


class Rhythm:
    """Ask `pause` until it is 0, send `request`, and `settle` what came of it."""

    def __init__(self, session_id: str, *, interval_s: float, source: str, clock: Clock) -> None:
        if not 2 * _schedule.FLOOR_S <= interval_s <= 3600:
            raise ValueError(f"interval_s is seconds, {2 * _schedule.FLOOR_S:g} to 3600")
        _requests.touch(session_id, source, 0.0, 1)  # refuse now what could not be sent later
        self._session_id, self._source, self._clock = session_id, source, clock
        self._state = _schedule.begin(interval_s, clock.monotonic(), clock.wall())
        self.gone: str | None = None

    @property
    def session(self) -> Session | None:
        return self._state.session

    def pause(self) -> float:
        """Seconds to wait before asking again; 0 when a beat is due."""
        self._observe()
        return _schedule.pause_s(self._state)

    def request(self, *, active: bool) -> Request:
        """The beat that is due."""
        self._state, beat = _schedule.beat(self._state, active=active)
        if beat.kind == "look":
            return _requests.get_session(self._session_id)
        return _requests.touch(self._session_id, self._source, beat.idle_s, 1)

    def settle(self, outcome: Session | Exception) -> Session | None:
        """Take the outcome in. Returns the session when its owner is to be warned; `gone` is set when it is gone."""
        self._observe()
        chance = self._clock.random()
        if isinstance(outcome, Session | CompanionError):
            self.gone = _schedule.gone(outcome)
        if isinstance(outcome, Session):
            if self._state.failures:
                LOG.info("session %s: the companion answers again", self._session_id)
            self._state = _schedule.answered(self._state, outcome, chance=chance)
        else:
            if not self._state.failures and self.gone is None:
                LOG.warning("session %s: a heartbeat failed and is tried again: %s", self._session_id, outcome)
            self._state = _schedule.failed(self._state, outcome, chance=chance)
        if self.gone is not None:
            return None
        self._state, warned = _schedule.warning(self._state)
        return warned

    def _observe(self) -> None:
        self._state = _schedule.observe(self._state, self._clock.monotonic(), self._clock.wall())

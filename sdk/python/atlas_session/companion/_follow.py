"""Following a session's events: what to ask, what an answer means, and how long to wait before asking again.

Holds the state of one follower; it never waits or sends. The faces run it: `request`, then `begin` or `lost`, then `feed`
until the stream ends, then `lost` for the wait before the next `request`, until `over`.
"""

from __future__ import annotations

from atlas_session.companion import _answers, _requests
from atlas_session.companion._answers import Answer
from atlas_session.companion._requests import Request
from atlas_session.companion._sse import Parser, TooLong
from atlas_session.companion.errors import BadAnswer, Busy, CompanionError, SessionEnded, Unreachable
from atlas_session.companion.values import FINAL, Event

__all__ = ["Follower"]

_RETRY_S, _LEAST_S, _MOST_S = 3.0, 0.5, 60.0


class Follower:
    """`over`: there is nothing more to come. `attempts`: the most to make before the first stream; after it, no end."""

    def __init__(self, session_id: str, last_event_id: str | None, *, attempts: int) -> None:
        self._session_id = session_id
        self._last_id = last_event_id or ""
        self._attempts = attempts
        self._parser = Parser(self._last_id)
        self._retry_s = _RETRY_S
        self._failures = 0
        self._begun = False
        self.over = False
        self.request = self._request()

    def begin(self, answer: Answer, *, streaming: bool, key: str, now: float) -> None:
        """What the answer to `request` means. Raises the error that it is; after 204 and 410 all is `over`."""
        if streaming:
            self._begun = True
            self._parser = Parser(self._last_id)
            return
        error = _answers.refusal(self.request, answer, key=key, now=now)
        if answer.status == 204 or isinstance(error, SessionEnded):
            self.over = True
            return
        raise error or BadAnswer(f"{self.request}: no stream of events", status=answer.status)

    def feed(self, piece: bytes) -> list[Event]:
        """The events that these bytes complete. Behind the one that ends the session, all is `over`. Raises BadAnswer."""
        self._failures = 0
        try:
            messages = self._parser.feed(piece)
        except TooLong as error:
            raise BadAnswer(f"{self.request}: {error}") from None
        self._last_id = self._parser.last_event_id
        if self._parser.retry_ms is not None:
            self._retry_s = min(max(self._parser.retry_ms / 1000, _LEAST_S), _MOST_S)
        found = []
        for message in messages:
            event, session = _answers.event(message.id, message.event, message.data)
            found.append(event)
            if event.event == "status" and session is not None and session.status in FINAL:
                self.over = True
                break
        return found

    def lost(self, error: CompanionError | None, *, chance: float) -> float:
        """Seconds to wait before the next `request`: the stream ended, or there was this error. Raises it when it stays.

        The wait is what the server asked for (3 s until it does), doubled with each failure in a row up to 60 s, and then
        drawn between half and all of that. `chance`: from 0 up to 1.
        """
        passing = isinstance(error, Unreachable | Busy) or (isinstance(error, BadAnswer) and error.status in (500, 502))
        if error is not None and (not passing or (not self._begun and self._failures + 1 >= self._attempts)):
            raise error
        most = min(_MOST_S, self._retry_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self.request = self._request()
        asked = (error.retry_after_s or 0.0) if isinstance(error, Busy) else 0.0
        return min(asked, 300.0) + most * (0.5 + chance / 2)

    def _request(self) -> Request:
        return _requests.events(self._session_id, self._last_id)

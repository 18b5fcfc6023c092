"""What the ASGI and the WSGI guard share: settings, what verifies visitors now, memories, and who is connected."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from atlas_session.guard._activity import Activity
from atlas_session.guard._decide import Admitted, Refused, Verdict, decide, still_holds
from atlas_session.guard._facts import Facts
from atlas_session.guard._nonces import NonceMemory
from atlas_session.guard._settings import GuardSettings
from atlas_session.guard._stripping import readable_path
from atlas_session.guard._verifier import Verifier

__all__ = ["Gate", "Reporter"]

_log = logging.getLogger("atlas_session.guard")


class Reporter(Protocol):
    """What keeps the gate in touch with the companion."""

    def ensure_started(self) -> None:
        """Called at each request: cheap once it runs in this process."""

    def stop(self) -> None:
        """Called when the server ends; does not wait."""


class _Live:
    """A connection that is open, and how to end it (from any thread)."""

    __slots__ = ("admitted", "end")

    def __init__(self, admitted: Admitted, end: Callable[[], None]) -> None:
        self.admitted = admitted
        self.end = end


class Gate:
    """Decides, counts, and ends what is no longer allowed. Safe for threads.

    `clock` gives unix seconds, `monotonic` seconds that never jump.
    """

    def __init__(
        self,
        settings: GuardSettings,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.verifier = settings.verifier()
        self.activity = Activity(settings.sources)
        self.nonces = NonceMemory()
        #: Without a companion nothing changes, and nobody needs to be told.
        self.can_change = settings.companion_url is not None
        self._clock = clock
        self._monotonic = monotonic
        self._live: set[_Live] = set()
        self._lock = threading.Lock()

    def judge(self, facts: Facts) -> Verdict:
        """The verdict; a refusal is logged. Who lets the request in counts it (`note`)."""
        now = self._clock()
        verdict = decide(facts, self.settings, self.verifier, now, lambda nonce, until: self._spend(nonce, until, now))
        if isinstance(verdict, Refused):
            self.log_refusal(verdict, facts)
        return verdict

    def log_refusal(self, verdict: Refused, facts: Facts) -> None:
        """One line: why, what, and who; never a query, a grant or a token."""
        _log.info(
            "refused (%s): %s %s from %s",
            verdict.reason,
            _printable(facts.method),
            _printable(readable_path(facts.path)),
            verdict.address or "an unknown address",
        )

    def note(self, source: str, admitted: Admitted) -> None:
        """Counts one activity of an admitted visitor; what is public is none."""
        if admitted.how != "public":
            self.activity.note(source, self._monotonic())

    def holds(self, admitted: Admitted) -> bool:
        """Whether what let it in would still do."""
        return still_holds(admitted, self.verifier)

    def replace(self, verifier: Verifier) -> None:
        """From now on this one verifies visitors. Ends what is open and would no longer be let in."""
        self.verifier = verifier
        with self._lock:
            ended = [live for live in self._live if not still_holds(live.admitted, verifier)]
        for live in ended:
            live.end()

    def connect(self, admitted: Admitted, end: Callable[[], None]) -> Callable[[], None]:
        """Remembers an open connection; `end` is called, from any thread, when it must go. Returns what forgets it."""
        live = _Live(admitted, end)
        with self._lock:
            self._live.add(live)
        if not self.holds(admitted):  # replaced between the verdict and here
            end()
        return lambda: self._forget(live)

    def _forget(self, live: _Live) -> None:
        with self._lock:
            self._live.discard(live)

    def forked(self) -> None:
        """In a forked child: nothing is connected here, and nothing was counted here."""
        self._lock = threading.Lock()
        self._live = set()
        self.activity.forget()

    def _spend(self, nonce: str, until: float, now: float) -> bool:
        return self.nonces.spend(nonce, until, now)


def _printable(text: str) -> str:
    """In one line and not too long, whatever the visitor wrote."""
    return text[:256].encode("unicode_escape").decode("ascii")

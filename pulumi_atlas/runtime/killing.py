"""The one gate that every end passes that no user asked for. It fails closed.

Behind it: the freeze, the clock, the outages of providers, and the cap on kills. What is refused stays as it is, and is
asked again later; what could not be written did not happen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pulumi_atlas import failpoints
from pulumi_atlas.errors import Conflict, NotFound
from pulumi_atlas.models.session import Session
from pulumi_atlas.rules.sessions.freeze import CLOCK_JUMPED, STORE_UNAVAILABLE, ClockWatch, Freeze
from pulumi_atlas.rules.sessions.kills import Kills, Refusal, refusal
from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.runtime._pausing import BackOff
from pulumi_atlas.runtime.ledger import Change, Ledger, Live
from pulumi_atlas.runtime.outage import Outage
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["BEAT_S", "ClockGuard", "Ending", "Gate"]

_log = logging.getLogger(__name__)

#: How often the clocks are compared, seconds.
BEAT_S = 1.0

#: Decides with the freshest row, entry and time, whether and how the session ends; None: it does not.
Ending = Callable[[Session, Live, Moment], Change | None]


class ClockGuard:
    """Freezes kills when the wall clock cannot be believed. Nothing is decided about at a moment that it has not seen."""

    def __init__(self, ledger: Ledger, settings: RuntimeSettings, freeze: Freeze) -> None:
        self._ledger, self._settings, self._freeze = ledger, settings, freeze
        self._watch = ClockWatch.begin(ledger.moment())

    def look(self, now: Moment, *, beat: bool = False) -> None:
        """Compare the clocks. After a grace the new wall clock is taken for true, and each deadline follows it."""
        before = self._watch
        after = before.after(now, jump_s=self._settings.jump_s, grace_s=self._settings.grace_s, beat=beat)
        self._watch = after
        if after.jumped:
            self._freeze.hold(CLOCK_JUMPED)
            if after.offset != before.offset:
                self._ledger.clock_turned(after.offset - before.offset)
            if after.thaw_at != before.thaw_at:
                by = after.offset - before.seen
                _log.warning(
                    "the clock jumped by %+.1f s, or this process stood still; nothing is ended for a while", by
                )
        elif before.jumped:
            self._freeze.lift(CLOCK_JUMPED)
            self._ledger.reindex_all()
            self._ledger.earlier.set()
            _log.info("the wall clock is taken for true again")

    async def run(self) -> None:
        """Compare them every second, for ever."""
        while True:
            self.look(self._ledger.moment(), beat=True)
            await self._ledger.clock.sleep(BEAT_S)


class Gate:
    """Ends sessions, when that may be. Belongs to one event loop.

    Failpoints: `session.kill.1` a place under the cap is taken, nothing written · `session.kill.2` the end is written.
    """

    def __init__(self, ledger: Ledger, settings: RuntimeSettings, freeze: Freeze, outage: Outage) -> None:
        self.ledger, self.freeze, self.outage = ledger, freeze, outage
        self.clock_guard = ClockGuard(ledger, settings, freeze)
        self.kills = Kills(settings.max_kills_per_minute)
        self._store_fails = BackOff(1.0, 30.0)

    def moment(self) -> Moment:
        """Now; the clocks are compared first."""
        now = self.ledger.moment()
        self.clock_guard.look(now)
        return now

    def refusal(self, provider: str, account: str | None, now: Moment, *, capped: bool = True) -> Refusal | None:
        """Why no session of that account may be ended now; None when it may be."""
        return refusal(
            now.mono,
            frozen=self.freeze.why(now.mono),
            frozen_until=self.freeze.ends_at(now.mono),
            outage=self.outage.down(provider, account),
            free_at=self.kills.free_at(now.mono) if capped else now.mono,
        )

    async def end(self, session_id: str, ending: Ending) -> Refusal | bool:
        """Let `ending` decide with what is freshest, and write it. Whether something was written, or why it may not be now."""
        live = self.ledger.live.get(session_id)
        if live is None:
            return False
        now = self.moment()
        refused = self.refusal(live.provider, live.account, now)
        if refused is not None:
            return refused
        self.kills.take(now.mono)
        failpoints.reach("session.kill.1")
        written = False
        try:
            outcome = await self._write(live, ending)
            written = outcome is True
        finally:
            if written:
                self.kills.done(self.ledger.moment().mono)
            else:
                self.kills.give_back()
        if written:
            failpoints.reach("session.kill.2")
        return outcome

    async def _write(self, live: Live, ending: Ending) -> Refusal | bool:
        refused: Refusal | None = None
        written = False

        def decide(session: Session) -> Change | None:
            nonlocal refused, written
            now, written = self.moment(), False
            refused = self.refusal(live.provider, live.account, now, capped=False)
            if refused is not None:
                return None
            if session.version > live.version:
                live.take(session, now)  # somebody else's companion or an operator's tool wrote it
            change = ending(session, live, now)
            written = change is not None
            return change

        try:
            await self.ledger.change(live.id, decide)
        except StoreUnavailable as error:
            return self.store_failed(error)
        except (NotFound, Conflict):
            return False
        if written:
            self.store_worked()
        return refused or written

    def store_failed(self, error: StoreUnavailable) -> Refusal:
        """The store did not take a write: everything waits, longer after each failure in a row."""
        now = self.ledger.moment().mono
        if STORE_UNAVAILABLE in self.freeze.why(now):
            return Refusal("frozen", STORE_UNAVAILABLE, now + 1.0)
        wait = self._store_fails.failed()
        self.freeze.hold(STORE_UNAVAILABLE, until=now + wait)
        _log.warning("the store is unavailable, nothing is ended for %g s: %s", wait, error.message)
        return Refusal("frozen", STORE_UNAVAILABLE, now + wait)

    def store_worked(self) -> None:
        """The store took a write: nothing needs to wait for it any more."""
        self._store_fails.worked()
        if STORE_UNAVAILABLE in self.freeze.why(self.ledger.moment().mono):
            self.freeze.lift(STORE_UNAVAILABLE)
            self.ledger.earlier.set()

    def status(self) -> dict[str, Any]:
        """What stands in the way of kills: `frozen` reasons, `outages`, kills of the last minute and the cap."""
        now = self.ledger.moment()
        return {
            "frozen": list(self.freeze.why(now.mono)),
            "outages": self.outage.status(),
            "kills_last_minute": self.kills.count(now.mono),
            "max_kills_per_minute": self.kills.per_minute,
        }

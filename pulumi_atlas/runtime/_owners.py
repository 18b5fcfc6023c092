"""Budgets of owners: each owner is looked at when its money is about to reach the next mark, not at every tick."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from pulumi_atlas.errors import Conflict, NotFound
from pulumi_atlas.models.session import GONE_STATES, Session, SessionEvent
from pulumi_atlas.rules.sessions.kills import Refusal
from pulumi_atlas.rules.sessions.lease import Moment, marks
from pulumi_atlas.rules.sessions.spending import MARK, Spending, judge_spending, mark_of, spending
from pulumi_atlas.runtime._pausing import pause
from pulumi_atlas.runtime.killing import Gate
from pulumi_atlas.runtime.ledger import Change, Happened, Ledger, Live
from pulumi_atlas.runtime.settings import Limits
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["Owners"]

_log = logging.getLogger(__name__)

#: An owner whose sessions change is looked at this often at most, seconds.
_APART_S = 1.0

#: How long an owner is left alone after a fault of ours, seconds.
_FAULT_S = 30.0


class Owners:
    """Which owner has which sessions, kept by the ledger's news; and who is to be looked at when.

    Each session of an owner near the budget is warned once, and that is noted with it: so it holds across restarts, and
    new sessions are warned too. When the owner falls below again (old sessions leave the window), the note goes.
    """

    def __init__(self, ledger: Ledger, limits: Limits, gate: Gate) -> None:
        self._ledger, self._gate = ledger, gate
        self._budget, self._window_s = limits.owner_budget, limits.owner_budget_days * 86_400.0
        self._of: dict[str, dict[str, None]] = {}  # in the order of opening
        self._looks: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}
        self._changed: set[str] = set()
        self._settled: dict[str, float] = {}  # final sessions' money in the window, as last read
        self._loaded = False
        self._news = asyncio.Event()
        if self._budget is not None:
            ledger.listeners.append(self._told)

    # -- the index

    def _load(self) -> None:
        self._loaded = True
        for live in self._ledger.live.values():
            if live.owner is not None:
                self._of.setdefault(live.owner, {})[live.id] = None
                self._changed.add(live.owner)

    def _told(self, session: Session, events: Sequence[SessionEvent]) -> None:
        if session.owner is None:
            return
        mine = self._of.setdefault(session.owner, {})
        if session.is_final:
            mine.pop(session.id, None)
        else:
            mine[session.id] = None
        self._changed.add(session.owner)
        self._news.set()

    def _lives(self, owner: str) -> list[Live]:
        return [self._ledger.live[one] for one in self._of.get(owner, ()) if one in self._ledger.live]

    # -- the task

    async def run(self) -> None:
        """Look at owners when it is time, for ever. Without a budget there is nothing to do."""
        while self._budget is not None:
            self._news.clear()
            at = await self.step(self._ledger.moment())
            await self._ledger.clock.sleep(_APART_S)
            if not self._changed:
                wait = None if at is None else at - self._ledger.clock.monotonic()
                await pause(self._ledger.clock, wait, self._news)
        await asyncio.Event().wait()

    async def step(self, now: Moment | None = None) -> float | None:
        """Look at those who changed or whose time has come. Returns when to look next (monotonic)."""
        if self._budget is None:
            return None
        now = self._gate.moment() if now is None else now
        if not self._loaded:
            self._load()
        owners, self._changed = self._changed, set()
        while self._looks and self._looks[0][0] <= now.mono:
            at, owner = heapq.heappop(self._looks)
            if self._at.get(owner) == at:
                owners.add(owner)
        for owner in sorted(owners):
            try:
                look_at = await self._look(owner, self._budget, now)
            except Exception:  # noqa: BLE001 - logged; the others are looked at, and this one later
                _log.exception("an owner's budget could not be looked at")
                look_at = now.mono + _FAULT_S
            self._look_again(owner, look_at)
        return self._looks[0][0] if self._looks else None

    def _look_again(self, owner: str, at: float | None) -> None:
        self._at.pop(owner, None)
        if not self._of.get(owner):
            self._of.pop(owner, None)
            self._settled.pop(owner, None)
        elif at is not None:
            self._at[owner] = at
            heapq.heappush(self._looks, (at, owner))

    async def _look(self, owner: str, budget: float, now: Moment) -> float | None:
        if not self._lives(owner):
            return None
        try:
            self._settled[owner] = await self._ledger.store.spent(owner, since=now.wall - self._window_s)
        except StoreUnavailable as error:
            return self._gate.store_failed(error).look_at
        act, look_at = judge_spending(budget, self._money(owner, now), now)
        if act == "stop":
            held = await self._stop(owner, budget)
            return look_at if held is None else max(held.look_at, now.mono + _APART_S)
        for live in self._lives(owner):
            if (mark_of(budget) in marks(live.warned)) != (act == "warn") and not await self._note(live, act, budget):
                return now.mono + _APART_S
        return look_at

    def _money(self, owner: str, now: Moment) -> Spending:
        return spending(self._settled.get(owner, 0.0), self._lives(owner), now.wall)

    # -- what follows

    async def _stop(self, owner: str, budget: float) -> Refusal | None:
        """End all sessions of the owner. The first refusal ends the round, but an outage holds only its own."""
        outage = None

        def ending(session: Session, live: Live, now: Moment) -> Change | None:
            if session.is_gone or self._money(owner, now).spent < budget:
                return None
            reason = f"its owner's budget of {budget:g} is spent"
            fields = {"outcome": "terminated"}
            return Change(actor="reaper", cause="owner_budget", to="terminating", reason=reason, fields=fields)

        for live in self._lives(owner):
            if live.state in GONE_STATES:
                continue
            outcome = await self._gate.end(live.id, ending)
            if isinstance(outcome, Refusal):
                if outcome.why != "outage":
                    return outcome
                outage = outcome
        return outage

    async def _note(self, live: Live, act: str, budget: float) -> bool:
        """Warn the session, or take back the note that it was warned. Whether that is done."""

        def decide(session: Session) -> Change | None:
            now = self._gate.moment()
            if session.is_gone or self._gate.freeze.why(now.mono):
                return None
            stay = [mark for mark in marks(live.warned) if not mark.startswith(MARK)]
            if act != "warn":
                return Change(actor="reaper", cause="owner_budget", fields={"warned": " ".join(stay) or None})
            spent = round(self._money(str(live.owner), now).spent, 6)
            told = {"warned_of": "owner_budget", "spent": spent, "owner_budget": budget}
            fields = {"warned": " ".join([*stay, mark_of(budget)])}
            return Change(actor="reaper", cause="owner_budget", fields=fields, events=(Happened("warning", told),))

        if live.state in GONE_STATES:
            return True
        try:
            written = await self._ledger.change(live.id, decide)
        except StoreUnavailable as error:
            self._gate.store_failed(error)
            return False
        except (NotFound, Conflict):
            return True
        return written.is_gone or (mark_of(budget) in marks(written.warned)) == (act == "warn")

    def plan(self, now: Moment) -> Iterator[dict[str, Any]]:
        """What would be done for owners over their budget, as rows of the reaper's plan."""
        if self._budget is None:
            return
        for owner in list(self._of):
            if self._money(owner, now).spent < self._budget:
                continue
            for live in self._lives(owner):
                if live.state in GONE_STATES:
                    continue
                refused = self._gate.refusal(live.provider, live.account, now)
                yield {
                    "id": live.id,
                    "owner": owner,
                    "act": "terminate",
                    "deadline": "owner_budget",
                    "overdue_s": 0.0,
                    "held": None if refused is None else refused.text,
                }

"""Ends sessions at their deadlines, each after its warning, and not one before.

What is due comes from the ledger's index of deadlines. An end is decided again within the write, with the freshest
activity; what may not end now waits in the order of its deadlines:

- under a freeze and under the cap, all wait together, and are looked at again when it passes;
- in an outage, the provider's sessions wait apart. When it ends, those whose idle time ran out meanwhile get grace: nobody
  could use them. Lifetime, budget and pause get none.

A session whose idle deadline passed in a freeze, before its warning could be written, is warned then, and ends afterwards.
Failpoints: `session.warn.1` a warning is due, nothing written · `session.warn.2` it is written · `session.kill.…` see
`killing`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import cache
from typing import Any

from pulumi_atlas import failpoints
from pulumi_atlas.errors import ConfigError, Conflict, NotFound
from pulumi_atlas.models.session import Session
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import ABILITIES
from pulumi_atlas.rules.sessions.kills import Refusal
from pulumi_atlas.rules.sessions.lease import Deadline, Moment, Verdict, deadlines, judge, marks, warned_of
from pulumi_atlas.rules.sessions.spending import MARK
from pulumi_atlas.runtime._owners import Owners
from pulumi_atlas.runtime._pausing import pause
from pulumi_atlas.runtime.killing import Gate
from pulumi_atlas.runtime.ledger import Change, Happened, Ledger, Live
from pulumi_atlas.runtime.outage import AccountKey
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["Reaper", "can_stop"]

_log = logging.getLogger(__name__)

#: So many writes are under way at most: more would only wait in the store's queue.
_WRITES = 32

#: How many sessions are looked at between two turns of the loop.
_PIECE = 200

#: How long a session is left alone after a fault of ours, seconds.
_FAULT_S = 30.0

#: The longest wait while something is held back, seconds.
_SOON_S = 1.0


@cache
def can_stop(provider: str) -> bool:
    """Whether the provider keeps the storage of a pod that is stopped. Not when it cannot be loaded."""
    try:
        return hasattr(registry.load(provider), ABILITIES["stop"][1])
    except ConfigError:
        return False


class Reaper:
    """One task for all deadlines. `step` does what is due at a moment, so that tests can do without the task."""

    def __init__(
        self, ledger: Ledger, settings: RuntimeSettings, gate: Gate, *, stops: Callable[[str], bool] = can_stop
    ) -> None:
        self._ledger, self._settings, self._gate, self._stops = ledger, settings, gate, stops
        self.owners = Owners(ledger, settings.limits, gate)
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, str]] = []  # deadlines that have come, the longest overdue first
        self._apart: dict[AccountKey, dict[str, None]] = {}  # the same, of providers that are down
        self._held: set[str] = set()  # everything in those two
        self._frozen: set[str] = set()  # what was due while everything was frozen
        self._refused: Refusal | None = None
        self._begun = False
        #: Told of each end: its cause, and seconds since its deadline. Must not block.
        self.killed: Callable[[str, float], None] = lambda cause, delay_s: None
        gate.outage.ended.append(self._outage_ended)

    # -- the task

    async def run(self) -> None:
        """Reap, for ever: deadlines, owners' budgets, and the clock's guard."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._gate.clock_guard.run())
            tasks.create_task(self.owners.run())
            tasks.create_task(self._run())

    async def _run(self) -> None:
        if self._begun:
            self._recall()
        self._begun = True
        while True:
            self._ledger.earlier.clear()
            at = await self.step(self._ledger.moment())
            wait = None if at is None else at - self._ledger.clock.monotonic()
            if wait is None or wait > 0:
                await pause(self._ledger.clock, wait, self._ledger.earlier)

    def _recall(self) -> None:
        """It broke in the middle of something: what was taken up then, and not done, is looked at anew."""
        self._waiting.clear()
        self._apart.clear()
        self._held.clear()
        self._frozen.clear()
        self._ledger.reindex_all()

    async def step(self, now: Moment | None = None) -> float | None:
        """Do what is due. Returns when to look next (monotonic); None when nothing is known to come."""
        now = self._gate.moment() if now is None else now
        self._gate.clock_guard.look(now)
        self._refused = None
        frozen = bool(self._gate.freeze.why(now.mono))
        if not frozen and self._frozen:
            await self._thaw(now)
        await self._each(await self._due(now, frozen), self._warn)
        if not frozen:
            await self._each(self._next(), self._end)
        return self._look_at(now)

    def _look_at(self, now: Moment) -> float | None:
        nexts = [self._ledger.next_due()]
        if self._refused is not None:
            nexts.append(max(self._refused.look_at, now.mono + 0.01))
        elif self._frozen or self._waiting:
            nexts.append(now.mono + _SOON_S)
        known = [at for at in nexts if at is not None]
        return min(known, default=None)

    async def _each(self, work: Iterable[str], act: Callable[[str], Awaitable[None]]) -> None:
        """Do it for each, several at a time, in order."""
        rest = iter(work)

        async def worker(one: str | None) -> None:
            while one is not None:
                await self._guarded(act, one)
                await asyncio.sleep(0)  # touches come first, also with a store that answers at once
                one = next(rest, None)

        async with asyncio.TaskGroup() as tasks:
            for one in list(itertools.islice(rest, _WRITES)):
                tasks.create_task(worker(one))

    async def _guarded(self, act: Callable[[str], Awaitable[None]], session_id: str) -> None:
        """A fault of ours about one session is no reason to forget it, nor to stop looking at the others."""
        try:
            await act(session_id)
        except Exception:  # noqa: BLE001 - logged, and asked again later
            _log.exception("session %s could not be looked at", session_id)
            self._held.discard(session_id)
            live = self._ledger.live.get(session_id)
            if live is not None:
                live.looked_at = None
                self._ledger.look_again(live, self._ledger.clock.monotonic() + _FAULT_S)

    # -- what is due

    async def _due(self, now: Moment, frozen: bool) -> list[str]:
        """Sort what has come: ends begin to wait, and who is to be warned is told. Under a freeze everything waits."""
        warned = []
        for count, (live, verdict) in enumerate(self._ledger.due(now), 1):
            if count % _PIECE == 0:
                await asyncio.sleep(0)
            if frozen:
                self._frozen.add(live.id)
            elif verdict.act == "warn":
                warned.append(live.id)
            elif live.id not in self._held and verdict.deadline is not None:
                self._wait(live.id, verdict.deadline.at)
        return warned

    def _wait(self, session_id: str, at: float) -> None:
        self._held.add(session_id)
        heapq.heappush(self._waiting, (at, next(self._order), session_id))

    async def _thaw(self, now: Moment) -> None:
        """Kills are free again: what came meanwhile is looked at anew, and whoever was not warned is warned first."""
        ids, self._frozen = self._frozen, set()
        for count, one in enumerate(ids, 1):
            if count % _PIECE == 0:
                await asyncio.sleep(0)
            live = self._ledger.live.get(one)
            if live is None:
                continue
            verdict = judge(live, now)
            if verdict.act == "end" and verdict.deadline is not None and _unwarned(live, verdict.deadline):
                live.grace_mono = now.mono + min(live.warn_before_s, live.idle_ttl_s / 2)
            live.looked_at = None
            self._ledger.look_again(live, now.mono)

    def _outage_ended(self, key: AccountKey, now: Moment) -> None:
        for one in self._apart.pop(key, {}):
            self._held.discard(one)
            live = self._ledger.live.get(one)
            if live is not None:
                live.looked_at = None
                self._ledger.look_again(live, now.mono)
        for live in self._ledger.live.values():
            passed = live.looked_at is None or live.looked_at <= now.mono
            if passed and live.state == "ready" and (live.provider, live.account) == key and _is_idle(live, now):
                live.grace_mono = now.mono + self._settings.grace_s
        self._ledger.earlier.set()

    # -- ends

    def _next(self) -> Iterator[str]:
        """Who is to end, in order, until all must wait."""
        while self._waiting and self._refused is None:
            _, _, session_id = heapq.heappop(self._waiting)
            yield session_id

    async def _end(self, session_id: str) -> None:
        live = self._ledger.live.get(session_id)
        due = None if live is None else judge(live, self._ledger.moment()).deadline
        outcome = await self._gate.end(session_id, self._ending)
        if outcome is True and due is not None:
            self.killed(due.cause, self._ledger.clock.monotonic() - due.at)
        live = self._ledger.live.get(session_id)
        if live is None:
            self._held.discard(session_id)
        elif not isinstance(outcome, Refusal):
            self._held.discard(session_id)
            if self._ledger.reindex(live, self._ledger.moment()).act == "end":  # nothing was written, whyever
                live.looked_at = None
                self._ledger.look_again(live, self._ledger.clock.monotonic() + _SOON_S)
        elif self._gate.outage.down(live.provider, live.account) is not None:
            self._apart.setdefault((live.provider, live.account), {})[session_id] = None
        else:
            self._refused = outcome
            deadline = judge(live, self._ledger.moment()).deadline
            self._wait(session_id, self._ledger.clock.monotonic() if deadline is None else deadline.at)

    def _ending(self, session: Session, live: Live, now: Moment) -> Change | None:
        verdict = judge(live, now)
        if verdict.act != "end" or verdict.deadline is None:
            return None
        return self._change(live, verdict.deadline)

    def _change(self, live: Live, deadline: Deadline) -> Change:
        reason = _REASONS[deadline.kind]
        if deadline.kind == "idle" and live.on_idle == "stop" and self._stops(live.provider):
            return Change(actor="reaper", cause="idle", to="pausing", reason=reason)
        return Change(
            actor="reaper", cause=deadline.cause, to="terminating", reason=reason, fields={"outcome": "terminated"}
        )

    # -- warnings

    async def _warn(self, session_id: str) -> None:
        failpoints.reach("session.warn.1")
        again_at = self._ledger.clock.monotonic() + _SOON_S
        try:
            await self._ledger.change(session_id, self._warning)
        except StoreUnavailable as error:
            again_at = self._gate.store_failed(error).look_at
            self._frozen.add(session_id)  # as all that comes due while nothing can be written
        except (NotFound, Conflict):
            return
        else:
            failpoints.reach("session.warn.2")
        live = self._ledger.live.get(session_id)
        if live is not None and self._ledger.reindex(live, self._ledger.moment()).act == "warn":
            live.looked_at = None  # not written: not before the store was left alone for a while
            self._ledger.look_again(live, again_at)

    def _warning(self, session: Session) -> Change | None:
        live, now = self._ledger.live.get(session.id), self._gate.moment()
        if live is None or self._gate.freeze.why(now.mono):
            return None
        verdict = judge(live, now)
        if verdict.act != "warn" or verdict.deadline is None:
            return None
        one = verdict.deadline
        told = {"warned_of": one.kind, "ends_at": round(now.wall + one.at - now.mono, 3)}
        return Change(
            actor="reaper",
            cause=one.cause,
            fields={"warned": warned_of(live, now, one.identity, keep=MARK)},
            events=(Happened("warning", told),),
        )

    # -- what a person may see

    def plan(self) -> dict[str, Any]:
        """What would be done now, and what is held back and why; nothing is done. See `status` for what holds it back.

        `rows`: {id, owner, act: warn | pause | terminate, deadline, overdue_s, held: why not now, or None}.
        """
        now = self._ledger.moment()
        rows = [*self._rows(now), *self.owners.plan(now)]
        return {"now": now.wall, **self._gate.status(), "rows": sorted(rows, key=lambda row: -row["overdue_s"])}

    def _rows(self, now: Moment) -> Iterator[dict[str, Any]]:
        free = self._gate.kills.per_minute - self._gate.kills.count(now.mono)
        found = [
            (live, judge(live, now))
            for live in self._ledger.live.values()
            if live.looked_at is None or live.looked_at <= now.mono
        ]
        ends = [(live, verdict) for live, verdict in found if verdict.act != "wait" and verdict.deadline is not None]
        for live, verdict in sorted(ends, key=lambda pair: _at(pair[1])):
            refused = self._gate.refusal(live.provider, live.account, now, capped=False)
            held = refused.text if refused is not None else None
            if verdict.act == "end" and held is None and self._gate.kills.per_minute:
                free -= 1
                held = "the cap on kills in a minute" if free < 0 else None
            if verdict.act == "warn" and refused is not None and refused.why == "outage":
                held = None
            yield self._row(live, verdict, held, now)

    def _row(self, live: Live, verdict: Verdict, held: str | None, now: Moment) -> dict[str, Any]:
        assert verdict.deadline is not None
        act = "warn"
        if verdict.act == "end":
            act = "pause" if self._change(live, verdict.deadline).to == "pausing" else "terminate"
        due = verdict.deadline.at if verdict.act == "end" else verdict.deadline.warn_at or now.mono
        return {
            "id": live.id,
            "owner": live.owner,
            "act": act,
            "deadline": verdict.deadline.kind,
            "overdue_s": round(now.mono - due, 3),
            "held": held,
        }

    def status(self) -> dict[str, Any]:
        """The gate's status, and `waiting`: how many sessions are past their deadline and held back."""
        return {**self._gate.status(), "waiting": len(self._held) + len(self._frozen)}


_REASONS = {
    "idle": "nobody used it",
    "lifetime": "its lifetime is over",
    "budget": "its budget is spent",
    "paused": "it was paused too long",
}


def _at(verdict: Verdict) -> float:
    return verdict.deadline.at if verdict.deadline is not None else 0.0


def _is_idle(live: Live, now: Moment) -> bool:
    return any(one.kind == "idle" and one.at <= now.mono for one in deadlines(live, now))


def _unwarned(live: Live, deadline: Deadline) -> bool:
    return deadline.kind == "idle" and live.warn_before_s > 0 and deadline.identity not in marks(live.warned)

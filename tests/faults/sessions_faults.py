"""Thousands of operations on a companion whose cloud fails three calls of ten: none twice there, none forgotten, none early."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi_atlas.errors import AtlasError
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.models.session import Session
from tests.faults.sessions_stage import Stage, stage

__all__ = ["FaultTally", "run"]

_COUNTS = ("duplicated", "forgotten", "killed_early", "foreign_touched", "failed")
_GRACE_S = 120.0
#: Waits of the companion that are shortened, so that the end comes sooner; the rest is as it comes.
_SETTINGS: dict[str, Any] = {
    "orphan_sweep": "on", "orphan_min_age_s": 120, "irrevocable_retry_s": 300, "max_kills_per_minute": 30,
}  # fmt: skip
_AWAY = "somebody-else"
#: By which a session may end without its user or its time having ended it.
_EXCUSED = {"closed", "pause", "provision_failed", "provision_timeout", "lifetime", "paused_too_long", "no_price"}
_WEIGHTS = {
    "touch": 40, "wait": 22, "open": 14, "close": 5, "extend": 5, "pause": 4, "resume": 5, "rotate": 2, "crash": 2,
    "restart": 1,
}  # fmt: skip


@dataclass
class FaultTally:
    """What the campaign counted. `holds`: as it must be."""

    campaign: str = "sessions-faults"
    operations: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    calls_failed: int = 0
    simulated_s: float = 0.0
    troubles: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.operations > 0 and not any(self.counts.values())

    def line(self) -> str:
        counts = {name: self.counts[name] for name in _COUNTS}
        about = {
            "campaign": self.campaign, "operations": self.operations, **counts, "sessions": self.sessions,
            "calls": self.calls, "calls_failed": self.calls_failed, "simulated_h": round(self.simulated_s / 3600, 1),
            "ended": dict(sorted(self.ended.items())), "done": dict(sorted(self.done.items())), "holds": self.holds,
        }  # fmt: skip
        return json.dumps(about)

    def note(self, name: str, found: list[Any]) -> None:
        new = [f"{self.campaign} operation {self.operations}: {name}: {one}" for one in found]
        new = [text for text in new if text.split(": ", 1)[1] not in {one.split(": ", 1)[1] for one in self.troubles}]
        self.counts[name] += len(new)
        self.troubles += new
        if new:
            print(*new, sep="\n", file=sys.stderr, flush=True)


@dataclass
class _Known:
    """What is known of a session from outside. Times are monotonic: of its last acknowledged touch, until when it was
    to be kept, and until when a restart gives it grace."""

    idle_ttl_s: float
    used: bool
    active: float = -math.inf
    keep: float = -math.inf
    grace: float = -math.inf


def run(operations: int, *, seed: int = 0, workers: int = 1, folder: Path | None = None) -> FaultTally:
    """One companion after the other on one store. `workers` is not used: time is simulated, in one thread."""
    place = Path(tempfile.mkdtemp(prefix="atlas-sessions-", dir=folder))
    tally = FaultTally()
    try:
        with stage(place, seed, **_SETTINGS) as made, _listening(tally):
            asyncio.run(_Play(made, tally).whole(operations))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return tally


class _Faults(logging.Handler):
    """A fault of ours is logged with where it came from; what a cloud does is not."""

    def __init__(self, tally: FaultTally) -> None:
        super().__init__()
        self.tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.tally.note("failed", [logging.Formatter().format(record)[-3000:]])


@contextmanager
def _listening(tally: FaultTally) -> Iterator[None]:
    log, handler = logging.getLogger("pulumi_atlas"), _Faults(tally)
    before, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before


class _Play:
    def __init__(self, made: Stage, tally: FaultTally) -> None:
        self.stage, self.tally, self.chance = made, tally, made.chance
        self.known: dict[str, _Known] = {}
        self.away = False
        self.foreign = {made.world.plant(ComputeSpec()).id for _ in range(3)}
        made.lies = lambda: (
            not any(
                live.state in ("requested", "provisioning", "terminating", "irrevocable")
                for live in made.companion.ledger.live.values()
            )
        )
        made.listeners.append(self._told)

    @property
    def now(self) -> float:
        return self.stage.clock.monotonic()

    async def whole(self, operations: int) -> None:
        await self.stage.start()
        self.stage.failing = 0.3
        names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
        for _ in range(operations):
            (name,) = self.chance.choices(names, weights)
            try:
                await getattr(self, f"_{name}")()
                self.tally.done[name] += 1
            except AtlasError:
                self.tally.done["refused"] += 1
            await self.stage.clock.settle()
            self.tally.operations += 1
            self._look()
            if self.tally.operations % 500 == 0:
                self.stage.world.clear_calls()
        await self._end()

    # -- operations

    async def _touch(self) -> None:
        ident = self._some("ready", "provisioning")
        if ident is not None and self.known[ident].used:
            await self.stage.companion.touch(ident, "http")
            self.known[ident].active, self.known[ident].grace = self.now, -math.inf

    async def _wait(self) -> None:
        await self.stage.clock.advance(self.chance.choice([0.5, 2.0, 2.0, 5.0, 15.0, 40.0]))

    async def _open(self) -> None:
        if self.stage.companion.ledger.not_gone >= 12:
            await self._close()
        ttl = self.chance.choice([30.0, 90.0, 400.0])
        opened = await self.stage.open(
            idle_ttl_s=ttl,
            on_idle=self.chance.choice(["terminate", "stop"]),
            warn_before_s=self.chance.choice([0.0, 20.0]),
            max_lifetime_s=self.chance.choice([None, 3000.0]),
            paused_ttl_s=600.0,
            spec={"ready": {"timeout_s": 300}},
        )
        self.known[opened.session.id] = _Known(ttl, used=self.chance.random() < 0.5)

    async def _close(self) -> None:
        ident = self._some()
        if ident is not None:
            await self.stage.companion.close(ident, actor="key:k1")

    async def _extend(self) -> None:
        ident = self._some("ready")
        if ident is not None:
            session = await self.stage.companion.extend(ident, 200.0, actor="session", bounded=True)
            left = (session.keep_until or 0.0) - self.stage.clock.now()
            self.known[ident].keep = max(self.known[ident].keep, self.now + left)

    async def _pause(self) -> None:
        ident = self._some("ready")
        if ident is not None:
            await self.stage.companion.pause(ident, actor="key:k1")

    async def _resume(self) -> None:
        ident = self._some("paused")
        if ident is not None:
            await self.stage.companion.resume(ident, actor="key:k1")

    async def _rotate(self) -> None:
        ident = self._some("ready")
        if ident is not None:
            await self.stage.companion.rotate(ident, actor="key:k1")

    async def _crash(self) -> None:
        await self.stage.crash()
        await self._next()

    async def _restart(self) -> None:
        await self.stage.stop()
        await self._next()

    async def _next(self) -> None:
        """The next companion, sometimes after a while, sometimes with a key of another account."""
        down_s = self.chance.choice([0.0, 0.0, 10.0, 300.0])
        await self.stage.clock.advance(down_s)
        for one in self.known.values():
            one.active += down_s
        self.away = not self.away and self.chance.random() < 0.15
        self.stage.world.switch_account(_AWAY if self.away else None)
        for one in self.known.values():
            one.grace = self.now + _GRACE_S
        await self.stage.start()

    def _some(self, *states: str) -> str | None:
        lives = self.stage.companion.ledger.live.values()
        fit = [live.id for live in lives if (live.state in states if states else not live.is_gone)]
        return self.chance.choice(fit) if fit else None

    # -- what must hold

    def _told(self, session: Session, events: Any) -> None:
        known = self.known.get(session.id)
        if known is None or not any(event.kind == "status" for event in events):
            return
        if session.state == "ready":
            known.active, known.grace = max(known.active, self.now), -math.inf
        if session.state in ("terminating", "pausing"):
            self.tally.ended[session.cause] += 1
            if session.cause == "idle":
                early = max(known.active + known.idle_ttl_s, known.keep, known.grace) - self.now
                self.tally.note("killed_early", [f"{session.id} by {early:.3f} s"] if early > 1e-6 else [])
            elif session.cause not in _EXCUSED and not self._has_stopped(session):
                self.tally.note("killed_early", [f"{session.id} as {session.cause}: {session.reason}"])

    def _has_stopped(self, session: Session) -> bool:
        """A request to stop it was carried out late, and the session follows its pod."""
        pod = self.stage.pods().get(session.pod_id or "")
        return session.cause == "stopped" and pod is not None and pod.status == "stopped"

    def _look(self) -> None:
        owners = Counter(str(pod.owner) for pod in self.stage.ours().values())
        self.tally.note("duplicated", [owner for owner, count in owners.items() if count > 1])
        self.tally.note("foreign_touched", sorted(self.foreign - self.stage.pods().keys()))

    async def _end(self) -> None:
        """The cloud is well again: all sessions are closed, and then nothing may be left."""
        self.stage.failing = 0.0
        rows = await self.stage.rows()
        self.tally.sessions = len(self.known)
        self.tally.note("forgotten", [f"{ident} is not in the store" for ident in self.known if ident not in rows])
        for ident, row in rows.items():
            if not row.is_final:
                await self.stage.companion.close(ident, actor="key:k1")
        for away in (False, True, False):  # what was rented with another key goes only with that key
            await self.stage.stop()
            self.stage.world.switch_account(_AWAY if away else None)
            await self.stage.start()
            await self.stage.clock.advance(1200)
            self._look()
        states = await self.stage.states()
        self.tally.note("forgotten", [f"{i} is {s}" for i, s in states.items() if s not in ("terminated", "failed")])
        self.tally.note("forgotten", [f"{i} of {pod.owner} {pod.account}" for i, pod in self.stage.ours().items()])
        self.tally.calls, self.tally.calls_failed, self.tally.simulated_s = (
            self.stage.calls,
            self.stage.failed,
            self.now,
        )
        await self.stage.end()

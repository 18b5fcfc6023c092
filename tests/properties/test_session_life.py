"""The whole life of sessions, played in any order: touches, pauses, crashes at any step, lost answers, outages, clock jumps.

The model knows only what was done and when. Whatever happens, no session ends before its deadline, none much later while all
is well, nothing is rented twice, and at the end nothing is left that costs money.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import shutil
import sys
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from atlas_session.tokens import verify_token
from pulumi_atlas import failpoints
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.models.session import Session

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "runtime" / "core"))

from core_kit import Crash, LaggingMock, Stage, end, install

#: Kills come this late at most while all is well, seconds.
BOUND_S = 2.0
#: For so long after something was wrong, kills may be held back or given grace, seconds.
CALM_S = 320.0

STEPS = [
    *(f"session.create.{n}" for n in range(1, 6)),
    *(f"session.flush.{n}" for n in range(1, 3)),
    *(f"session.warn.{n}" for n in range(1, 3)),
    *(f"session.kill.{n}" for n in range(1, 5)),
    *(f"session.pause.{n}" for n in range(1, 5)),
    *(f"session.resume.{n}" for n in range(1, 5)),
]
FAULTS = [
    ("create_compute", None),
    ("create_compute", "no_capacity"),
    ("create_compute", "transport"),
    ("terminate", None),
    ("terminate", "provider"),
    ("stop", None),
    ("start", None),
    ("start", "no_capacity"),
    ("get_compute", "transport"),
    ("list_compute", "transport"),
    ("list_compute", "rate_limited"),
]
TROUBLES: list[tuple[Any, ...]] = [
    *(("fault", fault, times, after) for fault in FAULTS for times in (1, 4) for after in (False, True)),
    *(("outage", seconds) for seconds in (5.0, 100.0, 400.0) for _ in range(3)),
    *(("truncated_listings", seconds) for seconds in (5.0, 60.0) for _ in range(3)),
    *(("store_fails", seconds) for seconds in (2.0, 60.0) for _ in range(3)),
    *(("clock_jumps", seconds) for seconds in (-3600.0, -10.0, 10.0, 3600.0)),
]


@dataclass
class Believed:
    """What the model knows of one session. Times are monotonic; `low` and `high` bound its last activity."""

    idle_ttl_s: float
    generation: int = 0
    version: int = -1
    state: str = "requested"
    low: float = -math.inf
    high: float = -math.inf
    keep: float = -math.inf
    epoch: int = 0
    warned: set[tuple[str, int, float | None]] = field(default_factory=set)
    tokens: list[str] = field(default_factory=list)
    broken: bool = False  # its pod was tampered with behind our back

    def touch(self, at: float) -> None:
        self.low, self.high, self.epoch = max(self.low, at), max(self.high, at), self.epoch + 1


class SessionLife(RuleBasedStateMachine):
    """The rules."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="atlas-life-"))
        self.patch = pytest.MonkeyPatch()
        self.runner = asyncio.Runner()
        self.model: dict[str, Believed] = {}
        self.foreign: set[str] = set()
        self.disturbed = -math.inf
        self.crash_at = ""
        self.left_behind: Any = None
        self.wrong: list[AssertionError] = []
        numbers = itertools.count(1)  # the same names each time, or nothing that is found could be found again
        self.patch.setattr(secrets, "token_hex", lambda size=32: f"{next(numbers):0{2 * size}x}")
        self.patch.setattr(secrets, "token_urlsafe", lambda size=32: f"{next(numbers):06d}" + "x" * 2 * size)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize(lag=st.sampled_from([0.0, 20.0]), provision=st.sampled_from([0.0, 3.0, 40.0]))
    def begin(self, lag: float, provision: float) -> None:
        self.stage = Stage(self.folder, orphan_sweep="on", limits={"max_extend_s": 600})
        kind = type("Here", (LaggingMock,), {"listing_lag_s": lag})
        install(self.patch, self.stage, kind)
        self.patch.setattr(failpoints, "reach", self._reach)
        self.stage.world.configure(listing_lag_s=lag, provision_s=provision)
        self._start()

    # ---- what is done

    @precondition(lambda self: len(self.model) < 12)
    @rule(
        idle=st.sampled_from([80.0, 150.0, 400.0]),
        life=st.sampled_from([None, None, 300.0, 3000.0]),
        on_idle=st.sampled_from(["terminate", "stop"]),
        warn=st.sampled_from([0.0, 20.0, 60.0]),
        count=st.integers(1, 3),
        calm_s=st.sampled_from([0.0, 50.0, 50.0]),
    )
    def open(self, idle: float, life: float | None, on_idle: str, warn: float, count: int, calm_s: float) -> None:
        fields = {"idle_ttl_s": idle, "max_lifetime_s": life, "on_idle": on_idle, "warn_before_s": warn}
        fields |= {"paused_ttl_s": 500.0, "spec": {"ready": {"timeout_s": 200}}}
        for _ in range(count):
            opened = self._try(self.stage.open(**fields))
            if opened is not None:
                known = self.model.setdefault(opened.session.id, Believed(idle))
                known.idle_ttl_s = idle
                known.tokens.append(opened.touch_token)
        self.wait(calm_s)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), idle_s=st.sampled_from([0.0, 0.0, 3.0, 30.0]))
    def touch(self, data: st.DataObject, idle_s: float) -> None:
        ident = self._draw(data)
        if self._try(self.stage.companion.touch(ident, "http", idle_s=idle_s)) is not None:
            self.model[ident].touch(self.now - idle_s)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), seconds=st.sampled_from([10.0, 200.0, 600.0]))
    def extend(self, data: st.DataObject, seconds: float) -> None:
        ident = self._draw(data)
        session = self._try(self.stage.companion.extend(ident, seconds, actor="session", bounded=True))
        if session is not None:
            known = self.model[ident]
            until = self.now + (session.keep_until - self.stage.clock.now())
            known.keep, known.epoch = max(known.keep, until), known.epoch + 1

    @precondition(lambda self: self.model)
    @rule(data=st.data(), verb=st.sampled_from(["pause", "resume", "close", "rotate"]))
    def verb(self, data: st.DataObject, verb: str) -> None:
        ident = self._draw(data)
        done = self._try(getattr(self.stage.companion, verb)(ident, actor="key:k1"))
        if done is None:
            return
        session: Session = done.session if verb == "rotate" else done
        handed = self.stage.companion.handed(session)
        assert handed is not None
        if handed.touch_token not in self.model[ident].tokens:
            self.model[ident].tokens.append(handed.touch_token)

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 45.0, 90.0]))
    def wait(self, seconds: float) -> None:
        self.run(self.stage.clock.advance(seconds))
        self._after()

    @rule(seconds=st.sampled_from([90.0, 200.0, 500.0]))
    def wait_long(self, seconds: float) -> None:
        self.wait(seconds)

    @precondition(lambda self: any(known.state == "ready" for known in self.model.values()))
    @rule(data=st.data(), seconds=st.floats(1, 200))
    def wait_until_it_is_nearly_due(self, data: st.DataObject, seconds: float) -> None:
        known = self.model[self._draw(data, "ready")]
        due = max(known.high + known.idle_ttl_s, known.keep)
        if math.isfinite(due) and due > self.now:
            self.wait(max(0.0, due - self.now - min(seconds, 5.0) / 5.0))

    # ---- what goes wrong

    @rule(what=st.sampled_from(TROUBLES))
    def trouble(self, what: tuple[Any, ...]) -> None:
        """One rule for all of it, or there would be nothing else."""
        getattr(self, what[0])(*what[1:])

    @rule(what=st.sampled_from([("crash", 0.0), ("crash", 30.0), ("crash", 2000.0), ("orderly_restart",)]))
    def restart(self, what: tuple[Any, ...]) -> None:
        getattr(self, what[0])(*what[1:])

    def fault(self, fault: tuple[str, Any], times: int, after_effect: bool) -> None:
        self.stage.world.fail_next(fault[0], fault[1], times=times, after_effect=after_effect and fault[1] is None)
        self.disturbed = self.now

    def outage(self, seconds: float) -> None:
        with self.stage.world.outage():
            self.run(self.stage.clock.advance(seconds))
            self._after()
        self.disturbed = self.now

    def truncated_listings(self, seconds: float) -> None:
        self.stage.world.configure(listing_complete=False)
        self.run(self.stage.clock.advance(seconds))
        self.stage.world.configure(listing_complete=True)
        self.disturbed = self.now
        self._after()

    def store_fails(self, seconds: float) -> None:
        self.stage.store.fail()
        self.run(self.stage.clock.advance(seconds))
        if not self.left_behind:
            self.stage.store.fail("")
        self.disturbed = self.now
        self._after()

    def clock_jumps(self, seconds: float) -> None:
        self.stage.clock.jump(seconds)
        self.disturbed = self.now
        for known in self.model.values():
            known.high = math.inf if known.state != "ready" else known.high

    def crash(self, down_s: float) -> None:
        self._die(self.stage.store.after_crash(), down_s)

    def crash_soon(self, step: str) -> None:
        self.crash_at = step

    def orderly_restart(self) -> None:
        try:
            self.run(self.stage.stop())
        except Crash:
            self._after()
            return
        self._restarted(0.0)

    @precondition(lambda self: any(known.state == "ready" for known in self.model.values()))
    @rule(data=st.data(), how=st.sampled_from(["remove", "failed", "stopped"]))
    def tamper(self, data: st.DataObject, how: Any) -> None:
        ident = self._draw(data, "ready")
        pod_id = self.stage.store._tables.sessions[ident].pod_id
        if pod_id is None or pod_id not in self.stage.pods():
            return
        self.model[ident].broken = True
        if how == "remove":
            self.stage.world.remove(pod_id)
        else:
            self.stage.world.set_status(pod_id, how)

    @precondition(lambda self: len(self.foreign) < 2)
    @rule()
    def somebody_else_rents(self) -> None:
        self.foreign.add(self.stage.world.plant(ComputeSpec()).id)

    # ---- what must hold

    @invariant()
    def no_change_was_wrong(self) -> None:
        if self.wrong:
            raise self.wrong[0]

    @invariant()
    def nothing_is_rented_twice(self) -> None:
        owners = [str(pod.owner) for pod in self._ours().values()]
        assert len(owners) == len(set(owners)), f"two pods of one session: {sorted(owners)}"

    @invariant()
    def strangers_are_left_alone(self) -> None:
        if hasattr(self, "stage"):
            assert self.foreign <= self.stage.pods().keys()

    @invariant()
    def none_is_late_while_all_is_well(self) -> None:
        for ident, known in self.model.items():
            if known.state != "ready" or self.now < self.disturbed + CALM_S or self.stage.store.failing:
                continue
            latest = max(known.high + known.idle_ttl_s, known.keep, self.disturbed + CALM_S) + BOUND_S
            assert self.now <= latest, f"{ident} should have ended {self.now - latest:g} s ago"

    @invariant()
    def what_is_over_costs_nothing(self) -> None:
        if not hasattr(self, "stage"):
            return
        alive = self.stage.pods()
        for row in self.stage.store._tables.sessions.values():
            assert not (row.is_final and row.pod_id in alive), f"{row.id} is {row.state}, and its pod lives"
            assert not (row.is_final and row.cost_since is not None)

    @invariant()
    def only_the_newest_tokens_open_doors(self) -> None:
        for ident, known in self.model.items():
            row = self.stage.store._tables.sessions[ident]
            assert row.generation == known.generation
            fitting = [token for token in known.tokens if verify_token(token, row.touch_hash)]
            assert fitting in ([], known.tokens[-1:])

    def teardown(self) -> None:
        try:
            if hasattr(self, "stage"):
                self.run(self._end_all())
        finally:
            self.patch.undo()
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _end_all(self) -> None:
        stage = self.stage
        if self.wrong:
            return
        self.crash_at = ""
        stage.world.clear_faults()
        stage.store.fail("")
        for ident in self.model:
            await stage.companion.close(ident, actor="key:k1")
        await stage.clock.advance(2400)
        left = {i: row.state for i, row in stage.store._tables.sessions.items() if not row.is_final}
        assert not left, f"never ended: {left}"
        assert not self._ours(), "there, and no session has it"
        assert self.foreign <= stage.pods().keys()
        await stage.clock.run(stage.companion.stop())

    # ---- how

    @property
    def now(self) -> float:
        return self.stage.clock.monotonic()

    def _ours(self) -> dict[str, Any]:
        if not hasattr(self, "stage"):
            return {}
        return {i: pod for i, pod in self.stage.pods().items() if pod.owner and pod.owner.kind == "deployment"}

    def _draw(self, data: st.DataObject, state: str | None = None) -> str:
        names = [i for i, known in self.model.items() if state in (None, known.state)]
        return names[data.draw(st.integers(0, len(names) - 1), label="session")]

    def _try(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What a verb returns; None when it was refused, or the companion died."""

        async def asking() -> Any:
            try:
                return await work
            except AtlasError:
                return None
            except Crash:
                return None

        try:
            done = self.run(asking())
        finally:
            self.run(self.stage.clock.settle())
        self._after()
        return done

    def _after(self) -> None:
        if self.left_behind is not None:
            store, self.left_behind = self.left_behind, None
            self._die(store, 0.0)

    def _reach(self, name: str) -> None:
        if name == self.crash_at and self.left_behind is None and not self.stage.store.failing:
            self.crash_at = ""
            self.left_behind = self.stage.store.after_crash()
            self.stage.store.fail("this process is dead")
            raise Crash

    def _die(self, store: Any, down_s: float) -> None:
        """The process is gone; the next one finds what the store had."""
        self.stage.store.fail("this process is dead")
        self.run(end(self.stage.companion))
        self.stage.store = store
        store.fail("")
        self._restarted(down_s)

    def _restarted(self, down_s: float) -> None:
        """The time in which nobody lived counts for nothing, and activity that was lost ends nobody: after a death each session
        has its whole idle time anew."""
        rows = self.stage.store._tables.sessions
        for ident in [one for one in self.model if one not in rows]:
            del self.model[ident]
        self.run(self.stage.clock.advance(down_s))
        for known in self.model.values():
            known.low, known.high = known.low + down_s, max(known.high + down_s + 65.0, self.now)
            known.keep += down_s
        self.disturbed = self.now
        self._start()

    def _start(self) -> None:
        async def start() -> None:
            companion = self.stage._made()
            self.stage.companion = companion
            companion.ledger.listeners.append(self._told)
            await companion.start()
            for ident, row in self.stage.store._tables.sessions.items():
                known = self.model.get(ident)
                if known is not None:
                    known.version, known.state, known.generation = row.version, row.state, row.generation

        self.run(start())
        self.run(self.stage.clock.settle())
        self._after()

    def _told(self, session: Session, events: Any) -> None:
        """A change was written. Whoever wrote it would take an error of ours for one of its own, so it is kept."""
        try:
            self._judge(session, events)
        except AssertionError as error:
            self.wrong.append(error)

    def _judge(self, session: Session, events: Any) -> None:
        """By what the model knows."""
        known = self.model.setdefault(session.id, Believed(session.idle_ttl_s))
        if session.version:
            assert session.version > known.version, "the version did not grow"
        before, known.version = known.state, session.version
        known.state = session.state
        resumed = session.state == "resuming" and before == "paused" and session.cause == "resume"
        rotated = any(event.kind == "rotated" for event in events)
        assert session.generation == known.generation + (resumed or rotated), "the generation changed by itself"
        known.generation = session.generation
        if session.state == "ready" and before != "ready":
            known.touch(self.now)
        for event in events:
            if event.kind == "warning":
                kind = event.data["warned_of"]
                deadline = session.expires_at if kind == "lifetime" else session.paused_at
                mark = (kind, known.epoch if kind == "idle" else 0, None if kind == "idle" else deadline)
                assert mark not in known.warned, f"warned twice of {mark}"
                known.warned.add(mark)
        if session.state != before and session.state in ("terminating", "pausing"):
            self._judge_end(session, known)

    def _judge_end(self, session: Session, known: Believed) -> None:
        wall = self.stage.clock.now()
        if session.cause == "idle":
            earliest = max(known.low + known.idle_ttl_s, known.keep)
            assert self.now >= earliest - 1e-6, f"ended {earliest - self.now:g} s before it was idle"
        elif session.cause == "lifetime":
            assert session.expires_at is not None
            assert wall >= session.expires_at - 1e-6
        elif session.cause == "paused_too_long":
            assert session.paused_at is not None
            assert wall >= session.paused_at + session.paused_ttl_s - 1e-6
        elif session.cause in ("gone", "pod_ended", "reclaimed", "stopped"):
            assert known.broken, f"its pod was fine, and it ended as {session.cause}"
        else:
            allowed = {"closed", "pause", "provision_timeout", "provision_failed"}
            assert session.cause in allowed or known.broken, session.cause


_slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
TestSessionLife = SessionLife.TestCase
TestSessionLife.settings = settings(
    deadline=None,
    suppress_health_check=_slow,
    stateful_step_count=40,
    max_examples=max(5, settings().max_examples // 2),
)

"""Brings each session's pod to what its state asks for: rent, stop, start, terminate.

At most one worker per session, and none for a session that needs nothing. Whatever happens, the state in the store says
what is still to be done: after a restart every session in a working state simply gets its worker again.

Failpoints, at which fault campaigns kill the companion; after each, the next one goes on as told::

    session.create.1   before the journal        → requested: a birth is made
    session.create.2   journal written           → provisioning: the birth is looked for; nothing is there; another is made
    session.create.3   the provider answered     → provisioning: the birth is found and adopted
    session.create.4   the pod's id is recorded  → provisioning: its readiness is waited for
    session.create.5   ready written             → ready
    session.flush.1    before activity is flushed    (companion)   → at most one flush interval of it is lost
    session.flush.2    activity is flushed           (companion)
    session.warn.1     before a warning is written   (reaper)      → it is warned once
    session.warn.2     the warning is written        (reaper)
    session.kill.1     before an end is written      (`_verbs`, `killing`) → the session lives
    session.kill.2     terminating is written        (`_verbs`, `killing`) → its pod is terminated
    session.kill.3     the provider has confirmed    → asked again, found gone
    session.kill.4     the final state is written    → nothing is left
    session.pause.1    before pausing is written     (`_verbs`)    → ready
    session.pause.2    pausing is written            (`_verbs`)    → its pod is stopped
    session.pause.3    the pod has stopped           → asked again, which changes nothing
    session.pause.4    paused is written             → paused
    session.resume.1   before resuming is written    (`_verbs`)    → paused
    session.resume.2   resuming is written           (`_verbs`)    → its pod is started
    session.resume.3   the pod was started           → asked again, which changes nothing
    session.resume.4   ready is written              → ready
    session.sweep.*    removal of an orphan          (sweeper)     → see there
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from pulumi_atlas.errors import AtlasError, NotFound
from pulumi_atlas.models.session import Session, SessionEvent, SessionState
from pulumi_atlas.rules.sessions.states import Act, act_for
from pulumi_atlas.runtime._desk import Desk, Job, Stopped
from pulumi_atlas.runtime._ending import Ending
from pulumi_atlas.runtime._pausing import BackOff, is_cancelled, pause
from pulumi_atlas.runtime._power import Power
from pulumi_atlas.runtime._renting import Renting

__all__ = ["Worker"]

_log = logging.getLogger(__name__)

Step = Callable[[Job, Session], Awaitable[None]]


class Worker:
    """The workers of one companion. `notice` is a ledger's listener."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        renting, power, ending = Renting(desk), Power(desk), Ending(desk)
        self._steps: dict[Act, Step] = {
            "rent": renting.step,
            "stop": power.stop,
            "start": power.start,
            "terminate": ending.step,
        }
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, SessionState] = {}  # work that waits until the store is confirmed

    @property
    def busy(self) -> int:
        """How many sessions are worked on."""
        return len(self._jobs)

    def notice(self, session: Session, events: Sequence[SessionEvent]) -> None:
        """A session was changed: whoever works on it looks again, or somebody begins to."""
        job = self._jobs.get(session.id)
        if job is not None:
            if session.state != job.state:
                job.changed.set()
        elif act_for(session.state) != "none" and self._held.get(session.id) != session.state:
            self._held.pop(session.id, None)
            self.begin([session.id])

    def hold(self, states: Mapping[str, SessionState]) -> None:
        """Leave these sessions alone until `release`, or until somebody brings them to another state: in a copy of the
        store, their work may be done elsewhere."""
        self._held = dict(states)

    def release(self) -> None:
        """Take up what was held."""
        held, self._held = self._held, {}
        self.begin(held)

    def begin(self, session_ids: Iterable[str]) -> None:
        """Take up the work for these sessions, where nobody has."""
        if self._desk.stopping.is_set():
            return
        for ident in session_ids:
            if ident not in self._jobs:
                job = self._jobs[ident] = Job(ident, self._desk.clock.monotonic())
                task = asyncio.create_task(self._work(job), name=f"session {ident}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def stop(self, timeout_s: float) -> None:
        """End all waits; calls that providers are answering get so many seconds. Pods are left as they are."""
        self._desk.stopping.set()
        alarm = asyncio.ensure_future(self._desk.clock.sleep(timeout_s))
        while self._tasks and not alarm.done():
            await asyncio.wait({*self._tasks, alarm}, return_when=asyncio.FIRST_COMPLETED)
        alarm.cancel()
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _work(self, job: Job) -> None:
        failures = BackOff(1.0, 60.0)
        try:
            while await self._one_step(job, failures):
                pass
        except Stopped:
            pass
        finally:
            self._jobs.pop(job.session_id, None)

    async def _one_step(self, job: Job, failures: BackOff) -> bool:
        """Read, act. False when nothing is left to do; between that and forgetting the job, nothing else runs."""
        self._desk.check()
        job.looks_at(None)
        try:
            session = await self._desk.ledger.read(job.session_id)
            act = act_for(session.state)
            if act == "none" or job.changed.is_set():
                return job.changed.is_set()
            job.enters(session.state, self._desk.clock.monotonic())
            await self._steps[act](job, session)
            failures.worked()
        except Stopped:
            raise
        except NotFound as error:
            _log.warning("session %s has no row any more: %s", job.session_id, error.message)
            return False
        except (Exception, asyncio.CancelledError) as error:  # a session is never given up, whatever went wrong with it
            if is_cancelled(error):
                raise
            await self._pause(job, failures, error)
        return True

    async def _pause(self, job: Job, failures: BackOff, error: BaseException) -> None:
        known = isinstance(error, AtlasError)
        text = str(error) if known else type(error).__name__
        _log.warning("work on session %s is tried again: %s", job.session_id, text, exc_info=None if known else error)
        await pause(self._desk.clock, failures.failed(), self._desk.stopping)

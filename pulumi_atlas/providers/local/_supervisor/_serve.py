"""The supervisor: applies the queue's and the scaling's decisions to real workers, and writes them down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any

from pulumi_atlas.errors import AtlasError
from pulumi_atlas.providers.local._supervisor._bell import Bell
from pulumi_atlas.providers.local._supervisor._job import Job
from pulumi_atlas.providers.local._supervisor._journal import Journal
from pulumi_atlas.providers.local._supervisor._pool import Pool, Worker, tail
from pulumi_atlas.providers.local._supervisor._queue import Queue
from pulumi_atlas.providers.local._supervisor._scaling import Backoff, plan
from pulumi_atlas.providers.local._supervisor._settings import FILE, Settings
from pulumi_atlas.providers.local._supervisor._webhooks import Webhooks

__all__ = ["QUEUE_TOPIC", "Supervisor"]

#: Rung when jobs wait, and when a worker should look again whether it may take one.
QUEUE_TOPIC = "queue"

_FAILING_AFTER = 3
_ORPHANED_AFTER_S = 5.0
_SHORT_GRACE_S = 0.5
_log = logging.getLogger("atlas.endpoint")


class Supervisor:
    """One run of one endpoint. All methods are called on its event loop; `now()` is its steady clock in epoch seconds."""

    def __init__(self, settings: Settings, folder: Path, run: str) -> None:
        self.settings = settings
        self.folder = folder
        self.run_id = run
        self.bell = Bell()
        self.closing = False
        self.queue = Queue(max_retries=settings.max_retries, retention_s=settings.options.result_retention_s)
        self.pool = Pool(settings, folder, run)
        self.last_failure = ""
        self._backoff = Backoff()
        self._held_back = 0
        self._journal = Journal(folder / "jobs.jsonl")
        self._webhooks = Webhooks(settings.options.webhook_delay_s)
        self._wake = asyncio.Event()
        self._offset = time.time() - time.monotonic()
        self._folder_seen = self.now()
        self._recover()

    def now(self) -> float:
        """Epoch seconds that never jump: the wall clock as it was at the start, carried on by the monotonic one."""
        return time.monotonic() + self._offset

    def wake(self) -> None:
        self._wake.set()

    # -- the job API -----------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> Job:
        """Accept a job: written down before it is acknowledged. Raises ProviderFailure when it cannot be written."""
        self.queue.submit(job)
        try:
            self._journal.append(self.queue, [job.id])
        except AtlasError:
            self.queue.withdraw(job.id)
            raise
        self.queue.changed.pop(job.id, None)
        self.bell.ring(QUEUE_TOPIC)
        self.wake()
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancel a job and tell its worker. Raises KeyError for an unknown one."""
        before = self.queue.jobs[job_id]
        job = self.queue.cancel(job_id, self.now())
        if before.status == "IN_PROGRESS" and before.worker:
            self.ask_to_stop(before.worker, job_id)
        self.commit()
        return job

    def cancel_all(self) -> None:
        """Cancel everything that has not ended, for an endpoint that is being deleted."""
        self.queue.cancel_all(self.now())
        self.commit()

    def ask_to_stop(self, worker_id: str, job_id: str) -> None:
        """Tell a worker to stop a job that it no longer owns; it is killed when it has not within the grace."""
        worker = self.pool.workers.get(worker_id)
        if worker is not None:
            worker.stops[job_id] = self.now() + self.settings.options.stop_grace_s
            self.bell.ring(worker_id)

    # -- the worker API --------------------------------------------------------------------------------------------

    def take(self, worker: Worker, count: int) -> list[Job]:
        """Jobs for a worker that asks; none while it is ending or has a job to stop."""
        now = self.now()
        if not worker.ready:
            worker.ready, worker.idle_since = True, now
            self.wake()
        if worker.ending or worker.killed_for or worker.stops or self.closing:
            return []
        taken = self.queue.take(worker.id, count, now)
        if taken:
            self.commit()
        return taken

    def hands_empty(self, worker: Worker) -> None:
        """The worker says that it runs nothing: stopped jobs are stopped, and owned ones were lost on the way."""
        for job_id in list(worker.stops):
            worker.obeyed(job_id)
        if self.queue.held_by(worker.id):
            reason = "the worker asked for another job without having given a result (is the output JSON?)"
            self.queue.release(worker.id, self.now(), counted=True, reason=reason)
            self.commit()

    def finish(self, worker: Worker, job_id: str, *, output: Any, error: Any, retire: bool) -> bool:
        """A worker's result. False when it is too late. With `retire` the worker is replaced (`refresh_worker`)."""
        accepted = self.queue.finish(worker.id, job_id, self.now(), output=output, error=error)
        worker.obeyed(job_id)
        if accepted:
            worker.finished += 1
            worker.idle_since = self.now()
            self._backoff = Backoff()
        if retire:
            self._end(worker, self.now())
        self.commit()
        return accepted

    def finish_in_vain(self, worker: Worker, job_id: str, sentence: str) -> None:
        """Fail a job whose worker goes on with it; the worker is told to stop."""
        self.queue.finish(worker.id, job_id, self.now(), error=sentence)
        self.ask_to_stop(worker.id, job_id)
        self.commit()

    # -- the control API -------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Take the limits from the settings file; whatever needs other workers waits for the next run."""
        self.settings = Settings.load(self.folder)
        self.pool.settings = self.settings
        self.queue.max_retries = self.settings.max_retries
        self.wake()

    def health(self) -> dict[str, dict[str, int]]:
        states = [worker.view(self.queue.held_by(worker.id)).state for worker in self.pool.workers.values()]
        idle, running = states.count("idle"), states.count("running")
        failing = 1 if self._backoff.failures and not idle + running else 0
        workers = {
            "idle": idle,
            "running": running,
            "initializing": states.count("starting"),
            "ready": idle + running,
            "throttled": 0,
            "unhealthy": max(self._held_back, failing),
        }
        return {"jobs": self.queue.health(), "workers": workers}

    def state(self) -> dict[str, Any]:
        """For the provider: whether the endpoint serves, and if not, why."""
        serves = any(worker.ready and not worker.ending for worker in self.pool.workers.values())
        failing = self._backoff.failures >= _FAILING_AFTER and not serves
        return {
            "run": self.run_id,
            "pid": os.getpid(),
            "status": "failed" if failing else "ready",
            "reason": self.last_failure if failing else "",
            "serves": serves,
            "failures": self._backoff.failures,
            "last_failure": self.last_failure,
        }

    def begin_closing(self, *, at_once: bool = False) -> None:
        """Give out no more jobs and end the workers, `at_once` without much grace; `run` returns when they have ended."""
        self.closing = True
        grace_s = _SHORT_GRACE_S if at_once else self.settings.options.stop_grace_s
        for worker in list(self.pool.workers.values()):
            self._end(worker, self.now(), grace_s=grace_s)
        self.bell.ring_all()
        self.wake()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the endpoint until it is closed and its workers have ended."""
        try:
            while not self.closing or self.pool.workers:
                try:
                    self._step()
                except Exception:  # noqa: BLE001 -- one bad step must not end the endpoint
                    _log.exception("a step failed")
                if self.closing and not self.pool.workers:
                    break
                self._wake.clear()
                pause = 0.1 if self.pool.workers or self.queue.waiting else 1.0
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
        finally:
            await self._close()

    def _step(self) -> None:
        now = self.now()
        for worker in self.pool.reap():
            self._lost(worker, now)
        for worker_id, job_id in self.queue.expire(now):
            self.ask_to_stop(worker_id, job_id)
        for worker in list(self.pool.workers.values()):
            self._enforce(worker, now)
        self.commit()
        if not self.closing:
            self._scale(now)
            self._watch_folder(now)
        with contextlib.suppress(AtlasError):
            self._journal.forget(self.queue.forget(now))

    def commit(self) -> None:
        """Write down what has changed, and tell who waits for it. A full disk is logged; memory still has it all."""
        changed = list(self.queue.changed)
        if not changed:
            return
        self.queue.changed.clear()
        try:
            self._journal.append(self.queue, changed)
            if self._journal.wants_compaction:
                self._journal.compact(self.queue)
        except AtlasError as error:
            _log.error("%s", error.message)
        for job_id in changed:
            job = self.queue.get(job_id)
            self.bell.ring(job_id)
            if job is not None and job.is_final and job.webhook and not job.webhook_done:
                self._webhooks.send(job, self._delivered)
        if self.queue.waiting:
            self.bell.ring(QUEUE_TOPIC)
            self.wake()

    def _delivered(self, job_id: str) -> None:
        self.queue.webhook_done(job_id)
        self.commit()

    def _enforce(self, worker: Worker, now: float) -> None:
        options = self.settings.options
        if worker.kill_at is not None and now >= worker.kill_at:
            self.pool.kill(worker, "it did not end when it was asked to")
        elif any(now >= deadline for deadline in worker.stops.values()):
            worker.ending = True
            self.pool.kill(worker, "it did not stop a job when it was told to")
        elif worker.pings and now - worker.last_seen > options.worker_lost_s:
            self.pool.kill(worker, f"it was silent for {options.worker_lost_s:g} s")
        elif not worker.ready and now - worker.spawned > options.start_timeout_s:
            self.pool.kill(worker, f"it did not ask for a job within {options.start_timeout_s:g} s of its start")

    def _lost(self, worker: Worker, now: float) -> None:
        """A worker's process has ended: its jobs go back, and a useless life counts as a failure."""
        asked = worker.ending or bool(worker.stops)
        how = _how_it_ended(worker)
        held = self.queue.held_by(worker.id)
        self.queue.release(worker.id, now, counted=not asked, reason=f"the last one {how}")
        useful = worker.finished or (worker.ready and held)
        if not asked and not useful:
            self._fail(f"a worker {how}; its log ends:\n{tail(worker.log) or '(nothing was written)'}", now)
        _log.info("worker %s %s", worker.id, how)
        self.bell.ring(worker.id)
        self.bell.ring(QUEUE_TOPIC)  # its last request for a job, if it is still held, ends here

    def _end(self, worker: Worker, now: float, *, grace_s: float | None = None) -> None:
        self.pool.end(worker, now, grace_s=grace_s)
        self.bell.ring(worker.id)
        self.bell.ring(QUEUE_TOPIC)  # what it is waiting for will not come

    def _fail(self, reason: str, now: float) -> None:
        self._backoff = self._backoff.after_failure(now)
        self.last_failure = reason

    def _scale(self, now: float) -> None:
        views = [worker.view(self.queue.held_by(worker.id)) for worker in self.pool.workers.values()]
        decision = plan(self.queue.waiting, views, self.settings.limits, self._backoff, now)
        self._held_back = decision.held_back
        for worker_id in decision.end:
            self._end(self.pool.workers[worker_id], now)
        for _ in range(decision.start):
            try:
                worker = self.pool.start(now)
                _log.info("worker %s started, pid %d", worker.id, worker.process.pid)
            except OSError as error:
                self._fail(f"a worker could not be started: {error}", now)
                return

    def _watch_folder(self, now: float) -> None:
        """An endpoint whose folder was deleted has no owner any more and ends itself."""
        if (self.folder / FILE).exists():
            self._folder_seen = now
        elif now - self._folder_seen > _ORPHANED_AFTER_S:
            _log.error("the endpoint's folder is gone; ending")
            self.cancel_all()
            self.begin_closing(at_once=True)

    def _recover(self) -> None:
        """Take over the journal of an earlier run; what was in progress when it died is queued again."""
        self._journal.load(self.queue)
        for worker in self.queue.owners():
            self.queue.release(worker, self.now(), counted=True, reason="the endpoint's supervisor was killed")
        self.queue.changed.clear()
        self._journal.compact(self.queue)

    async def _close(self) -> None:
        for worker in self.queue.owners():
            self.queue.release(worker, self.now(), counted=False)
        self.commit()
        with contextlib.suppress(AtlasError):
            if self.folder.exists():
                self._journal.compact(self.queue)
        self._journal.close()
        await self._webhooks.close()

    def resume(self) -> None:
        """Take up what an earlier run left: webhooks that were not delivered. Call once the loop runs."""
        for job in self.queue.jobs.values():
            if job.is_final and job.webhook and not job.webhook_done:
                self._webhooks.send(job, self._delivered)


def _how_it_ended(worker: Worker) -> str:
    if worker.killed_for:
        return f"was killed because {worker.killed_for}"
    code = worker.process.returncode
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

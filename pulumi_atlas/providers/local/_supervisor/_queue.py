"""The queue's rules: who may take, finish, cancel and retry which job. No I/O and no clock of its own.

Laws, kept by property tests: a job in progress has exactly one worker; a final job changes only by `retry`; a late result
of a worker that lost the job is refused; jobs of a lost worker go back to the front, in their order, at most `max_retries`
times; the counts add up to the number of submitted jobs.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pulumi_atlas.providers.local._supervisor._job import Job, Status

__all__ = ["Counters", "Queue", "Stream"]


@dataclass
class Counters:
    """How many jobs ended in which way since the endpoint was made; a retry takes its job out again."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    timed_out: int = 0
    retried: int = 0

    def add(self, status: Status, step: int) -> None:
        name = status.lower()
        setattr(self, name, getattr(self, name) + step)

    def as_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass
class Stream:
    """The chunks of a job's present attempt. `base` counts those of earlier attempts, so that positions never go back;
    `read` is how far the readers without a position of their own have come."""

    base: int = 0
    chunks: list[Any] = field(default_factory=list)
    read: int = 0

    @property
    def end(self) -> int:
        return self.base + len(self.chunks)

    def after(self, position: int) -> list[Any]:
        return self.chunks[max(0, position - self.base) :]

    def start_again(self) -> None:
        self.base, self.chunks = self.end, []


class Queue:
    """All jobs of one endpoint. `changed` collects the ids of changed jobs until the caller has dealt with them."""

    def __init__(self, *, max_retries: int = 2, retention_s: float = 1800.0, sync_retention_s: float = 60.0) -> None:
        self.max_retries = max_retries
        self.retention_s = retention_s
        self.sync_retention_s = min(sync_retention_s, retention_s)
        self.jobs: dict[str, Job] = {}
        self.streams: dict[str, Stream] = {}
        self.counters = Counters()
        self.changed: dict[str, None] = {}
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._held: dict[str, dict[str, None]] = {}
        self._next_deadline = 0.0  # nothing expires before this, and nothing is to be forgotten before that
        self._next_forgetting = 0.0

    # -- what is there ---------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def in_progress(self) -> int:
        return sum(len(held) for held in self._held.values())

    def held_by(self, worker: str) -> tuple[str, ...]:
        """The ids of the jobs that this worker owns."""
        return tuple(self._held.get(worker, ()))

    def get(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    def stream(self, job_id: str) -> Stream:
        return self.streams.setdefault(job_id, Stream())

    def health(self) -> dict[str, int]:
        """Job counts in RunPod's words; a timed-out job counts as failed."""
        counters = self.counters
        return {
            "completed": counters.completed,
            "failed": counters.failed + counters.timed_out,
            "inProgress": self.in_progress,
            "inQueue": self.waiting,
            "retried": counters.retried,
        }

    # -- callers of the job API ------------------------------------------------------------------------------------

    def submit(self, job: Job) -> Job:
        """Queue a new job at the end."""
        if job.id in self.jobs:
            raise ValueError(f"there is a job {job.id} already")
        self._waiting[job.id] = None
        return self._keep(job)

    def withdraw(self, job_id: str) -> None:
        """Forget a job that could not be written down and was therefore never accepted."""
        self._waiting.pop(job_id, None)
        self.changed.pop(job_id, None)
        self.jobs.pop(job_id, None)

    def cancel(self, job_id: str, now: float) -> Job:
        """Cancel a job; one that has ended stays as it is. Raises KeyError for an unknown one."""
        return self._end(self.jobs[job_id], "CANCELLED", now)

    def cancel_all(self, now: float) -> None:
        for job in list(self.jobs.values()):
            self._end(job, "CANCELLED", now)

    def purge(self, now: float) -> int:
        """Cancel every job that waits; how many there were."""
        ids = list(self._waiting)
        for job_id in ids:
            self.cancel(job_id, now)
        return len(ids)

    def retry(self, job_id: str, now: float) -> Job | None:
        """Queue a failed or timed-out job again; None when it is in another state. Raises KeyError for an unknown one."""
        job = self.jobs[job_id]
        if job.status not in ("FAILED", "TIMED_OUT"):
            return None
        self.counters.add(job.status, -1)
        self.counters.retried += 1
        self.stream(job_id).start_again()
        self._waiting[job_id] = None
        return self._keep(job.asked_again(now))

    def webhook_done(self, job_id: str) -> None:
        """The job's webhook was delivered, or given up."""
        job = self.jobs.get(job_id)
        if job is not None and job.is_final:
            self._keep(replace(job, webhook_done=True))

    # -- workers ---------------------------------------------------------------------------------------------------

    def take(self, worker: str, count: int, now: float) -> list[Job]:
        """Give the worker up to `count` jobs, oldest first."""
        taken: list[Job] = []
        while self._waiting and len(taken) < count:
            job_id, _ = self._waiting.popitem(last=False)
            self._held.setdefault(worker, {})[job_id] = None
            taken.append(self._keep(self.jobs[job_id].begun(worker, now)))
        return taken

    def owns(self, worker: str, job_id: str) -> bool:
        return job_id in self._held.get(worker, ())

    def chunk(self, worker: str, job_id: str, output: Any) -> bool:
        """One more piece of the job's stream. False when the worker does not own the job."""
        if not self.owns(worker, job_id):
            return False
        self.stream(job_id).chunks.append(output)
        return True

    def progress(self, worker: str, job_id: str, output: Any) -> bool:
        """What the job has to show while it runs. False when the worker does not own it."""
        if not self.owns(worker, job_id):
            return False
        self._keep(replace(self.jobs[job_id], output=output))
        return True

    def finish(self, worker: str, job_id: str, now: float, *, output: Any = None, error: Any = None) -> bool:
        """The job's result: failed when there is an `error`. False, and no change, when the worker does not own it."""
        if not self.owns(worker, job_id):
            return False
        self._end(self.jobs[job_id], "COMPLETED" if error is None else "FAILED", now, output=output, error=error)
        return True

    def release(
        self, worker: str, now: float, *, counted: bool, reason: str = "", only: Iterable[str] | None = None
    ) -> None:
        """Take the worker's jobs (or `only` these) away from it and put them back at the front, in their order.

        With `counted` (its worker died) a job that was lost more than `max_retries` times fails with `reason`.
        """
        ids = [job_id for job_id in self.held_by(worker) if only is None or job_id in only]
        for job_id in reversed(ids):
            job = self.jobs[job_id]
            if counted and job.deaths >= self.max_retries:
                tries = job.deaths + 1
                times = "once" if tries == 1 else f"{tries} times"
                self._end(job, "FAILED", now, error=f"the worker was lost {times} while it ran this job; {reason}")
                continue
            self._drop_owner(job)
            self.stream(job_id).start_again()
            self._waiting[job_id] = None
            self._waiting.move_to_end(job_id, last=False)
            self.counters.retried += 1 if counted else 0
            self._keep(job.requeued(counted=counted))

    # -- time ------------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> list[tuple[str, str]]:
        """Time out what is overdue; (worker, job) for each that was running and must be stopped."""
        stops: list[tuple[str, str]] = []
        if now < self._next_deadline:
            return stops
        self._next_deadline = math.inf
        for job_id in [*self._waiting, *(j for held in self._held.values() for j in held)]:
            job = self.jobs[job_id]
            if now < job.deadline():
                self._next_deadline = min(self._next_deadline, job.deadline())
                continue
            if job.status == "IN_PROGRESS" and job.worker:
                stops.append((job.worker, job_id))
            self._end(job, "TIMED_OUT", now, error=_why_late(job, now))
        return stops

    def forget(self, now: float) -> list[str]:
        """Drop the results that were kept long enough; their ids."""
        if now < self._next_forgetting:
            return []
        ends = {job.id: job.ended + self._kept(job) for job in self.jobs.values() if job.ended is not None}
        old = [job_id for job_id, end in ends.items() if now >= end]
        self._next_forgetting = min((end for end in ends.values() if end > now), default=math.inf)
        for job_id in old:
            del self.jobs[job_id]
            self.streams.pop(job_id, None)
            self.changed.pop(job_id, None)
        return old

    # -- restart ---------------------------------------------------------------------------------------------------

    def restore(self, jobs: Iterable[Job], chunks: dict[str, list[Any]], counters: Counters) -> None:
        """Take over what an earlier supervisor wrote down. Jobs that it had in progress are still theirs of their
        workers: release those next."""
        self.counters = counters
        for job in jobs:
            self.jobs[job.id] = job
            if job.id in chunks:
                self.streams[job.id] = Stream(chunks=list(chunks[job.id]))
            if job.status == "IN_QUEUE":
                self._waiting[job.id] = None
            elif job.status == "IN_PROGRESS" and job.worker:
                self._held.setdefault(job.worker, {})[job.id] = None

    def owners(self) -> tuple[str, ...]:
        """The workers that own a job."""
        return tuple(worker for worker, held in self._held.items() if held)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _kept(self, job: Job) -> float:
        return self.sync_retention_s if job.sync else self.retention_s

    def _keep(self, job: Job) -> Job:
        self.jobs[job.id] = job
        self.changed[job.id] = None
        if job.ended is None:
            self._next_deadline = min(self._next_deadline, job.deadline())
        else:
            self._next_forgetting = min(self._next_forgetting, job.ended + self._kept(job))
        return job

    def _drop_owner(self, job: Job) -> None:
        if job.worker and job.worker in self._held:
            self._held[job.worker].pop(job.id, None)
            if not self._held[job.worker]:
                del self._held[job.worker]

    def _end(self, job: Job, status: Status, now: float, *, output: Any = None, error: Any = None) -> Job:
        if job.is_final:
            return job
        self._waiting.pop(job.id, None)
        self._drop_owner(job)
        self.counters.add(status, 1)
        return self._keep(job.ended_as(status, now, output=output, error=error))


def _why_late(job: Job, now: float) -> str:
    if now >= job.submitted + job.ttl_s:
        return f"the job's time to live of {job.ttl_s:g} s has passed"
    return f"the job ran longer than its execution time-out of {job.execution_timeout_s:g} s"

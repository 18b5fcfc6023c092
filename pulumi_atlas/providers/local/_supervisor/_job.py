"""A job as a value: what was asked, where it stands, and how the job API tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

__all__ = ["FINAL", "Job", "Status"]

Status = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]

FINAL: frozenset[Status] = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Times are seconds of the supervisor's clock; `submitted` is renewed by a retry that a person asks for.

    `retries` counts every further attempt, for the eye; `deaths` counts workers lost since `submitted`, for the limit.
    `extras` travels to the worker as it came (`s3Config`).
    """

    id: str
    input: Any
    submitted: float
    execution_timeout_s: float
    ttl_s: float
    sync: bool = False
    webhook: str | None = None
    webhook_done: bool = False
    extras: dict[str, Any] = field(default_factory=dict)
    status: Status = "IN_QUEUE"
    started: float | None = None
    ended: float | None = None
    worker: str | None = None
    retries: int = 0
    deaths: int = 0
    output: Any = None
    error: Any = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def begun(self, worker: str, now: float) -> Job:
        return replace(self, status="IN_PROGRESS", worker=worker, started=now, output=None, error=None)

    def ended_as(self, status: Status, now: float, *, output: Any = None, error: Any = None) -> Job:
        return replace(self, status=status, ended=now, output=output, error=error)

    def requeued(self, *, counted: bool) -> Job:
        """Back in the queue after its worker was lost; `counted` when the worker died rather than was ended by us."""
        step = 1 if counted else 0
        return replace(
            self,
            status="IN_QUEUE",
            worker=None,
            started=None,
            output=None,
            retries=self.retries + step,
            deaths=self.deaths + step,
        )

    def asked_again(self, now: float) -> Job:
        """A failed or timed-out job, queued anew by a person: its output is dropped and its clock starts again."""
        return replace(
            self,
            status="IN_QUEUE",
            submitted=now,
            started=None,
            ended=None,
            worker=None,
            output=None,
            error=None,
            retries=self.retries + 1,
            deaths=0,
            webhook_done=False,
        )

    def deadline(self) -> float:
        """When the job times out if nothing happens: its life, and while it runs its execution too."""
        life = self.submitted + self.ttl_s
        return life if self.started is None else min(life, self.started + self.execution_timeout_s)

    def for_worker(self) -> dict[str, Any]:
        """What a worker is given."""
        return {**self.extras, "id": self.id, "input": self.input}

    def answer(self) -> dict[str, Any]:
        """The job as the job API tells of it: RunPod's names, times in milliseconds, absent where there is nothing to say."""
        told: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.started is not None:
            told["delayTime"] = max(0, round((self.started - self.submitted) * 1000))
        if self.started is not None and self.ended is not None:
            told["executionTime"] = max(0, round((self.ended - self.started) * 1000))
        if self.output is not None or self.status == "COMPLETED":
            told["output"] = self.output
        if self.error is not None:
            told["error"] = self.error
        if self.worker is not None:
            told["workerId"] = self.worker
        if self.retries:
            told["retries"] = self.retries
        return told

    def as_json(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The inverse of `as_json`. Raises TypeError on a foreign record."""
        return cls(**record)

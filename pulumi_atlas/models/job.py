"""Jobs: one request to an endpoint, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from pulumi_atlas.models._base import Frozen

__all__ = ["FINAL_JOB_STATUSES", "Job", "JobMode", "JobSpec", "JobStatus"]

JobStatus = Literal["in_queue", "in_progress", "completed", "failed", "cancelled", "timed_out"]
JobMode = Literal["async", "sync", "stream"]

FINAL_JOB_STATUSES: frozenset[JobStatus] = frozenset({"completed", "failed", "cancelled", "timed_out"})


class JobSpec(Frozen):
    """What is asked for. `timeout_s` bounds the caller's wait with mode `sync`; the job itself runs on after it."""

    endpoint: Annotated[str, Field(min_length=1)]
    input: Any
    mode: JobMode = "async"
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 90.0
    execution_timeout_s: Annotated[float, Field(gt=0, le=7 * 86_400)] | None = None
    ttl_s: Annotated[float, Field(gt=0, le=7 * 86_400)] | None = None
    webhook: str | None = None
    provider_options: dict[str, Any] = {}


class Job(Frozen):
    """What the provider says of a job. Times are in milliseconds, as the job API gives them."""

    id: str
    provider: str
    endpoint: str
    status: JobStatus
    output: Any = None
    error: Any = None
    execution_time_ms: int | None = None
    delay_time_ms: int | None = None
    worker_id: str | None = None
    retries: int = 0
    created_at: datetime | None = None
    raw: dict[str, Any] = {}

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_JOB_STATUSES

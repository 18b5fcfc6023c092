"""Jobs of the mock cloud: each look at a job moves it on, from the queue over a worker to its end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pulumi_atlas.errors import Failure, InvalidSpec, NotFound
from pulumi_atlas.models import FINAL_JOB_STATUSES, Job, JobSpec, JobStatus
from pulumi_atlas.providers.mock._state import PROVIDER, Row, State

__all__ = ["advance", "cancel", "create", "emit", "finish", "look", "observe", "settled"]


def create(state: State, now: float, spec: JobSpec, account: str) -> tuple[str, Row]:
    """Queue a job. Raises NotFound for an unknown endpoint, InvalidSpec."""
    endpoint = state.row("endpoints", spec.endpoint, account)
    if spec.provider_options:
        failures = [Failure(f"provider_options.{name}", "mock has no such option") for name in spec.provider_options]
        raise InvalidSpec(failures, provider=PROVIDER)
    try:
        json.dumps(spec.input, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidSpec([Failure("input", f"cannot be written as JSON: {error}")], provider=PROVIDER) from error
    limits = endpoint["spec"]
    row: Row = {
        "account": account,
        "endpoint": spec.endpoint,
        "input": spec.input,
        "status": "in_queue",
        "output": None,
        "error": None,
        "chunks": [],
        "created_at": now,
        "started_at": None,
        "ended_at": None,
        "execution_timeout_s": spec.execution_timeout_s or limits.get("execution_timeout_s", 600.0),
        "ttl_s": spec.ttl_s or limits.get("queue_ttl_s", 86_400.0),
    }
    ident = state.new_id("jobs")
    return ident, state.put("jobs", ident, row)


def settled(row: Row, now: float) -> Row | None:
    """The row as time alone has made it: timed out when it ran too long; None when its life is over."""
    if now >= row["created_at"] + row["ttl_s"]:
        return None
    started = row["started_at"]
    if row["status"] == "in_progress" and now >= started + row["execution_timeout_s"]:
        error = f"ran longer than {row['execution_timeout_s']:g} s"
        return {**row, "status": "timed_out", "error": error, "ended_at": started + row["execution_timeout_s"]}
    return row


def look(state: State, now: float, endpoint_id: str, job_id: str, account: str | None) -> Row:
    """The job as it is. Raises NotFound for an unknown or expired one, and when the endpoint is not its own."""
    if account is not None:
        state.row("endpoints", endpoint_id, account)
    row = settled(state.row("jobs", job_id, account), now)
    if row is None or row["endpoint"] != endpoint_id:
        why = "it has expired" if row is None else f"endpoint '{endpoint_id}' does not know it"
        raise NotFound(
            f"there is no job '{job_id}': {why}", provider=PROVIDER, hint="check the endpoint and the job id"
        )
    return row


def advance(state: State, now: float, job_id: str, row: Row) -> Row:
    """One step on: in_queue → in_progress → completed. An ended job stays, and so do all when a test holds them."""
    if not state.settings.jobs_advance or row["status"] in FINAL_JOB_STATUSES:
        return row
    if row["status"] == "in_queue":
        return state.put("jobs", job_id, {**row, "status": "in_progress", "started_at": now})
    return finish(state, now, job_id, row, status="completed", output=None, error=None)


def finish(state: State, now: float, job_id: str, row: Row, *, status: JobStatus, output: Any, error: Any) -> Row:
    """End it. A completed job without an output answers with its chunks, or else with ``{"echo": input}``."""
    chunks = row["chunks"]
    if status == "completed":
        if output is None:
            output = chunks or {"echo": row["input"]}
        chunks = chunks or (output if isinstance(output, list) else [output])
    started = row["started_at"] if row["started_at"] is not None else now
    ended = {"status": status, "output": output, "error": error, "chunks": chunks, "started_at": started}
    return state.put("jobs", job_id, {**row, **ended, "ended_at": now})


def emit(state: State, now: float, job_id: str, row: Row, chunk: Any) -> Row:
    """Let its worker yield one chunk."""
    started = row["started_at"] if row["started_at"] is not None else now
    grown = {"chunks": [*row["chunks"], chunk], "status": "in_progress", "started_at": started}
    return state.put("jobs", job_id, {**row, **grown})


def cancel(state: State, now: float, job_id: str, row: Row) -> Row:
    """Cancel it; an ended job stays as it is."""
    if row["status"] in FINAL_JOB_STATUSES:
        return row
    return state.put("jobs", job_id, {**row, "status": "cancelled", "ended_at": now})


def observe(ident: str, row: Row) -> Job:
    """The row as the provider shows it."""
    created, started, ended = row["created_at"], row["started_at"], row["ended_at"]
    return Job(
        id=ident,
        provider=PROVIDER,
        endpoint=row["endpoint"],
        status=row["status"],
        output=row["output"],
        error=row["error"],
        execution_time_ms=None if started is None or ended is None else round((ended - started) * 1000),
        delay_time_ms=None if started is None else round((started - created) * 1000),
        worker_id=None if started is None else f"{row['endpoint']}-w1",
        created_at=datetime.fromtimestamp(created, UTC),
        raw={"id": ident, "status": row["status"].upper()},
    )

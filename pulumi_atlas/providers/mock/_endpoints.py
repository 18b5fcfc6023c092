"""Endpoints of the mock cloud."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime

from pulumi_atlas import gpus
from pulumi_atlas.errors import Conflict, Failure, InvalidSpec
from pulumi_atlas.ids import Birth, Owner, Tag
from pulumi_atlas.models import EndpointHealth, EndpointSpec, EndpointStatus, ObservedEndpoint
from pulumi_atlas.providers.mock import _jobs
from pulumi_atlas.providers.mock._catalog import CPU, price
from pulumi_atlas.providers.mock._state import PROVIDER, Row, State

__all__ = ["create", "delete", "health", "observe", "update", "url"]


def create(
    state: State, now: float, spec: EndpointSpec, tag: Tag | None, account: str, provision_s: float
) -> tuple[str, Row]:
    """Make an endpoint. Raises InvalidSpec."""
    _check(spec)
    row: Row = {
        "account": account,
        "birth": tag.birth if tag else None,
        "owner": str(tag.owner) if tag else None,
        "spec": spec.model_dump(mode="json", exclude_defaults=True),
        "created_at": now,
        "ready_at": now + provision_s,
        "state": "ready",
        "reason": "",
    }
    ident = state.new_id("endpoints")
    return ident, state.put("endpoints", ident, row)


def url(endpoint_id: str) -> str:
    """The base of the job API: it follows from the id alone. Nothing listens there; jobs go through the provider."""
    return f"https://mock.local/v2/{endpoint_id}"


def observe(state: State, ident: str, row: Row, now: float) -> ObservedEndpoint:
    """The row as the provider shows it. The key is made from the id, so that it is the same in every run."""
    spec = EndpointSpec.model_validate(row["spec"])
    starting = row["state"] == "ready" and now < row["ready_at"]
    status: EndpointStatus = "starting" if starting else row["state"]
    kind = gpus.find(spec.gpu[0]).name if spec.gpu else CPU
    return ObservedEndpoint(
        id=ident,
        provider=PROVIDER,
        account=row["account"],
        status=status,
        name=spec.name,
        url=url(ident),
        key="mock-key-" + hashlib.sha256(ident.encode()).hexdigest()[:24],
        spec=spec,
        birth=Birth(row["birth"]) if row["birth"] else None,
        owner=Owner.parse(row["owner"]) if row["owner"] else None,
        reason=row["reason"],
        cost_per_hour=round(price(state, kind) * (spec.gpu_count if spec.gpu else 1) * spec.workers.min, 4),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        raw={"id": ident},
    )


def update(
    state: State, now: float, endpoint_id: str, account: str, spec: EndpointSpec, *, restart: bool, provision_s: float
) -> Row:
    """Give it another spec; waiting jobs stay. Raises NotFound, InvalidSpec, Conflict for other GPUs."""
    row = state.row("endpoints", endpoint_id, account)
    _check(spec)
    old = EndpointSpec.model_validate(row["spec"])
    if (old.gpu, old.gpu_count) != (spec.gpu, spec.gpu_count):
        raise Conflict(
            f"endpoint '{endpoint_id}' cannot change its GPUs", provider=PROVIDER, hint="this needs another endpoint"
        )
    changed = {**row, "spec": spec.model_dump(mode="json", exclude_defaults=True)}
    if restart or row["state"] != "ready":
        changed |= {"ready_at": now + provision_s, "state": "ready", "reason": ""}
    return state.put("endpoints", endpoint_id, changed)


def delete(state: State, now: float, endpoint_id: str, account: str) -> None:
    """Delete it; what is unfinished is cancelled. Raises NotFound."""
    state.row("endpoints", endpoint_id, account)
    for ident, job in list(state.rows("jobs", account)):
        if job["endpoint"] == endpoint_id:
            _jobs.cancel(state, now, ident, job)
    state.drop("endpoints", endpoint_id)


def health(state: State, now: float, endpoint_id: str, account: str) -> EndpointHealth:
    """Counts by state, in RunPod's words. Raises NotFound."""
    row = state.row("endpoints", endpoint_id, account)
    workers = EndpointSpec.model_validate(row["spec"]).workers
    jobs = [_jobs.settled(job, now) for _, job in state.rows("jobs", account) if job["endpoint"] == endpoint_id]
    count = Counter(job["status"] for job in jobs if job is not None)
    running = min(count["in_progress"], workers.max)
    starting = row["state"] == "ready" and now < row["ready_at"]
    idle = max(workers.min - running, 0) if row["state"] == "ready" else 0
    return EndpointHealth(
        jobs={
            "completed": count["completed"],
            "failed": count["failed"] + count["timed_out"],
            "inProgress": count["in_progress"],
            "inQueue": count["in_queue"],
            "retried": 0,
        },
        workers={"idle": 0 if starting else idle, "initializing": idle if starting else 0, "running": running},
    )


def _check(spec: EndpointSpec) -> None:
    failures = [Failure(f"provider_options.{name}", "mock has no such option") for name in spec.provider_options]
    for place, name in enumerate(spec.gpu):
        try:
            gpus.find(name)
        except InvalidSpec as error:
            failures += [Failure(f"gpu[{place}]", f.message, f.hint) for f in error.failures]
    if failures:
        raise InvalidSpec(failures, provider=PROVIDER)

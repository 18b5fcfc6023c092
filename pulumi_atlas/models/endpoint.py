"""Serverless endpoints: a queue of jobs and the workers that serve it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.models._base import Frozen, WholeNumber
from pulumi_atlas.models.compute import _NAME

__all__ = ["EndpointHealth", "EndpointSpec", "EndpointStatus", "ObservedEndpoint", "Workers"]

EndpointStatus = Literal["starting", "ready", "stopped", "failed"]


class Workers(Frozen):
    """How many workers an endpoint keeps: at least `min`, at most `max`; one that had no job for `idle_timeout_s` seconds ends."""

    min: Annotated[WholeNumber, Field(ge=0, le=1000)] = 0
    max: Annotated[WholeNumber, Field(ge=1, le=1000)] = 1
    idle_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is more than max ({self.max})")
        return self


class EndpointSpec(Frozen):
    """What is asked for: a worker by exactly one of `handler` (``module:function``), `command` or `image`.

    `execution_timeout_s` bounds one run of a job; `queue_ttl_s` bounds a job's whole life, waiting included;
    `max_retries` is how often a job is given to another worker after its worker died.
    """

    name: Annotated[str, Field(pattern=_NAME)] | None = None
    handler: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    command: tuple[str, ...] | None = Field(default=None, min_length=1)
    image: Annotated[str, Field(min_length=1)] | None = None
    workers: Workers = Workers()
    env: dict[Annotated[str, Field(pattern=r"^[^=\x00]+$")], str] = Field(default={}, repr=False)
    working_dir: Annotated[str, Field(min_length=1)] | None = None
    gpu: tuple[str, ...] = ()
    gpu_count: Annotated[WholeNumber, Field(ge=1, le=64)] = 1
    execution_timeout_s: Annotated[float, Field(gt=0, le=7 * 86_400)] = 600.0
    queue_ttl_s: Annotated[float, Field(gt=0, le=7 * 86_400)] = 86_400.0
    max_retries: Annotated[WholeNumber, Field(ge=0, le=100)] = 2
    provider_options: dict[str, Any] = {}


class ObservedEndpoint(Frozen):
    """What the provider says is there. `url` is the base of the job API (``{url}/run`` …); `key` opens it and is a secret."""

    id: str
    provider: str
    account: str
    status: EndpointStatus
    name: str | None = None
    url: str | None = None
    key: str | None = Field(default=None, repr=False)
    spec: EndpointSpec | None = None
    birth: Birth | None = None
    owner: Owner | None = None
    reason: str = ""
    cost_per_hour: float | None = None
    created_at: datetime | None = None
    raw: dict[str, Any] = {}


class EndpointHealth(Frozen):
    """Counts of jobs and workers by state, RunPod's words."""

    jobs: dict[str, int]
    workers: dict[str, int]

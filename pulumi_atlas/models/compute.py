"""Compute: what is asked for (`ComputeSpec`) and what the provider says is there (`Compute`)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.models._base import Frozen, WholeNumber
from pulumi_atlas.models.issued import IssuedAccess
from pulumi_atlas.models.port import Port

__all__ = ["CloudType", "Compute", "ComputeFilter", "ComputeSpec", "ComputeStatus", "ObservedPort", "OnExit"]

CloudType = Literal["any", "secure", "community"]
OnExit = Literal["keep", "stop", "terminate", "restart"]

#: `finished` and `failed`: the command ended by itself (code 0, any other way). `terminated`: gone or going for good.
ComputeStatus = Literal["provisioning", "running", "stopped", "finished", "failed", "terminated"]

_NAME = r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"


class ComputeSpec(Frozen):
    """What is asked for. Units are in the names; what only one cloud knows travels in `provider_options`."""

    name: Annotated[str, Field(pattern=_NAME)] | None = None
    command: tuple[str, ...] | None = Field(default=None, min_length=1)
    image: Annotated[str, Field(min_length=1)] | None = None
    template_id: Annotated[str, Field(min_length=1)] | None = None
    env: dict[Annotated[str, Field(pattern=r"^[^=\x00]+$")], str] = Field(default={}, repr=False)
    ports: tuple[Port, ...] = ()
    volumes: dict[Annotated[str, Field(pattern=r"^/[^\x00]+$")], Annotated[str, Field(min_length=1)]] = {}
    gpu: tuple[str, ...] = ()
    gpu_count: Annotated[WholeNumber, Field(ge=1, le=64)] = 1
    cloud_type: CloudType = "any"
    spot: bool = False
    regions: tuple[str, ...] = ()
    max_cost_per_hour: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    container_disk_gb: Annotated[WholeNumber, Field(gt=0)] | None = None
    volume_gb: Annotated[WholeNumber, Field(gt=0)] | None = None
    working_dir: Annotated[str, Field(min_length=1)] | None = None
    on_exit: OnExit = "keep"
    max_lifetime_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    provider_options: dict[str, Any] = {}


class ObservedPort(Frozen):
    """A port of a running pod: the number inside, the number outside where there is a mapping, and a URL where there is one."""

    internal: int
    external: int | None = None
    protocol: Literal["http", "tcp"] = "http"
    url: str | None = None


class Compute(Frozen):
    """What the provider says is there.

    `cost_per_hour` is in the account's currency (US dollars with all known clouds); `reason` is a sentence when the
    status needs one; `exit_code` is set once the command has ended by itself (negative: the signal that ended it).
    `account` is the identity of the account it was seen in; `raw` is the provider's own answer, without secrets.
    `auth` is what `spawn_compute(auth=…)` issued: only that answer holds it, no provider can tell it again.
    """

    id: str
    provider: str
    account: str
    status: ComputeStatus
    name: str | None = None
    birth: Birth | None = None
    owner: Owner | None = None
    spec: ComputeSpec | None = None
    reason: str = ""
    exit_code: int | None = None
    ports: tuple[ObservedPort, ...] = ()
    public_ip: str | None = None
    gpu: str | None = None
    gpu_count: int = 0
    cost_per_hour: float | None = None
    region: str | None = None
    image: str | None = None
    created_at: datetime | None = None
    raw: dict[str, Any] = {}
    auth: IssuedAccess | None = None

    @property
    def urls(self) -> dict[str, str]:
        """URLs by the port's number inside the pod, for the ports that have one."""
        return {str(p.internal): p.url for p in self.ports if p.url}


class ComputeFilter(Frozen):
    """Which compute to list; every field that is given must match exactly.."""

    status: ComputeStatus | None = None
    name: str | None = None
    region: str | None = None
    gpu: str | None = None

    def matches(self, pod: Compute) -> bool:
        wanted = {"status": self.status, "name": self.name, "region": self.region, "gpu": self.gpu}
        return all(value is None or getattr(pod, field) == value for field, value in wanted.items())

"""Volumes: storage that outlives the pods that mount it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.models._base import Frozen, WholeNumber
from pulumi_atlas.models.compute import _NAME

__all__ = ["ObservedVolume", "VolumeSpec"]


class VolumeSpec(Frozen):
    """What is asked for: `size_gb` in gigabytes (10^9 bytes); `region` where the provider has regions."""

    name: Annotated[str, Field(pattern=_NAME)] | None = None
    size_gb: Annotated[WholeNumber, Field(ge=1, le=100_000)]
    region: Annotated[str, Field(min_length=1)] | None = None
    provider_options: dict[str, Any] = {}


class ObservedVolume(Frozen):
    """What the provider says is there. `attached_to`: ids of the pods that mount it; `path`: the folder, on `local`."""

    id: str
    provider: str
    account: str
    status: Literal["creating", "ready", "failed"] = "ready"
    name: str | None = None
    size_gb: int
    region: str | None = None
    birth: Birth | None = None
    owner: Owner | None = None
    cost_per_hour: float | None = None
    attached_to: tuple[str, ...] = ()
    path: str | None = None
    created_at: datetime | None = None
    raw: dict[str, Any] = {}

"""Rented GPU and CPU machines as code: Pulumi resources and an imperative client over several clouds and this computer.

The names below are loaded on first use, so that `import pulumi_atlas.client` never imports pulumi, and a program pays
only for what it uses.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_atlas.client import AsyncAtlas, Atlas
    from pulumi_atlas.errors import AtlasError
    from pulumi_atlas.models import (
        Compute,
        ComputeSpec,
        EndpointSpec,
        GpuOffer,
        IssuedAccess,
        Job,
        JobSpec,
        ObservedEndpoint,
        ObservedVolume,
        Ready,
        Timeouts,
        VolumeSpec,
        Workers,
    )
    from pulumi_atlas.resources import Endpoint, Pod, Volume

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("Endpoint", "Pod", "Volume"), "pulumi_atlas.resources"),
    **dict.fromkeys(("AsyncAtlas", "Atlas"), "pulumi_atlas.client"),
    **dict.fromkeys(("AtlasError",), "pulumi_atlas.errors"),
    **dict.fromkeys(("Compute", "ComputeSpec", "EndpointSpec", "GpuOffer", "Job", "JobSpec"), "pulumi_atlas.models"),
    **dict.fromkeys(("ObservedEndpoint", "ObservedVolume", "Ready", "Timeouts", "VolumeSpec"), "pulumi_atlas.models"),
    **dict.fromkeys(("IssuedAccess", "Workers"), "pulumi_atlas.models"),
}

__all__ = [
    "AsyncAtlas",
    "Atlas",
    "AtlasError",
    "Compute",
    "ComputeSpec",
    "Endpoint",
    "EndpointSpec",
    "GpuOffer",
    "IssuedAccess",
    "Job",
    "JobSpec",
    "ObservedEndpoint",
    "ObservedVolume",
    "Pod",
    "Ready",
    "Timeouts",
    "Volume",
    "VolumeSpec",
    "Workers",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Values: specs (what was asked for) and observed things (what the provider says is there). Frozen; no I/O."""

from pulumi_atlas.models._base import Frozen, WholeNumber
from pulumi_atlas.models.arguments import DesiredStatus, EndpointArgs, PodArgs, VolumeArgs
from pulumi_atlas.models.compute import (
    CloudType,
    Compute,
    ComputeFilter,
    ComputeSpec,
    ComputeStatus,
    ObservedPort,
    OnExit,
)
from pulumi_atlas.models.endpoint import EndpointHealth, EndpointSpec, EndpointStatus, ObservedEndpoint, Workers
from pulumi_atlas.models.issued import Auth, IssuedAccess
from pulumi_atlas.models.job import FINAL_JOB_STATUSES, Job, JobMode, JobSpec, JobStatus
from pulumi_atlas.models.listing import Listing, Things
from pulumi_atlas.models.offer import GpuOffer, Stock
from pulumi_atlas.models.port import Port, Protocol
from pulumi_atlas.models.ready import Ready, Timeouts
from pulumi_atlas.models.volume import ObservedVolume, VolumeSpec

__all__ = [
    "FINAL_JOB_STATUSES",
    "Auth",
    "CloudType",
    "Compute",
    "ComputeFilter",
    "ComputeSpec",
    "ComputeStatus",
    "DesiredStatus",
    "EndpointArgs",
    "EndpointHealth",
    "EndpointSpec",
    "EndpointStatus",
    "Frozen",
    "GpuOffer",
    "IssuedAccess",
    "Job",
    "JobMode",
    "JobSpec",
    "JobStatus",
    "Listing",
    "ObservedEndpoint",
    "ObservedPort",
    "ObservedVolume",
    "OnExit",
    "PodArgs",
    "Port",
    "Protocol",
    "Ready",
    "Stock",
    "Things",
    "Timeouts",
    "VolumeArgs",
    "VolumeSpec",
    "WholeNumber",
    "Workers",
]

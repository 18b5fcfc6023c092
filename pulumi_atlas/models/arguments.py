"""What a declared resource is given: a spec, and how to treat the thing over its life."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pulumi_atlas.models._base import WholeNumber
from pulumi_atlas.models.compute import ComputeSpec
from pulumi_atlas.models.endpoint import EndpointSpec
from pulumi_atlas.models.issued import Auth
from pulumi_atlas.models.ready import Ready, Timeouts
from pulumi_atlas.models.volume import VolumeSpec

__all__ = ["DesiredStatus", "EndpointArgs", "PodArgs", "VolumeArgs"]

DesiredStatus = Literal["running", "stopped"]

ProviderName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
AccountName = Annotated[str, Field(min_length=1)]


class PodArgs(ComputeSpec):
    """A declared pod.

    `trigger`: any value; when it changes, a pod whose command has ended runs it again. `auth`: what is issued so that
    visitors are let in; a change of `auth_generation` issues it anew.
    """

    provider: ProviderName
    account: AccountName | None = None
    desired_status: DesiredStatus = "running"
    trigger: Any = None
    auth: Auth | None = None
    auth_generation: Annotated[WholeNumber, Field(ge=0, lt=10**12)] = 0
    ready: Ready | None = None
    timeouts: Timeouts = Timeouts()

    def spec(self) -> ComputeSpec:
        """The part that the provider is asked for."""
        return ComputeSpec.model_construct(**{field: getattr(self, field) for field in ComputeSpec.model_fields})


class VolumeArgs(VolumeSpec):
    """A declared volume."""

    provider: ProviderName
    account: AccountName | None = None
    timeouts: Timeouts = Timeouts()

    def spec(self) -> VolumeSpec:
        """The part that the provider is asked for."""
        return VolumeSpec.model_construct(**{field: getattr(self, field) for field in VolumeSpec.model_fields})


class EndpointArgs(EndpointSpec):
    """A declared endpoint. `trigger`: any value; when it changes, the workers are started anew."""

    provider: ProviderName
    account: AccountName | None = None
    trigger: Any = None
    timeouts: Timeouts = Timeouts()

    def spec(self) -> EndpointSpec:
        """The part that the provider is asked for."""
        return EndpointSpec.model_construct(**{field: getattr(self, field) for field in EndpointSpec.model_fields})

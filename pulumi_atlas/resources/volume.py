"""A volume as a Pulumi resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_atlas.resources import _outputs
from pulumi_atlas.resources._program import inputs_of, real_types
from pulumi_atlas.resources._shell import Shell

if TYPE_CHECKING:  # the models cost a program more than all the rest
    from pulumi_atlas.models import Timeouts

__all__ = ["Volume"]


class _VolumeProvider(Shell):
    """Serves `Volume`. The engine's state names this class: it is never renamed."""

    life = "pulumi_atlas.resources._volume_life:VolumeLife"


@real_types
class Volume(Resource, module="atlas", name="Volume"):
    """Storage that outlives the pods that mount it.

    Args:
        resource_name: The Pulumi name; also the volume's name at the provider.
        provider: Which cloud; default as for `Pod`.
        size_gb: Size in gigabytes (10^9 bytes). It can grow; shrinking is refused. On `local` it is noted, not enforced.
        region: Where it is, where the provider has regions. Changing it makes another, empty volume.
        timeouts: Seconds for create, update and delete.
        account: A profile of atlas.yaml.
        provider_options: What only one cloud knows.
        opts: Pulumi's resource options.
    """

    status: pulumi.Output[str]
    """``creating``, ``ready`` or ``failed``."""
    path: pulumi.Output[str | None]
    """The folder on this machine, on `local`."""
    size_gb: pulumi.Output[int]
    """Size in gigabytes."""
    cost_per_hour: pulumi.Output[float | None]
    """Price per hour in the account's currency."""
    attached_to: pulumi.Output[list[str] | None]
    """Ids of the pods that mounted it when it was last read."""
    created_at: pulumi.Output[str | None]
    """When it was created, ISO 8601."""
    account_id: pulumi.Output[str]
    """The identity of the account it was made in; other accounts are refused."""
    provider: pulumi.Output[str]
    """The provider's name."""
    name: pulumi.Output[str]
    """The volume's name at the provider."""

    def __init__(
        self,
        resource_name: str,
        *,
        provider: pulumi.Input[str] | None = None,
        size_gb: pulumi.Input[int] | None = None,
        region: pulumi.Input[str] | None = None,
        timeouts: Timeouts | pulumi.Input[Mapping[str, Any]] | None = None,
        account: pulumi.Input[str] | None = None,
        provider_options: pulumi.Input[Mapping[str, Any]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        given = {
            "provider": provider,
            "size_gb": size_gb,
            "region": region,
            "timeouts": timeouts,
            "account": account,
            "provider_options": provider_options,
        }
        inputs = inputs_of(resource_name, "atlas:Volume", given, _outputs.VOLUME, opts)
        super().__init__(_VolumeProvider(), resource_name, inputs, opts)

    @classmethod
    def get(
        cls,
        resource_name: str,
        id: pulumi.Input[str],
        *,
        provider: str | None = None,
        account: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> Volume:
        """An existing volume, read and not managed."""
        merged = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=id))
        return cls(resource_name, provider=provider, account=account, opts=merged)

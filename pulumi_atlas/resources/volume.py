"""A volume as a Pulumi resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_atlas.client import kinds
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.client.validation import check_volume
from pulumi_atlas.errors import Failure
from pulumi_atlas.ids import Tag, VolumeId
from pulumi_atlas.models import ObservedVolume, Timeouts, VolumeArgs
from pulumi_atlas.providers import registry
from pulumi_atlas.resources import _process, _wire
from pulumi_atlas.resources._program import inputs_of
from pulumi_atlas.resources._shell import Shell
from pulumi_atlas.rules.diff import Plan, plan_volume

__all__ = ["Volume"]

_OUTPUTS = ("status", "path", "cost_per_hour", "attached_to", "created_at", "account_id")


class _VolumeProvider(Shell):
    """Serves `Volume`. The engine's state names this class: it is never renamed."""

    kind = kinds.VOLUME
    model = VolumeArgs
    outputs = _OUTPUTS

    def _failures(self, raw: Mapping[str, Any]) -> list[Failure]:
        return check_volume(VolumeArgs, raw)

    def _plan(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Plan:
        provider = registry.load(str(olds.get("provider") or news.get("provider")))
        return plan_volume(olds, news, getattr(provider, "volume_changes", {}))

    async def _make(self, opened: Opened, args: VolumeArgs, tag: Tag) -> ObservedVolume:
        return await _process.core().create_volume(opened, args.spec(), tag, timeout_s=args.timeouts.create_s)

    async def _change(self, opened: Opened, ident: str, args: VolumeArgs, plan: Plan) -> ObservedVolume:
        try:
            if plan.spec_changes:
                volume: ObservedVolume = await opened.provider.update_volume(VolumeId(ident), args.spec())
                return volume
            unchanged: ObservedVolume = await opened.provider.get_volume(VolumeId(ident))
            return unchanged
        finally:
            opened.wrote()

    def _live(self, props: Mapping[str, Any], thing: ObservedVolume) -> dict[str, Any]:
        live = {**props, "size_gb": thing.size_gb}
        if thing.name:
            live["name"] = thing.name
        if thing.region and props.get("region"):
            live["region"] = thing.region
        return live

    def _observed(self, thing: ObservedVolume) -> dict[str, Any]:
        return _wire.spell_json(thing, ("status", "path", "cost_per_hour", "attached_to", "created_at"))


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
        inputs = inputs_of(resource_name, "atlas:Volume", given, _OUTPUTS, opts)
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

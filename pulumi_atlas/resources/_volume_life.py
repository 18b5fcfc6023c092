"""What the engine may ask of a volume, in the provider process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_atlas.client import kinds
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.client.validation import check_volume
from pulumi_atlas.errors import Failure
from pulumi_atlas.ids import Tag, VolumeId
from pulumi_atlas.models import ObservedVolume, VolumeArgs
from pulumi_atlas.providers import registry
from pulumi_atlas.resources import _outputs, _process, _wire
from pulumi_atlas.resources._life import Life
from pulumi_atlas.rules.diff import Plan, plan_volume

__all__ = ["VolumeLife"]


class VolumeLife(Life):
    """Serves `Volume`."""

    kind = kinds.VOLUME
    model = VolumeArgs
    outputs = _outputs.VOLUME

    def _failures(self, raw: Mapping[str, Any]) -> list[Failure]:
        return check_volume(VolumeArgs, raw)

    def _plan(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Plan:
        provider = registry.load(str(olds.get("provider") or news.get("provider")))
        return plan_volume(olds, news, getattr(provider, "volume_changes", {}))

    def _refused(self, olds: Mapping[str, Any], raw: Mapping[str, Any]) -> list[Failure]:
        """Shrinking, which no provider does: said at preview, and not when half of the run is done."""
        has, wanted = olds.get("size_gb"), raw.get("size_gb")
        if not isinstance(has, int | float) or not isinstance(wanted, int | float) or wanted >= has:
            return []
        if self._plan(olds, raw).replaces:
            return []
        hint = f"keep size_gb={has:g}, or make another volume and copy what you need"
        return [Failure("size_gb", f"cannot shrink from {has:g} to {wanted:g}", hint)]

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

    def _live(self, props: Mapping[str, Any], thing: ObservedVolume, issued: Mapping[str, Any]) -> dict[str, Any]:
        live = {**props, "size_gb": thing.size_gb}
        if thing.name:
            live["name"] = thing.name
        if thing.region and props.get("region"):
            live["region"] = thing.region
        return live

    def _observed(self, thing: ObservedVolume) -> dict[str, Any]:
        return _wire.spell_json(thing, ("status", "path", "cost_per_hour", "attached_to", "created_at"))

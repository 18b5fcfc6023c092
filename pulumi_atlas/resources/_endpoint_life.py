"""What the engine may ask of an endpoint, in the provider process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_atlas.client import kinds
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.client.validation import check_endpoint
from pulumi_atlas.errors import Failure
from pulumi_atlas.ids import EndpointId, Tag
from pulumi_atlas.models import EndpointArgs, EndpointSpec, ObservedEndpoint
from pulumi_atlas.providers import registry
from pulumi_atlas.resources import _outputs, _process, _wire
from pulumi_atlas.resources._life import Life
from pulumi_atlas.rules.diff import PLACEMENT, Plan, plan_endpoint, same_meaning

__all__ = ["EndpointLife"]


class EndpointLife(Life):
    """Serves `Endpoint`."""

    kind = kinds.ENDPOINT
    model = EndpointArgs
    outputs = _outputs.ENDPOINT

    def _failures(self, raw: Mapping[str, Any]) -> list[Failure]:
        return check_endpoint(EndpointArgs, raw)

    def _plan(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Plan:
        provider = registry.load(str(olds.get("provider") or news.get("provider")))
        return plan_endpoint(olds, news, getattr(provider, "endpoint_changes", {}))

    async def _make(self, opened: Opened, args: EndpointArgs, tag: Tag) -> ObservedEndpoint:
        return await _process.core().create_endpoint(opened, args.spec(), tag, timeout_s=args.timeouts.create_s)

    async def _change(self, opened: Opened, ident: str, args: EndpointArgs, plan: Plan) -> ObservedEndpoint:
        endpoint_id, restart = EndpointId(ident), plan.restart or plan.power == "start"
        try:
            if plan.spec_changes or restart:
                await opened.provider.update_endpoint(endpoint_id, args.spec(), restart=restart)
            endpoint: ObservedEndpoint = await opened.provider.get_endpoint(endpoint_id)
            return endpoint
        finally:
            opened.wrote()

    def _live(self, props: Mapping[str, Any], thing: ObservedEndpoint, issued: Mapping[str, Any]) -> dict[str, Any]:
        live = dict(props)
        shown = thing.spec.model_dump(mode="json") if thing.spec else {}
        for name in (EndpointSpec.model_fields.keys() - PLACEMENT) & shown.keys():
            if not same_meaning(EndpointArgs, name, props.get(name), shown[name]):
                live[name] = shown[name]
        return live

    def _observed(self, thing: ObservedEndpoint) -> dict[str, Any]:
        shown = _wire.spell_json(thing, ("status", "reason", "url", "cost_per_hour", "created_at"))
        return {**shown, **({"api_key": thing.key} if thing.key else {})}

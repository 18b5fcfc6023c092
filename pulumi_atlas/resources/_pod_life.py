"""What the engine may ask of a pod, in the provider process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_atlas.client import kinds
from pulumi_atlas.client.issue import issue
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.client.validation import check_pod
from pulumi_atlas.errors import Failure
from pulumi_atlas.ids import Tag
from pulumi_atlas.models import Compute, ComputeSpec, PodArgs
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import ABILITIES
from pulumi_atlas.resources import _outputs, _process, _wire
from pulumi_atlas.resources._life import Life
from pulumi_atlas.rules import admission
from pulumi_atlas.rules.diff import PLACEMENT, Plan, ended_well, plan_pod, same_meaning

__all__ = ["PodLife"]


class PodLife(Life):
    """Serves `Pod`."""

    kind = kinds.POD
    model = PodArgs
    outputs = _outputs.POD
    issued = admission.ISSUED

    def _failures(self, raw: Mapping[str, Any]) -> list[Failure]:
        return check_pod(PodArgs, raw)

    def _plan(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Plan:
        provider = registry.load(str(olds.get("provider") or news.get("provider")))
        table = getattr(provider, "compute_changes", {})
        return plan_pod(olds, news, table, can_stop=hasattr(provider, ABILITIES["stop"][1]))

    def _issue(self, args: PodArgs, olds: Mapping[str, Any]) -> tuple[PodArgs, dict[str, Any]]:
        if args.auth is None:
            return args, {}
        kept = admission.issued_of(olds)
        if kept is None or not admission.serves(kept, args.auth, args.auth_generation):
            kept = issue(args.auth, generation=args.auth_generation)
        env = {**args.env, **kept.environment()}
        return args.model_copy(update={"env": env}), admission.outputs_of(kept)

    async def _make(self, opened: Opened, args: PodArgs, tag: Tag) -> Compute:
        core = _process.core()
        return await core.create_pod(
            opened,
            args.spec(),
            tag,
            ready=args.ready,
            timeout_s=args.timeouts.create_s,
            then_stop=args.desired_status == "stopped",
        )

    async def _change(self, opened: Opened, ident: str, args: PodArgs, plan: Plan) -> Compute:
        return await _process.core().update_pod(
            opened,
            ident,
            args.spec(),
            plan,
            desired=args.desired_status,
            ready=args.ready,
            timeout_s=args.timeouts.update_s,
        )

    def _live(self, props: Mapping[str, Any], thing: Compute, issued: Mapping[str, Any]) -> dict[str, Any]:
        live = dict(props)
        wanted = props.get("desired_status") or "running"
        live["desired_status"] = _live_power(str(wanted), thing, props.get("on_exit"))
        if thing.spec is None:
            return live
        shown = thing.spec.model_dump(mode="json")
        stored = {**props, **issued}
        auth, shown["env"] = admission.auth_found(shown["env"], stored), admission.users_env(shown["env"], stored)
        live = {name: value for name, value in live.items() if name != "auth"} | ({"auth": auth} if auth else {})
        for name in ComputeSpec.model_fields.keys() - PLACEMENT:
            if not same_meaning(PodArgs, name, props.get(name), shown[name]):
                live[name] = shown[name]
        return live

    def _observed(self, thing: Compute) -> dict[str, Any]:
        fields = ("status", "exit_code", "public_ip", "cost_per_hour", "region", "created_at")
        return {
            **_wire.spell_json(thing, fields),
            "urls": thing.urls,
            "reason": thing.reason,
            **({"gpu_name": thing.gpu} if thing.gpu else {}),
        }


def _live_power(wanted: str, pod: Compute, on_exit: str | None) -> str:
    """`desired_status` as it is in truth: a command that ended well is no drift, one that failed is."""
    if pod.status in ("running", "provisioning"):
        return "running"
    if wanted == "stopped" or ended_well(pod.status, pod.exit_code, on_exit):
        return wanted
    return pod.status

"""What differs between a thing as it is known and as it is wanted, and what that asks for. Tables say which change costs what."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, TypeAdapter

from pulumi_atlas.models import EndpointArgs, PodArgs, VolumeArgs
from pulumi_atlas.rules.admission import issued_of
from pulumi_atlas.rules.unknown import holds_unknown

__all__ = ["PLACEMENT", "Plan", "Power", "ended_well", "plan_endpoint", "plan_pod", "plan_volume", "same_meaning"]

Power = Literal["start", "stop"]

#: Arguments that only constrain creation: an existing pod is replaced when the user changed one *and* the pod violates it.
PLACEMENT = frozenset({"gpu", "regions", "max_cost_per_hour", "cloud_type"})

#: Arguments that only tell us how to behave: a change is noted and asks nothing of the provider.
_OURS = frozenset({"ready", "timeouts", "desired_status", "trigger"})

#: Arguments that become a part of the environment: a change of them is what a change of `env` is.
_TOLD_BY_ENV = ("auth", "auth_generation")

#: Arguments whose change always means another thing.
_IDENTITY = frozenset({"provider", "account"})


@dataclass(frozen=True)
class Plan:
    """What to do about the differences.

    `changed`: arguments that differ in meaning; `replaces`: those that ask for a new thing; `spec_changes`: whether the
    provider must be told; `restart`: whether that needs a restart; `power`: start or stop it; `unseen`: it differs in a
    way that a comparison of inputs does not show.
    """

    changed: frozenset[str] = frozenset()
    replaces: tuple[str, ...] = ()
    spec_changes: bool = False
    restart: bool = False
    power: Power | None = None
    unseen: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.changed or self.replaces or self.power or self.unseen)


def plan_pod(old: Mapping[str, Any], new: Mapping[str, Any], table: Mapping[str, str], *, can_stop: bool) -> Plan:
    """`old`: the last outputs (arguments and observed values); `new`: checked inputs, unknowns allowed."""
    table = {**table, **dict.fromkeys(_TOLD_BY_ENV, table.get("env", "replace"))}
    changed, lost = _changed(PodArgs, old, new), _lost_access(old, new)
    asks = changed | ({"auth"} if lost else set())
    if not (old.get("auth") or new.get("auth")):
        asks -= {"auth_generation"}  # of what is not there
    replaces = {name for name in asks if _asks_for_replacement(name, old, new, table, placement=PLACEMENT)}
    told = asks - replaces - _OURS - PLACEMENT
    restart = "trigger" in changed or any(table.get(name) == "restart" for name in told)
    power = _power(old, new, restart=restart)
    if not can_stop:
        replaces |= ({"desired_status"} if power else set()) | ({"trigger"} & changed)
    return Plan(
        changed=frozenset(changed),
        replaces=tuple(sorted(replaces)),
        spec_changes=bool(told),
        restart=restart,
        power=power,
        unseen=(power is not None or lost) and not changed,
    )


def _lost_access(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether nothing is known to have been issued for a guarded pod, as after an import: it is issued now."""
    auth = new.get("auth")
    return isinstance(auth, str) and auth == old.get("auth") and issued_of(old) is None


def plan_volume(old: Mapping[str, Any], new: Mapping[str, Any], table: Mapping[str, str]) -> Plan:
    """As `plan_pod`, for a volume."""
    return _plan_plain(VolumeArgs, old, new, table)


def plan_endpoint(old: Mapping[str, Any], new: Mapping[str, Any], table: Mapping[str, str]) -> Plan:
    """As `plan_pod`, for an endpoint. One that no longer serves is started again."""
    plan = _plan_plain(EndpointArgs, old, new, table)
    broken = old.get("status") in ("failed", "stopped")
    if not broken and "trigger" not in plan.changed:
        return plan
    return Plan(plan.changed, plan.replaces, plan.spec_changes, True, "start", unseen=not plan.changed)


def _plan_plain(
    model: type[BaseModel], old: Mapping[str, Any], new: Mapping[str, Any], table: Mapping[str, str]
) -> Plan:
    changed = _changed(model, old, new)
    replaces = {name for name in changed if _asks_for_replacement(name, old, new, table)}
    told = changed - replaces - _OURS
    restart = any(table.get(name) == "restart" for name in told)
    return Plan(frozenset(changed), tuple(sorted(replaces)), bool(told), restart)


def _asks_for_replacement(
    name: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    table: Mapping[str, str],
    *,
    placement: frozenset[str] = frozenset(),
) -> bool:
    if name in _OURS:
        return False
    if holds_unknown(new.get(name)):
        return False  # it may turn out to be what it was
    if name in _IDENTITY:
        return True
    if name in placement and name not in table:
        return _violates(name, old, new)
    return table.get(name, "replace") == "replace"


def _violates(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    wanted = new.get(name)
    if name == "gpu":
        has = old.get("gpu_name")
        return has not in wanted if wanted else has is not None
    if name == "regions":
        region = old.get("region")
        return bool(wanted) and region is not None and region not in (wanted or ())
    if name == "max_cost_per_hour":
        costs = old.get("cost_per_hour")
        return wanted is not None and costs is not None and costs > wanted
    has = old.get("cloud_type") or "any"  # "any": it may well be there already
    return wanted not in (None, "any") and has not in ("any", wanted)


def _power(old: Mapping[str, Any], new: Mapping[str, Any], *, restart: bool) -> Power | None:
    wanted, status = new.get("desired_status") or "running", old.get("status")
    if holds_unknown(wanted):
        return None
    if wanted == "stopped":
        return "stop" if status in ("running", "provisioning") else None
    if ended_well(str(status), old.get("exit_code"), old.get("on_exit")) and old.get("desired_status") != "stopped":
        return "start" if restart else None
    return "start" if status in ("stopped", "failed") else None


def ended_well(status: str, exit_code: Any, on_exit: Any) -> bool:
    """Whether a pod's command has ended by itself with success: then it runs again only when that is asked for."""
    return status == "finished" or (status == "stopped" and on_exit == "stop" and exit_code == 0)


def same_meaning(model: type[BaseModel], name: str, left: Any, right: Any) -> bool:
    """Whether two spellings of an argument mean the same; None stands for the default."""
    return bool(_meaning(model, name, {name: left}) == _meaning(model, name, {name: right}))


def _changed(model: type[BaseModel], old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    names = set(model.model_fields)
    return {name for name in names if _meaning(model, name, old) != _meaning(model, name, new)}


def _meaning(model: type[BaseModel], name: str, values: Mapping[str, Any]) -> Any:
    """The value in one spelling: defaults filled in, numbers and ports alike, so that only meaning is compared."""
    info = model.model_fields[name]
    value = values.get(name)
    if value is None:
        return _plain(info.get_default(call_default_factory=True)) if not info.is_required() else None
    if holds_unknown(value):
        return object()  # differs from everything
    try:
        return _plain(_adapter(model, name).validate_python(value))
    except ValueError:
        return value


@functools.cache
def _adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    info = model.model_fields[name]
    annotation: Any = info.annotation
    return TypeAdapter(Annotated[(annotation, *info.metadata)] if info.metadata else annotation)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return value

"""Pods of the mock cloud: what a row means at a time, and what each act makes of it. Pure but for the state given."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pulumi_atlas import gpus
from pulumi_atlas.errors import Conflict, Failure, InvalidSpec, NoCapacity, NotFound
from pulumi_atlas.ids import Birth, Owner, Tag
from pulumi_atlas.models import Compute, ComputeFilter, ComputeSpec, ComputeStatus, ObservedPort, Port
from pulumi_atlas.providers.mock._catalog import CPU, price
from pulumi_atlas.providers.mock._state import PROVIDER, Row, State

__all__ = [
    "OPTIONS",
    "Phase",
    "alive",
    "create",
    "end",
    "force",
    "listed",
    "observe",
    "option_failures",
    "phase",
    "start",
    "stop",
    "terminate",
    "update",
    "urls",
]

#: `provider_options` of a pod: its command ends by itself after so many seconds of running, with this code.
OPTIONS = ("exit_after_s", "exit_code")

PUBLIC_IP = "203.0.113.1"
REGION = "mock-1"

#: Later than any clock will say; JSON has no infinity.
_NEVER = 1e15

#: What an existing pod cannot become: these need another one.
_FIXED = ("container_disk_gb", "gpu_count", "spot", "volume_gb", "volumes")


@dataclass(frozen=True)
class Phase:
    """What a pod is at one moment."""

    status: ComputeStatus
    exit_code: int | None = None
    reason: str = ""


def phase(row: Row, now: float) -> Phase:
    """What the row means at the time `now`: nothing runs in the background, all follows from the times in it."""
    if row["state"] != "up":
        return Phase(row["state"], row["exit_code"], row["reason"])
    ready = row["ready_at"]
    if now < ready:
        return Phase("provisioning")
    lifetime, exit_after = (
        row["spec"].get("max_lifetime_s"),
        row["spec"].get("provider_options", {}).get("exit_after_s"),
    )
    lapses = ready + lifetime if lifetime is not None else _NEVER
    exits = ready + exit_after if exit_after is not None else _NEVER
    if row["spec"].get("on_exit", "keep") != "restart" and exits <= now and exits <= lapses:
        ended = end(row, now, row["spec"].get("provider_options", {}).get("exit_code", 0))
        return phase(ended, now)
    if lapses <= now:
        return Phase("terminated", None, f"its max_lifetime_s of {lifetime:g} s is over")
    return Phase("running")


def end(row: Row, now: float, code: int) -> Row:
    """The row after its command has ended by itself with `code`, by the pod's `on_exit`."""
    on_exit = row["spec"].get("on_exit", "keep")
    if on_exit == "restart":
        return {**row, "state": "up", "ready_at": now, "restarts": row["restarts"] + 1}
    if on_exit == "keep":
        reason = "" if code == 0 else f"its command ended with code {code}"
        return {**row, "state": "failed" if code else "finished", "exit_code": code, "reason": reason}
    reason = f"its command ended with code {code}, and on_exit is {on_exit}"
    return {**row, "state": "stopped" if on_exit == "stop" else "terminated", "exit_code": code, "reason": reason}


def force(row: Row, now: float, status: ComputeStatus, exit_code: int | None, reason: str) -> Row:
    """The row with that status, whatever it was."""
    if status in ("provisioning", "running"):
        ready = _NEVER if status == "provisioning" else now
        return {**row, "state": "up", "ready_at": ready, "exit_code": None, "reason": ""}
    code = 0 if status == "finished" and exit_code is None else exit_code
    return {**row, "state": status, "exit_code": code, "reason": reason}


def alive(state: State, pod_id: str, account: str | None, now: float) -> Row:
    """The row of a pod that the account can see. Raises NotFound, for one that has left since too."""
    row = state.row("pods", pod_id, account)
    if row["gone_at"] is not None and row["gone_at"] <= now:
        raise NotFound(f"there is no pod '{pod_id}'", provider=PROVIDER, hint="it was terminated")
    return row


def observe(state: State, ident: str, row: Row, now: float) -> Compute:
    """The row as the provider shows it; made once for a row and what it means."""
    what = phase(row, now)
    seen = state.views.get(ident)
    if seen is None or seen[0] is not row or seen[1] != what:
        seen = state.views[ident] = (row, what, _shown(ident, row, what))
    compute: Compute = seen[2]
    return compute


def _shown(ident: str, row: Row, what: Phase) -> Compute:
    spec = ComputeSpec.model_validate(row["spec"])
    paid = what.status in ("provisioning", "running")
    return Compute(
        id=ident,
        provider=PROVIDER,
        account=row["account"],
        status=what.status,
        name=spec.name,
        birth=Birth(row["birth"]) if row["birth"] else None,
        owner=Owner.parse(row["owner"]) if row["owner"] else None,
        spec=spec,
        reason=what.reason,
        exit_code=what.exit_code,
        ports=tuple(_observed_port(ident, port) for port in spec.ports),
        public_ip=PUBLIC_IP if what.status == "running" else None,
        gpu=row["gpu"],
        gpu_count=spec.gpu_count if row["gpu"] else 0,
        cost_per_hour=row["price"] if paid else 0.0,
        region=row["region"],
        image=spec.image,
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        raw={"id": ident, "state": row["state"], "restarts": row["restarts"], "spot": spec.spot},
    )


def urls(pod_id: str, ports: Sequence[Port]) -> dict[str, str]:
    """URLs by port number: they follow from the id alone."""
    return {str(port.number): _url(pod_id, port) for port in ports}


def listed(state: State, account: str, filters: ComputeFilter, now: float) -> tuple[Compute, ...]:
    """What a listing shows: a young pod only after the lag, a hidden one not at all."""
    born_by = now - state.settings.listing_lag_s
    shown = []
    for ident, row in state.rows("pods", account):
        left = row["gone_at"] is not None and row["gone_at"] <= now
        if not left and row["created_at"] <= born_by and ident not in state.settings.hidden:
            shown.append(observe(state, ident, row, now))
    return tuple(pod for pod in shown if filters.matches(pod))


def create(
    state: State, now: float, spec: ComputeSpec, tag: Tag | None, account: str, provision_s: float
) -> tuple[str, Row]:
    """Rent a pod on the first candidate that is free and within the price. Raises InvalidSpec, NoCapacity."""
    region = _checked(state, spec, account)
    kind, cost = _place(state, now, spec)
    ident = state.new_id("pods")
    row: Row = {
        "account": account,
        "birth": tag.birth if tag else None,
        "owner": str(tag.owner) if tag else None,
        "spec": spec.model_dump(mode="json", exclude_defaults=True),
        "created_at": now,
        "state": "up",
        "ready_at": now + provision_s,
        "exit_code": None,
        "reason": "",
        "gone_at": None,
        "restarts": 0,
        "gpu": None if kind == CPU else kind,
        "price": cost,
        "region": region,
    }
    state.put("logs", ident, {"account": account, "lines": [f"mock: pod {ident} was made"]})
    return ident, state.put("pods", ident, row)


def stop(state: State, now: float, pod_id: str, account: str) -> None:
    """Stop; done when it has ended or is stopped. Raises NotFound, and Conflict for a terminated one."""
    row = alive(state, pod_id, account, now)
    what = phase(row, now)
    _refuse_terminated(pod_id, what, "stopped")
    if what.status != "stopped":
        state.put("pods", pod_id, {**row, "state": "stopped", "exit_code": what.exit_code, "reason": ""})


def start(state: State, now: float, pod_id: str, account: str, provision_s: float) -> None:
    """Start what is stopped, finished or failed. Raises NotFound, NoCapacity, and Conflict for a terminated one."""
    row = alive(state, pod_id, account, now)
    what = phase(row, now)
    _refuse_terminated(pod_id, what, "started")
    if what.status in ("provisioning", "running"):
        return
    kind, count = row["gpu"] or CPU, row["spec"].get("gpu_count", 1) if row["gpu"] else 1
    if not _free(state, now, kind, count):
        raise NoCapacity(
            f"pod '{pod_id}' cannot start: no {kind} is free", provider=PROVIDER, hint="try again later, or replace it"
        )
    state.put("pods", pod_id, _anew(row, now, provision_s))


def update(
    state: State, now: float, pod_id: str, account: str, spec: ComputeSpec, *, restart: bool, provision_s: float
) -> Row:
    """Give the pod another spec. Raises NotFound, InvalidSpec, and Conflict for what only a new pod can have."""
    row = alive(state, pod_id, account, now)
    what = phase(row, now)
    _refuse_terminated(pod_id, what, "changed")
    _checked(state, spec, account)
    old = ComputeSpec.model_validate(row["spec"])
    fixed = [name for name in _FIXED if getattr(old, name) != getattr(spec, name)]
    if fixed:
        raise Conflict(
            f"pod '{pod_id}' cannot change its {', '.join(fixed)}", provider=PROVIDER, hint="this needs another pod"
        )
    changed = {**row, "spec": spec.model_dump(mode="json", exclude_defaults=True)}
    if restart and what.status in ("provisioning", "running"):
        changed = _anew(changed, now, provision_s)
    return state.put("pods", pod_id, changed)


def terminate(state: State, now: float, pod_id: str, account: str) -> None:
    """Destroy. With a lag it is shown as terminated for a while, else it is gone at once. Raises NotFound."""
    row = alive(state, pod_id, account, now)
    lag = state.settings.terminate_lag_s
    if lag > 0 and row["gone_at"] is None:
        state.put("pods", pod_id, {**row, "state": "terminated", "reason": "terminated", "gone_at": now + lag})
    elif lag <= 0:
        state.drop("pods", pod_id)
        state.drop("logs", pod_id)


def _anew(row: Row, now: float, provision_s: float) -> Row:
    return {
        **row,
        "state": "up",
        "ready_at": now + provision_s,
        "exit_code": None,
        "reason": "",
        "restarts": row["restarts"] + 1,
    }


def _refuse_terminated(pod_id: str, what: Phase, act: str) -> None:
    if what.status == "terminated":
        raise Conflict(
            f"pod '{pod_id}' is terminated and cannot be {act}", provider=PROVIDER, hint="create a new pod instead"
        )


def _checked(state: State, spec: ComputeSpec, account: str) -> str:
    """The region for the spec. Raises InvalidSpec with every failure."""
    failures = [*option_failures(spec.provider_options)]
    region = spec.regions[0] if spec.regions else None
    for path, volume_id in spec.volumes.items():
        volume = state.tables["volumes"].get(volume_id)
        if volume is None or volume["account"] != account:
            failures.append(Failure(f"volumes.{path}", f"there is no volume '{volume_id}'", "create the volume first"))
            continue
        where = volume["spec"].get("region")
        if where and spec.regions and where not in spec.regions:
            hint = f"volume '{volume_id}' is in {where}; add it to regions"
            failures.append(Failure("regions", "the pod and its volume would be in different regions", hint))
        region = where or region
    for place, name in enumerate(spec.gpu):
        try:
            gpus.find(name)
        except InvalidSpec as error:
            failures += [Failure(f"gpu[{place}]", f.message, f.hint) for f in error.failures]
    if failures:
        raise InvalidSpec(failures, provider=PROVIDER)
    return region or REGION


def option_failures(options: dict[str, Any]) -> list[Failure]:
    failures = []
    for name, value in options.items():
        path = f"provider_options.{name}"
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(OPTIONS)}"
            failures.append(Failure(path, "mock has no such option", hint))
        elif not number or (name == "exit_after_s" and value < 0) or (name == "exit_code" and value != int(value)):
            kind = "a number of seconds, 0 or more" if name == "exit_after_s" else "a whole number"
            failures.append(Failure(path, f"must be {kind}"))
    return failures


def _place(state: State, now: float, spec: ComputeSpec) -> tuple[str, float]:
    count, cap = (spec.gpu_count if spec.gpu else 1), spec.max_cost_per_hour
    refused = []
    for kind in [gpus.find(name).name for name in spec.gpu] or [CPU]:
        cost = round(price(state, kind, spot=spec.spot, cloud_type=spec.cloud_type) * count, 4)
        if cap is not None and cost > cap:
            refused.append(f"{kind} costs {cost:g} per hour, more than the cap of {cap:g}")
        elif not _free(state, now, kind, count):
            refused.append(f"no {kind} is free" if count == 1 else f"{count} x {kind} are not free")
        else:
            return kind, cost
    raise NoCapacity(
        "; ".join(refused), provider=PROVIDER, hint="name more GPUs, raise max_cost_per_hour, or try again later"
    )


def _free(state: State, now: float, kind: str, count: int) -> bool:
    capacity = state.settings.capacity.get(kind)
    if capacity is None:
        return True
    used = 0
    for _, row in state.rows("pods"):
        if (row["gpu"] or CPU) == kind and phase(row, now).status in ("provisioning", "running"):
            used += row["spec"].get("gpu_count", 1) if row["gpu"] else 1
    return used + count <= capacity


def _observed_port(pod_id: str, port: Port) -> ObservedPort:
    external = port.number if port.protocol == "tcp" else None
    return ObservedPort(internal=port.number, external=external, protocol=port.protocol, url=_url(pod_id, port))


def _url(pod_id: str, port: Port) -> str:
    if port.protocol == "tcp":
        return f"tcp://{pod_id}.mock.local:{port.number}"
    return f"https://{pod_id}-{port.number}.mock.local"

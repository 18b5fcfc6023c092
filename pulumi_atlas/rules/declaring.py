"""Which arguments would declare a thing that is already there, so that a preview finds nothing to change."""

from __future__ import annotations

from typing import Any

from pulumi_atlas.models import Compute, ObservedEndpoint, ObservedVolume
from pulumi_atlas.models.issued import GENERATED_ENV
from pulumi_atlas.rules.admission import auth_told_by
from pulumi_atlas.rules.diff import ended_well

__all__ = ["endpoint_arguments", "pod_arguments", "volume_arguments"]


def pod_arguments(pod: Compute) -> dict[str, Any]:
    """What was asked for, without what is default anyway and without the name; `desired_status` as it is in truth.

    What `auth` set in the environment is told by `auth`, and is in `env` no more. A failed pod counts as stopped: declared
    as running, it would be started again by the next update.
    """
    said = pod.spec.model_dump(mode="json", exclude_defaults=True, exclude={"name"}) if pod.spec else _seen(pod)
    said = _with_auth(said)
    on_exit = pod.spec.on_exit if pod.spec else "keep"
    rests = pod.status in ("stopped", "failed") and not ended_well(pod.status, pod.exit_code, on_exit)
    return {**said, "desired_status": "stopped"} if rests else said


def _with_auth(said: dict[str, Any]) -> dict[str, Any]:
    env = said.get("env") or {}
    auth = auth_told_by(env)
    if not auth:
        return said
    kept = {name: value for name, value in env.items() if name not in GENERATED_ENV}
    return {name: value for name, value in said.items() if name != "env"} | auth | ({"env": kept} if kept else {})


def volume_arguments(volume: ObservedVolume, *, has_regions: bool) -> dict[str, Any]:
    """Size, and the region where the provider has regions."""
    region = {"region": volume.region} if has_regions and volume.region else {}
    return {"size_gb": volume.size_gb, **region}


def endpoint_arguments(endpoint: ObservedEndpoint) -> dict[str, Any]:
    """What was asked for, without what is default anyway and without the name."""
    return endpoint.spec.model_dump(mode="json", exclude_defaults=True, exclude={"name"}) if endpoint.spec else {}


def _seen(pod: Compute) -> dict[str, Any]:
    """The little that is known of a pod whose provider does not show what was asked for."""
    ports = [f"{port.internal}/{port.protocol}" for port in pod.ports]
    cards = {"gpu": [pod.gpu], "gpu_count": pod.gpu_count or 1} if pod.gpu else {}
    seen: dict[str, Any] = {"image": pod.image, "ports": ports, **cards}
    return {name: value for name, value in seen.items() if value}

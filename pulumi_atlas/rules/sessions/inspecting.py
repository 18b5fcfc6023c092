"""What a listing says about a session's pod, and what follows once a look at that very pod has said the same."""

from __future__ import annotations

from typing import Literal

from pulumi_atlas.models import Compute, ComputeStatus
from pulumi_atlas.models.session import Cause, SessionState

__all__ = ["Finding", "end_of", "find"]

#: `ended`: it will not run again by itself. `stopped`, `started`: somebody else did that. `absent`: the listing lacks it.
Finding = Literal["fine", "ended", "stopped", "started", "absent"]


def find(state: SessionState, status: ComputeStatus | None, *, can_stop: bool) -> Finding:
    """What is to be looked at more closely. `status`: as listed, None when it is not listed. States in which a worker is at
    the pod, or has yet to be, are its own affair."""
    if state not in ("ready", "paused"):
        return "fine"
    if status is None:
        return "absent"
    if status in ("finished", "failed"):
        return "ended" if state == "ready" else "fine"
    if status == "terminated":
        return "ended"
    if status == "stopped" and state == "ready":
        return "stopped" if can_stop else "ended"
    return "started" if status in ("running", "provisioning") and state == "paused" else "fine"


def end_of(pod: Compute, *, spot: bool, lapses: bool) -> tuple[Cause, Literal["terminated", "failed"], str]:
    """Cause, outcome and reason of the session's end. `spot`: it was asked for as one; `lapses`: the provider itself ends it
    after a time. No provider tells a reclaimed spot machine from one that was destroyed in its console: the first is assumed."""
    if pod.status == "failed":
        return "pod_ended", "failed", pod.reason or "its pod failed"
    if pod.status == "finished":
        return "pod_ended", "terminated", pod.reason or "its pod's command ended"
    if spot and pod.exit_code is None and not lapses:
        return "reclaimed", "terminated", pod.reason or "its spot machine was reclaimed"
    return "pod_ended", "terminated", pod.reason or f"its pod is {pod.status}"

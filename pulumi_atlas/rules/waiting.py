"""Is a new pod usable yet, is it beyond hope, and how long until the next look?"""

from __future__ import annotations

from typing import Literal

from pulumi_atlas.models import Compute, Ready

__all__ = ["Judgement", "judge", "pause_s", "port_to_probe"]

Judgement = Literal["usable", "probe", "wait", "dead"]


def port_to_probe(pod_ports: tuple[int, ...], ready: Ready | None) -> int | None:
    """The port inside the pod whose answer makes it usable: the one asked for, else the pod's first; None without ports."""
    if ready is not None and ready.port is not None:
        return ready.port
    return pod_ports[0] if pod_ports else None


def judge(pod: Compute, port: int | None, *, running_for_s: float, settle_s: float) -> Judgement:
    """What to think of a pod that was just created or started.

    With a port to probe, a command that ended is beyond hope. Without one, it must have run for `settle_s` seconds, so
    that a command that fails at once is reported as such, or have ended well.
    """
    if pod.status in ("failed", "terminated"):
        return "dead"
    if pod.status == "finished":
        return "dead" if port is not None else "usable"
    if pod.status != "running":
        return "wait"
    if port is not None:
        return "probe"
    return "usable" if running_for_s >= settle_s else "wait"


def pause_s(attempt: int, *, first_s: float = 0.05, most_s: float = 2.0) -> float:
    """Seconds to wait before look number `attempt` + 1 (counted from 0): grows by a quarter each time up to `most_s`.

    So what takes T seconds is seen about T/10 too late.
    """
    return float(min(most_s, first_s * 1.25 ** min(attempt, 40)))

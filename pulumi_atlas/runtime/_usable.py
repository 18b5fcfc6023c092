"""Waiting until a session's pod is usable, after it was rented or started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pulumi_atlas.client import probe
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, ProviderFailure
from pulumi_atlas.models import Compute, Ready
from pulumi_atlas.models.session import Session
from pulumi_atlas.providers.contract import SupportsReach
from pulumi_atlas.rules import waiting
from pulumi_atlas.runtime._desk import Desk, Job

__all__ = ["Found", "Usable"]


@dataclass(frozen=True, slots=True)
class Found:
    """`usable`; `dead`: it ended, or is gone; `late`: there is no time left; `changed`: its session is another now."""

    act: Literal["usable", "dead", "late", "changed"]
    pod: Compute | None = None
    why: str = ""


class Usable:
    """The wait for pods."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def wait(self, job: Job, session: Session, *, left_s: float) -> Found:
        """Look at the pod again and again, for at most `left_s` seconds. Raises Stopped."""
        end, attempt, why, pod = self._desk.clock.monotonic() + left_s, 0, "nothing is known of it", None
        job.running_since = None
        while not self._desk.has_changed(job):
            try:
                opened = self._desk.open(session)
                pod = await self._look(opened, session, attempt)
                if pod is None:
                    return Found("dead", None, "its pod is gone")
                found = await self._judge(job, session, opened, pod)
                if found is not None:
                    return found
                why = f"it is still {pod.status}" if pod.status != "running" else "its port does not answer"
            except AtlasError as error:  # that nobody can tell is no reason to end it
                why = error.message
            left = end - self._desk.clock.monotonic()
            if left <= 0:
                return Found("late", pod, f"it was not usable within {session.ready_timeout_s:g} s: {why}")
            await self._desk.wait(job, min(left, waiting.pause_s(attempt)))
            attempt += 1
        return Found("changed")

    async def _look(self, opened: Opened, session: Session, attempt: int) -> Compute | None:
        """From a listing that is shared with all who wait; None when it is proven gone. Raises when that is not known."""
        assert session.pod_id is not None
        keep = waiting.pause_s(attempt) / 3  # younger than the pause, or the look before it is seen twice
        listing = await self._desk.recent(opened, keep)
        listed = next((pod for pod in listing if pod.id == session.pod_id), None)
        if listed is not None:
            return listed
        verdict, pod = await self._desk.presence(opened, session, age_s=self._desk.pod_age_s(session))
        if verdict == "not_sure" and pod is None:
            raise ProviderFailure("its pod is not found, and it is not sure that it is gone")
        return None if verdict == "gone" else pod

    async def _judge(self, job: Job, session: Session, opened: Opened, pod: Compute) -> Found | None:
        now, ready = self._desk.clock.monotonic(), session.spec.get("ready")
        if pod.status == "running" and job.running_since is None:
            job.running_since = now
        reachable = isinstance(opened.provider, SupportsReach)
        asked = tuple(port.internal for port in pod.ports)
        wanted = Ready.model_validate(ready) if ready else None
        port = waiting.port_to_probe(asked, wanted) if reachable else None
        ran_s = 0.0 if job.running_since is None else now - job.running_since
        settle_s = opened.provider.settle_s if reachable else 0.0
        verdict = waiting.judge(pod, port, running_for_s=ran_s, settle_s=settle_s)
        if verdict == "dead":
            return Found("dead", pod, pod.reason or f"its pod is {pod.status}")
        if verdict == "probe":
            path = wanted.path if wanted else None
            verdict = "usable" if port is not None and await probe.answers(pod, port, path) else "wait"
        return Found("usable", pod) if verdict == "usable" else None

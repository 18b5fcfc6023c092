"""Stopping and starting a session's pod. What fails for a while is tried again; nothing stopped is lost by it."""

from __future__ import annotations

from typing import Any

from pulumi_atlas import failpoints
from pulumi_atlas.client.kinds import require
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, NoCapacity, NotFound, Unsupported
from pulumi_atlas.ids import PodId
from pulumi_atlas.models import Compute
from pulumi_atlas.models.session import Cause, Session, SessionState
from pulumi_atlas.rules.sessions.ending import after_try
from pulumi_atlas.rules.sessions.lease import price_of, settled
from pulumi_atlas.rules.sessions.renting import price_is_missing
from pulumi_atlas.runtime._desk import Desk, Job
from pulumi_atlas.runtime._usable import Usable
from pulumi_atlas.runtime.ledger import Change

__all__ = ["Power"]


class Power:
    """From `pausing` to `paused`, and from `resuming` to `ready`."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._usable = desk, Usable(desk)

    # -- stopping

    async def stop(self, job: Job, session: Session) -> None:
        """One try to stop its pod. Where that cannot be, its pod is terminated instead."""
        try:
            opened = self._desk.open(session)
            require(opened.provider, "stop", operation="stop")
            pod = await self._stopped(opened, session)
        except Unsupported as error:
            await self._end(session, "pausing", session.cause, "terminated", error.message)
        except NotFound:
            await self._vanished(job, session, "pausing")
        except AtlasError as error:
            await self._try_again(job, session, error)
        else:
            await self._paused(job, session, pod, "")

    async def _stopped(self, opened: Opened, session: Session) -> Compute:
        """Stop it, and see that it has stopped. Raises NotFound and whatever the provider says."""
        pod_id = PodId(session.pod_id or "")
        try:
            await self._desk.call(opened, "stop", lambda p: p.stop(pod_id))
        finally:
            opened.wrote()
        failpoints.reach("session.pause.3")
        pod: Compute = await self._desk.call(opened, "get_compute", lambda p: p.get_compute(pod_id))
        return pod

    async def _paused(self, job: Job, session: Session, pod: Compute, reason: str) -> None:
        if pod.status == "terminated":
            await self._vanished(job, session, session.state)
            return
        if pod.status in ("running", "provisioning"):
            text = f"the provider says that it has stopped, and shows it as {pod.status}"
            await self._try_again(job, session, AtlasError(text, provider=pod.provider))
            return

        def decide(now: Session) -> Change | None:
            if now.state != session.state:
                return None
            wall = self._desk.clock.now()
            money = settled(now.cost_settled, now.cost_per_hour, now.cost_since, wall, pod.cost_per_hour)
            fields = {**money, "paused_at": wall, "urls": dict(pod.urls)}
            return Change("provider", "stopped", to="paused", reason=reason or None, fields=fields)

        await self._desk.ledger.change(session.id, decide)
        failpoints.reach("session.pause.4")

    # -- starting

    async def start(self, job: Job, session: Session) -> None:
        """One try to start its pod, and the wait until it is usable. Without capacity it is paused again."""
        try:
            opened = self._desk.open(session)
            require(opened.provider, "stop", operation="start")
            try:
                await self._desk.call(opened, "start", lambda p: p.start(PodId(session.pod_id or "")))
            finally:
                opened.wrote()
        except NotFound:
            await self._vanished(job, session, "resuming")
        except NoCapacity as error:
            await self._back(job, session, error.message)
        except AtlasError as error:
            left = session.ready_timeout_s - (self._desk.clock.monotonic() - job.began)
            if error.kind in ("transport", "rate_limited", "unknown_outcome", "timeout", "provider") and left > 0:
                await self._try_again(job, session, error)
            else:
                await self._back(job, session, error.message)
        else:
            failpoints.reach("session.resume.3")
            await self._until_usable(job, session)

    async def _until_usable(self, job: Job, session: Session) -> None:
        found = await self._usable.wait(job, session, left_s=session.ready_timeout_s)
        if found.act == "changed":
            return
        if found.pod is None and found.act == "dead":
            await self._vanished(job, session, "resuming")
            return
        if found.act != "usable" or found.pod is None:
            await self._back(job, session, found.why)
            return
        pod = found.pod
        if price_is_missing(session, price_of(pod.cost_per_hour)):
            text = "its provider does not tell what its pod costs now, so that its budget could not be kept"
            await self._back(job, session, text)
            return

        def decide(now: Session) -> Change | None:
            if now.state != "resuming":
                return None
            wall = self._desk.clock.now()
            money = settled(now.cost_settled, now.cost_per_hour, now.cost_since, wall, pod.cost_per_hour)
            fields = {**money, "urls": dict(pod.urls), "paused_at": None}
            return Change("provider", "started", to="ready", reason="", fields=fields)

        await self._desk.ledger.change(session.id, decide)
        failpoints.reach("session.resume.4")

    async def _back(self, job: Job, session: Session, why: str) -> None:
        """It could not be started: what was started of it is stopped, and it is paused as before, with the reason."""
        try:
            pod = await self._stopped(self._desk.open(session), session)
        except NotFound:
            await self._vanished(job, session, "resuming")
        except AtlasError as error:
            await self._try_again(job, session, error)
        else:
            await self._paused(job, session, pod, why)

    # -- what goes wrong

    async def _try_again(self, job: Job, session: Session, error: AtlasError) -> None:
        """Wait longer each time, up to `irrevocable_retry_s`; its lifetime and budget go on meanwhile."""
        job.tries += 1
        again = after_try(job.tries, tries=self._desk.settings.terminate_tries,
                          slow_s=self._desk.settings.irrevocable_retry_s)  # fmt: skip
        first = min(again.wait_s, 2.0 ** min(job.tries - 1, 20))

        def decide(now: Session) -> Change | None:
            if now.state != session.state:
                return None
            fields = {"attempts": job.tries, "next_attempt_at": self._desk.clock.now() + first}
            return Change("provider", now.cause, reason=error.message, fields=fields)

        await self._desk.ledger.change(session.id, decide)
        await self._desk.wait(job, first)

    async def _vanished(self, job: Job, session: Session, state: SessionState) -> None:
        """The provider does not find it. When that is proven it is gone; else it is asked again."""
        try:
            opened = self._desk.open(session)
            verdict, _ = await self._desk.presence(opened, session, age_s=self._desk.age_s(job, session))
        except AtlasError as error:
            await self._try_again(job, session, error)
            return
        if verdict == "gone":
            await self._end(session, state, "gone", "failed", "its pod is gone")
        else:
            text = "the provider does not find its pod, and does not show that it is gone"
            await self._try_again(job, session, AtlasError(text, provider=session.provider))

    async def _end(self, session: Session, state: SessionState, cause: Cause, outcome: str, reason: str) -> None:
        def decide(now: Session) -> Change | None:
            if now.state != state:
                return None
            fields: dict[str, Any] = {"outcome": outcome}
            return Change("companion", cause, to="terminating", reason=reason, fields=fields)

        await self._desk.ledger.change(session.id, decide)

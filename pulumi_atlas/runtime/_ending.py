"""Ending a session's pod: asked again until it is proven gone, for ever if it must be, its cost counted to the very end."""

from __future__ import annotations

from typing import Any

from pulumi_atlas import failpoints
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, NotFound, ProviderFailure, WrongAccount
from pulumi_atlas.ids import PodId
from pulumi_atlas.models import Compute
from pulumi_atlas.models.session import Cause, Session
from pulumi_atlas.rules.sessions.ending import Again, after_try
from pulumi_atlas.rules.sessions.lease import cost_at, price_of
from pulumi_atlas.rules.sessions.renting import after_search
from pulumi_atlas.rules.waiting import pause_s
from pulumi_atlas.runtime._desk import Desk, Job
from pulumi_atlas.runtime.ledger import Change
from pulumi_atlas.runtime.store.contract import BirthNote, BirthState

__all__ = ["Ending"]

#: How long a provider that said yes may take until nothing is to be seen of the pod, its listing lag not counted, seconds.
_SETTLES_S = 10.0


class Ending:
    """From `terminating`, maybe over `irrevocable`, to `terminated` or `failed`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def step(self, job: Job, session: Session) -> None:
        """One try, and its result in the row."""
        if session.birth is None and session.pod_id is None:
            await self._over(session, None, "confirmed")
            return
        left = self._left_s(job, session)
        if left > 0:
            await self._desk.wait(job, left)
            return
        try:
            opened = self._desk.open(session)
            if session.pod_id is not None:
                await self._terminate(job, opened, session)
            else:
                await self._search(job, opened, session)
        except AtlasError as error:
            await self._not_confirmed(session, error)

    def _left_s(self, job: Job, session: Session) -> float:
        """Until the next try. A wall clock that was turned makes no wait longer than it should be."""
        now = self._desk.clock.monotonic()
        if session.next_attempt_at is None:
            return 0.0
        if job.due is None or job.due[0] != session.attempts:
            left = session.next_attempt_at - self._desk.clock.now()
            job.due = (session.attempts, now + min(left, self._again(session.attempts).wait_s))
        return job.due[1] - now

    def _again(self, attempts: int) -> Again:
        settings = self._desk.settings
        return after_try(attempts, tries=settings.terminate_tries, slow_s=settings.irrevocable_retry_s)

    # -- a pod that is known

    async def _terminate(self, job: Job, opened: Opened, session: Session) -> None:
        """Ask, then see that it is gone. Raises why it is not known to be."""
        try:
            await self._desk.call(opened, "terminate", lambda p: p.terminate(PodId(session.pod_id or "")))
        except NotFound:
            pass  # another account says that of everything: what follows looks closely
        finally:
            opened.wrote()
        failpoints.reach("session.kill.3")
        end = self._desk.clock.monotonic() + opened.provider.listing_lag_s + _SETTLES_S
        attempt = 0
        while True:
            verdict, pod = await self._desk.presence(opened, session, age_s=self._desk.age_s(job, session))
            if verdict == "gone":
                await self._over(session, "gone", "confirmed")
                return
            if self._desk.clock.monotonic() >= end:
                raise await self._unproven(opened, session, pod)
            await self._desk.wait(job, pause_s(attempt, first_s=0.1, most_s=5.0))
            attempt += 1

    async def _unproven(self, opened: Opened, session: Session, pod: Compute | None) -> AtlasError:
        here = (await self._desk.listing(opened)).account
        if session.identity is not None and here != session.identity:
            return WrongAccount(
                f"its pod was made in account {session.identity}, and the key reaches {here} now",
                provider=opened.provider.name,
                operation="terminate",
            )
        how = f"it is still {pod.status}" if pod is not None else "the listing is not complete"
        text = f"the provider does not confirm that the pod is gone: {how}"
        return ProviderFailure(text, provider=opened.provider.name, operation="terminate")

    # -- a pod that may be there

    async def _search(self, job: Job, opened: Opened, session: Session) -> None:
        """The answer to the create was lost, or nobody lived to hear it: look for the birth. Raises why that is not known."""
        lag_s = opened.provider.listing_lag_s
        end = max(self._desk.clock.monotonic(), job.sure_at(lag_s)) + _SETTLES_S
        attempt = 0
        while True:
            began = self._desk.clock.monotonic()
            listing = await self._desk.listing(opened)
            found = next((pod for pod in listing if pod.birth == session.birth), None)
            verdict = after_search(
                found=found is not None,
                complete=listing.complete,
                same_account=session.identity in (None, listing.account),
                sure=began >= job.sure_at(lag_s),
            )
            if verdict == "adopt" and found is not None:
                await self._found(session, found)
                return
            if verdict == "absent":
                # A request that was under way all the while may still be done: the sweep looks for it.
                await self._over(session, "dead", "confirmed")
                return
            if self._desk.clock.monotonic() >= end:
                raise ProviderFailure("it is not known whether its pod was rented: the listing does not tell",
                                      provider=opened.provider.name, operation="list_compute")  # fmt: skip
            await self._desk.wait(job, pause_s(attempt, first_s=0.25, most_s=5.0))
            attempt += 1

    async def _found(self, session: Session, pod: Compute) -> None:
        """It was rented: from now on it is known, and costs money."""
        wall = self._desk.clock.now()

        def decide(now: Session) -> Change | None:
            if now.pod_id is not None or now.is_final:
                return None
            made = now.created_at if pod.created_at is None else pod.created_at.timestamp()
            fields: dict[str, Any] = {
                "pod_id": pod.id, "identity": pod.account, "sealed_env": None,
                "cost_per_hour": price_of(pod.cost_per_hour), "cost_since": min(wall, max(now.created_at, made)),
            }  # fmt: skip
            return Change("provider", now.cause, fields=fields, births=(self._note(now, "held", pod_id=pod.id),))

        await self._desk.insist(session.id, decide)

    # -- results

    async def _over(self, session: Session, birth: BirthState | None, cause: Cause) -> None:
        """Nothing is left that costs money: the money is settled, and the state is final."""

        def decide(now: Session) -> Change | None:
            if now.state not in ("terminating", "irrevocable"):
                return None
            wall = self._desk.clock.now()
            outcome = now.outcome or "terminated"
            fields = {
                "cost_settled": cost_at(now.cost_settled, now.cost_per_hour, now.cost_since, wall),
                "cost_since": None, "ended_at": wall, "next_attempt_at": None, "sealed_env": None, "outcome": outcome,
            }  # fmt: skip
            births = () if birth is None or now.birth is None else (self._note(now, birth, pod_id=now.pod_id),)
            why = now.cause if now.state == "terminating" else cause
            return Change("provider", why, to=outcome, fields=fields, births=births)

        await self._desk.insist(session.id, decide)
        failpoints.reach("session.kill.4")

    async def _not_confirmed(self, session: Session, error: AtlasError) -> None:
        """One try more that told nothing. It is never given up."""

        def decide(now: Session) -> Change | None:
            if now.state not in ("terminating", "irrevocable"):
                return None
            attempts = now.attempts + 1
            again = self._again(attempts)
            fields = {"attempts": attempts, "next_attempt_at": self._desk.clock.now() + again.wait_s}
            if again.irrevocable and now.state == "terminating":
                return Change("companion", "not_confirmed", to="irrevocable", reason=error.message, fields=fields)
            return Change("provider", now.cause, reason=_both(now, error), fields=fields)

        await self._desk.ledger.change(session.id, decide)

    # -- how

    def _note(self, session: Session, state: BirthState, *, pod_id: str | None) -> BirthNote:
        return BirthNote(
            birth=session.birth or "",
            session_id=session.id,
            provider=session.provider,
            account=session.account,
            identity=session.identity,
            state=state,
            written_at=self._desk.clock.now(),
            pod_id=pod_id,
        )


def _both(session: Session, error: AtlasError) -> str:
    """Why it ends, and why it has not ended yet; the second part is replaced each time."""
    why = session.reason.partition(_NOT_YET)[0]
    return f"{why}{_NOT_YET}{error.message}"


_NOT_YET = " · not confirmed yet: "

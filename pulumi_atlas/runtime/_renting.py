"""Renting a session's pod: nothing is rented twice, nothing rented is forgotten, whatever answer is lost."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pulumi_atlas import failpoints
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, UnknownOutcome
from pulumi_atlas.ids import Birth, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.models.session import Cause, Session, SessionSpec, SessionState
from pulumi_atlas.rules.sessions.lease import price_of
from pulumi_atlas.rules.sessions.renting import Next, after_failure, after_search, price_is_missing
from pulumi_atlas.rules.waiting import pause_s
from pulumi_atlas.runtime._desk import Desk, Job
from pulumi_atlas.runtime._redaction import Redactor
from pulumi_atlas.runtime._usable import Usable
from pulumi_atlas.runtime.access import Secrets, pod_environment, unseal
from pulumi_atlas.runtime.ledger import Change, Happened
from pulumi_atlas.runtime.store.contract import BirthNote, BirthState

__all__ = ["Renting"]


class Renting:
    """From `requested` over `provisioning` to `ready`."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._usable = desk, Usable(desk)

    async def step(self, job: Job, session: Session) -> None:
        """One step on; its row is read again afterwards."""
        if session.state == "requested":
            failpoints.reach("session.create.1")
            await self._rent(job, session, before=None)
        elif session.pod_id is None:
            await self._search(job, session)
        else:
            await self._until_usable(job, session)

    # -- renting

    async def _rent(self, job: Job, session: Session, *, before: BirthNote | None) -> None:
        """Journal, then rent. `before`: the note of an earlier birth of the session, now that nothing is there of it."""
        births = (before,) if before is not None else ()
        try:
            opened = self._desk.open(session)
            spec = self._spec(session)
            identity = await self._desk.identity(opened)
        except AtlasError as error:
            await self._not_begun(job, session, error, births)
            return
        birth = new_birth()
        note = self._note(session, birth, "open", identity)

        def decide(now: Session) -> Change | None:
            if now.version != session.version:
                return None
            fields = {"birth": birth, "identity": identity}
            to: SessionState | None = "provisioning" if now.state == "requested" else None
            return Change("companion", "opened", to=to, fields=fields, births=(*births, note))

        written = await self._desk.ledger.change(session.id, decide)
        if written.birth != birth:
            return  # it was closed, or changed otherwise, in the meantime
        failpoints.reach("session.create.2")
        job.looks_at("provisioning")
        await self._create(job, written, opened, spec)

    async def _not_begun(self, job: Job, session: Session, error: AtlasError, births: tuple[BirthNote, ...]) -> None:
        """Nothing was sent: what may pass is tried again, with the journal as it is; the rest is the end."""
        verdict = self._verdict(job, session, error)
        if verdict.act == "give_up":
            await self._fail(session, error.message, births=births)
            return
        job.tries += 1
        await self._told(session, error.message)
        await self._desk.wait(job, max(1.0, verdict.wait_s))

    async def _create(self, job: Job, session: Session, opened: Opened, spec: ComputeSpec) -> None:
        """Send the request that costs money, for a birth that is in the journal, until its outcome is known or in doubt."""
        assert session.birth is not None
        tag = Tag(Birth(session.birth), self._desk.owner(session.id))
        while True:
            self._desk.check()
            try:
                pod: Compute = await self._desk.call(
                    opened, "create_compute", lambda p: p.create_compute(spec, tag), broken=UnknownOutcome
                )
            except AtlasError as error:
                why = _without_secrets(error.message, spec)
                if not await self._another_try(job, session, error, why):
                    return
                continue
            finally:
                opened.wrote()
            failpoints.reach("session.create.3")
            await self._record(session, pod)
            failpoints.reach("session.create.4")
            return

    async def _another_try(self, job: Job, session: Session, error: AtlasError, why: str) -> bool:
        """Whether to send it again, after a wait. When it is in doubt, its row says so: it is looked for next."""
        verdict = self._verdict(job, session, error)
        if verdict.act == "look":
            job.sent_at = self._desk.clock.monotonic()
            await self._told(session, why)
            return False
        if verdict.act == "give_up":
            gone = self._note(session, session.birth or "", "gone")
            await self._fail(session, why, births=(gone,))
            return False
        job.tries += 1
        await self._told(session, why)
        await self._desk.wait(job, verdict.wait_s)
        if self._desk.has_changed(job):
            await self._withdraw(session)
            return False
        return True

    async def _withdraw(self, session: Session) -> None:
        """Nothing was rented for the birth that is in the journal: whoever ends the session need not look for it."""
        gone = self._note(session, session.birth or "", "gone")

        def decide(now: Session) -> Change | None:
            if now.birth != session.birth or now.pod_id is not None:
                return None
            return Change("companion", now.cause, fields={"birth": None}, births=(gone,))

        await self._desk.insist(session.id, decide)

    async def _record(self, session: Session, pod: Compute) -> None:
        """The id is written, whatever the session is by now: what was rented is never dropped."""
        assert session.birth is not None

        def decide(now: Session) -> Change | None:
            if now.birth != session.birth or now.is_final:
                note = self._note(session, session.birth or "", "dead", pod_id=pod.id)
                return Change("companion", now.cause, births=(note,))  # the sweep removes it
            if now.pod_id is not None:
                return None
            note = self._note(now, session.birth or "", "held", pod.account, pod_id=pod.id)
            wall = self._desk.clock.now()
            fields: dict[str, Any] = {
                "pod_id": pod.id, "identity": pod.account, "urls": dict(pod.urls), "sealed_env": None,
                "cost_per_hour": price_of(pod.cost_per_hour), "cost_since": _since(pod.created_at, now.created_at, wall),
            }  # fmt: skip
            if now.state == "provisioning":
                fields["reason"] = ""
            told = Happened("note", {"pod_id": pod.id, "provider": pod.provider})
            return Change("provider", "rented", fields=fields, births=(note,), events=(told,))

        await self._desk.insist(session.id, decide)

    # -- looking for what a lost answer may have left

    async def _search(self, job: Job, session: Session) -> None:
        """Look for the birth in complete listings until it is there, or can be no more."""
        attempt = 0
        while not self._desk.has_changed(job):
            verdict, pod, why = await self.look(job, session)
            if verdict == "adopt" and pod is not None:
                await self._record(session, pod)
                failpoints.reach("session.create.4")
                return
            if verdict == "absent":
                await self._again(job, session)
                return
            left_s = self._left_s(job, session)
            if left_s <= 0:
                text = f"it was not usable within {session.ready_timeout_s:g} s: {why}"
                await self._end(session, "provision_timeout", text)
                return
            await self._desk.wait(job, min(left_s, pause_s(attempt, first_s=0.25, most_s=5.0)))
            attempt += 1

    async def look(self, job: Job, session: Session) -> tuple[str, Compute | None, str]:
        """One look for the session's birth: `adopt` with its pod, `absent`, or `search` on, and why."""
        try:
            opened = self._desk.open(session)
            began = self._desk.clock.monotonic()
            listing = await self._desk.listing(opened)
        except AtlasError as error:
            return "search", None, error.message
        found = next((pod for pod in listing if pod.birth == session.birth), None)
        verdict = after_search(
            found=found is not None,
            complete=listing.complete,
            same_account=session.identity in (None, listing.account),
            sure=began >= job.sure_at(opened.provider.listing_lag_s),
        )
        return verdict, found, "the provider's answer was lost, and nothing is listed yet"

    async def _again(self, job: Job, session: Session) -> None:
        """The birth is absent: rent anew while there is time. A request that was under way all the while may still be done:
        the sweep looks for it."""
        assert session.birth is not None
        dead = self._note(session, session.birth, "dead")
        if self._left_s(job, session) <= 0:
            await self._fail(session, "the provider's answer was lost, and nothing was rented", births=(dead,),
                             cause="provision_timeout")  # fmt: skip
            return
        job.sent_at = None
        await self._rent(job, session, before=dead)

    # -- until it is usable

    async def _until_usable(self, job: Job, session: Session) -> None:
        if price_is_missing(session, session.cost_per_hour):
            text = "its provider does not tell what its pod costs, so that its budget cannot be kept"
            await self._end(session, "no_price", text)
            return
        found = await self._usable.wait(job, session, left_s=self._left_s(job, session))
        if found.act == "changed":
            return
        if found.act != "usable" or found.pod is None:
            await self._end(session, "provision_timeout" if found.act == "late" else "provision_failed", found.why)
            return
        pod = found.pod

        def decide(now: Session) -> Change | None:
            if now.state != "provisioning":
                return None
            fields = {"ready_at": self._desk.clock.now(), "urls": dict(pod.urls)}
            return Change("provider", "usable", to="ready", reason="", fields=fields)

        await self._desk.ledger.change(session.id, decide)
        failpoints.reach("session.create.5")

    # -- how

    def _spec(self, session: Session) -> ComputeSpec:
        """What the provider is asked for. Raises SealBroken when its environment cannot be had any more."""
        now, ring = self._desk.clock.now(), self._desk.keyring.ring
        sealed = Secrets() if session.sealed_env is None else unseal(ring, session.sealed_env, now)
        told = pod_environment(
            ring, session, now, public_url=self._desk.public_url(), origins=self._desk.settings.origins
        )
        kept = {**session.spec, "provider_options": dict(sealed.provider_options), "env": {**sealed.env, **told}}
        return SessionSpec.model_validate({**kept, "provider": session.provider}).compute()

    def _verdict(self, job: Job, session: Session, error: AtlasError) -> Next:
        return after_failure(
            error.kind,
            attempts=job.tries + 1,
            left_s=self._left_s(job, session),
            retry_after=error.retry_after,
        )

    def _left_s(self, job: Job, session: Session) -> float:
        return session.ready_timeout_s - (self._desk.clock.monotonic() - job.began)

    def _note(
        self, session: Session, birth: str, state: BirthState, identity: str | None = None, *, pod_id: str | None = None
    ) -> BirthNote:
        return BirthNote(
            birth=birth,
            session_id=session.id,
            provider=session.provider,
            account=session.account,
            identity=identity or session.identity,
            state=state,
            written_at=self._desk.clock.now(),
            pod_id=pod_id,
        )

    async def _told(self, session: Session, why: str) -> Session:
        """Why it is not going on, for whoever looks at the session."""

        def decide(now: Session) -> Change | None:
            if now.state not in ("requested", "provisioning"):
                return None
            return None if now.reason == why else Change("provider", now.cause, reason=why)

        return await self._desk.ledger.change(session.id, decide)

    async def _fail(
        self,
        session: Session,
        reason: str,
        *,
        births: tuple[BirthNote, ...] = (),
        cause: Cause = "provision_failed",
    ) -> None:
        """The end, with nothing rented. When it was closed meanwhile, its end sees to the rest."""

        def decide(now: Session) -> Change | None:
            if now.state not in ("requested", "provisioning") or now.birth != session.birth:
                return None
            fields = {"outcome": "failed", "ended_at": self._desk.clock.now(), "sealed_env": None, "cost_since": None}
            return Change("provider", cause, to="failed", reason=reason, fields=fields, births=births)

        await self._desk.insist(session.id, decide)

    async def _end(self, session: Session, cause: Cause, reason: str) -> None:
        """The end of a pod that is there, or may be."""

        def decide(now: Session) -> Change | None:
            if now.state != "provisioning":
                return None
            fields = {"outcome": "failed"}
            return Change("companion", cause, to="terminating", reason=reason, fields=fields)

        await self._desk.ledger.change(session.id, decide)


def _since(created: datetime | None, opened_at: float, now: float) -> float:
    """From when on it costs money: by the provider's word, within what can be true."""
    return now if created is None else min(now, max(opened_at, created.timestamp()))


def _without_secrets(text: str, spec: ComputeSpec) -> str:
    """A cloud may repeat what it was sent; what is sealed in the store must not come back to it as a reason."""
    options = [one for one in spec.provider_options.values() if isinstance(one, str)]
    return Redactor([*spec.env.values(), *options])(text)

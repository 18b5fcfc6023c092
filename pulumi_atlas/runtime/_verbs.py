"""What may be done with a session that is there: each verb decides with the freshest row, and writes one change."""

from __future__ import annotations

from typing import Any

from pulumi_atlas import failpoints
from pulumi_atlas.client.kinds import require
from pulumi_atlas.errors import Conflict, Failure, InvalidSpec, NotFound
from pulumi_atlas.models.session import Session, SessionState
from pulumi_atlas.providers import registry
from pulumi_atlas.runtime._touching import touched_now
from pulumi_atlas.runtime.access import KeyRingFile, ways_in
from pulumi_atlas.runtime.ledger import Change, Happened, Ledger, Live, SessionGone
from pulumi_atlas.runtime.settings import RuntimeSettings

__all__ = ["Verbs"]

_USABLE: frozenset[SessionState] = frozenset({"requested", "provisioning", "ready", "resuming"})


class Verbs:
    """The verbs of one companion."""

    def __init__(self, ledger: Ledger, settings: RuntimeSettings, keyring: KeyRingFile) -> None:
        self._ledger, self._settings, self._keyring = ledger, settings, keyring

    async def touch(self, session_id: str, source: str, *, idle_s: float, count: int) -> Live:
        """Activity. A source that is not switched on changes nothing. Raises NotFound, SessionGone."""
        live = await self._entry(session_id)
        while live.settling is not None:  # its end is being written: the answer is known in a moment
            await live.settling.wait()
        counts = source in self._settings.touch_sources
        if not touched_now(
            self._ledger, live, source, self._ledger.moment(), counts=counts, idle_s=idle_s, count=count
        ):
            raise _gone(live.id, live.state)
        return live

    async def _entry(self, session_id: str) -> Live:
        live = self._ledger.live.get(session_id)
        if live is not None:
            return live
        session = await self._ledger.store.get(session_id)
        if session is None:
            raise NotFound(f"there is no session {session_id}")
        raise _gone(session.id, session.state)

    async def extend(self, session_id: str, seconds: float, *, actor: str, bounded: bool) -> Session:
        """Keep it from ending as idle for so many seconds from now, at most until its lifetime is over."""
        most = self._settings.limits.max_extend_s
        if bounded and seconds > most:
            raise InvalidSpec([Failure("seconds", f"is more than {most:g}, which is the most at once")])

        def decide(session: Session) -> Change | None:
            _must_be(session, _USABLE, "be extended")
            now = self._ledger.clock.now()
            until = now + seconds if session.expires_at is None else min(now + seconds, session.expires_at)
            if session.keep_until is not None and session.keep_until >= until:
                return None
            told = Happened("extended", {"keep_until": round(until, 3), "seconds": seconds})
            return Change(actor, session.cause, fields={"keep_until": until}, events=(told,))

        return await self._ledger.change(session_id, decide)

    async def extend_lifetime(self, session_id: str, seconds: float, *, actor: str) -> Session:
        """Let its lifetime end later by so many seconds, within `limits.max_lifetime_s`."""
        most = self._settings.limits.max_lifetime_s

        def decide(session: Session) -> Change | None:
            if session.is_gone:
                raise _gone(session.id, session.state)
            if session.expires_at is None:
                raise Conflict(f"session {session.id} has no end of its lifetime")
            until = session.expires_at + seconds
            if most is not None and until - session.created_at > most:
                raise InvalidSpec([Failure("seconds", f"its lifetime would be more than {most:g}, which is the most")])
            told = Happened("extended", {"expires_at": round(until, 3), "seconds": seconds})
            fields = {"expires_at": until, "max_lifetime_s": until - session.created_at}
            return Change(actor, session.cause, fields=fields, events=(told,))

        return await self._ledger.change(session_id, decide)

    async def pause(self, session_id: str, *, actor: str, reason: str) -> Session:
        """Stop its pod, keeping its storage. Raises Unsupported where the provider cannot."""

        def decide(session: Session) -> Change | None:
            if session.state in ("pausing", "paused"):
                return None
            _must_be(session, {"ready"}, "be paused")
            require(registry.load(session.provider), "stop", operation="pause")
            failpoints.reach("session.pause.1")
            return Change(actor, "pause", to="pausing", reason=reason)

        session = await self._ledger.change(session_id, decide)
        failpoints.reach("session.pause.2")
        return session

    async def resume(self, session_id: str, *, actor: str, reason: str) -> Session:
        """Start its pod again. The generation is one higher: what was handed out before lets nobody in any more."""

        def decide(session: Session) -> Change | None:
            if session.state in ("resuming", "ready"):
                return None
            _must_be(session, {"paused"}, "be resumed")
            failpoints.reach("session.resume.1")
            fields = {**self._next_generation(session), "paused_at": None}
            return Change(actor, "resume", to="resuming", reason=reason, fields=fields)

        session = await self._ledger.change(session_id, decide)
        failpoints.reach("session.resume.2")
        return session

    async def close(self, session_id: str, *, actor: str, reason: str) -> Session:
        """End it. One that is over already stays as it is."""

        def decide(session: Session) -> Change | None:
            if session.is_gone:
                return None
            failpoints.reach("session.kill.1")
            return Change(actor, "closed", to="terminating", reason=reason, fields={"outcome": "terminated"})

        session = await self._ledger.change(session_id, decide)
        failpoints.reach("session.kill.2")
        return session

    async def rotate(self, session_id: str, *, actor: str) -> Session:
        """A new generation: what was handed out before lets nobody in any more."""

        def decide(session: Session) -> Change | None:
            if session.is_gone:
                raise _gone(session.id, session.state)
            fields = self._next_generation(session)
            told = Happened("rotated", {"generation": fields["generation"]})
            return Change(actor, session.cause, fields=fields, events=(told,))

        return await self._ledger.change(session_id, decide)

    def _next_generation(self, session: Session) -> dict[str, Any]:
        generation = session.generation + 1
        hashes = ways_in(self._keyring.ring, session.id, session.auth, generation).hashes()
        del hashes["guard_hash"]  # the pod knows it from its environment: it stays
        return {"generation": generation, **hashes}


def _gone(session_id: str, state: str) -> SessionGone:
    return SessionGone(f"session {session_id} is {state}")


def _must_be(session: Session, states: Any, what: str) -> None:
    if session.is_gone:
        raise _gone(session.id, session.state)
    if session.state not in states:
        raise Conflict(f"session {session.id} is {session.state} and cannot {what} now", hint="try again later")

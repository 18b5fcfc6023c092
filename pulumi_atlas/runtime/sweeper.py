"""Removes pods of ours that no session wants any more, and shows those that nobody can explain.

Only a pod whose owner is this deployment is looked at, and only one whose birth the journal knows to be over is swept: from
complete listings, seen twice some time apart, of a certain age, a few in each round, and under the gate that all kills pass.
Everything else of ours is told of with its cost, for a person. Foreign pods are not even told of.

Each sweep is written down before it happens, the pod is asked for once more, and what was terminated counts as gone only
when a later complete listing lacks it and it is not found by itself.

Failpoints: `session.sweep.1` decided, nothing written · `session.sweep.2` the event is written · `session.sweep.3`
terminated · `session.sweep.4` proven gone, and noted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pulumi_atlas import failpoints
from pulumi_atlas.errors import AtlasError, NotFound
from pulumi_atlas.models import Compute
from pulumi_atlas.models.session import Session, SessionEvent, SessionState
from pulumi_atlas.rules.gone import presence
from pulumi_atlas.rules.sessions.lease import Moment, price_of
from pulumi_atlas.rules.sessions.orphans import Orphan, Sighting, judge_orphan, seen_again
from pulumi_atlas.runtime._lister import Lister, Seen
from pulumi_atlas.runtime._pausing import is_cancelled
from pulumi_atlas.runtime.killing import Gate
from pulumi_atlas.runtime.ledger import Ledger
from pulumi_atlas.runtime.outage import AccountKey
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import BirthNote, StoreUnavailable

__all__ = ["Sweeper"]

_log = logging.getLogger(__name__)

#: So many births are proven gone in one round at most: each takes a request.
_PROOFS = 20

Publish = Callable[[Session | None, Sequence[SessionEvent]], None]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store knows of one pod of ours."""

    note: BirthNote | None
    session: Session | None


@dataclass(frozen=True, slots=True)
class _Suspect:
    """One pod of ours that no living session has, and what is to become of it."""

    key: AccountKey
    seen: Seen
    pod: Compute
    known: _Known
    orphan: Orphan
    since: float


class Sweeper:
    """One task. `step` is one round; `orphans` is what the last one found.

    `deployment_id`: whose pods are ours. `held`: whether that session is alive and has that pod (`Inspector.holds`), so that
    the store need not be asked for each. `publish` is told of the events that are written.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: RuntimeSettings,
        gate: Gate,
        lister: Lister,
        *,
        deployment_id: str,
        held: Callable[[str, str], bool] = lambda session_id, pod_id: False,
        publish: Publish = lambda session, events: None,
    ) -> None:
        self._ledger, self._settings, self._gate, self._lister = ledger, settings, gate, lister
        self._deployment_id, self._held, self._publish = deployment_id, held, publish
        self._sightings: dict[tuple[AccountKey, str], Sighting] = {}
        self._rows: dict[AccountKey, list[dict[str, Any]]] = {}
        self._used: set[AccountKey] = set()
        self._loaded = False

    async def run(self) -> None:
        """Sweep, for ever: a little behind the inspector, whose listings serve here too."""
        await self._ledger.clock.sleep(self._settings.inspect_interval_s / 4)
        while True:
            await self.step()
            await self._ledger.clock.sleep(self._settings.inspect_interval_s)

    def orphans(self) -> list[dict[str, Any]]:
        """{provider, account, id, birth, status, cost_per_hour, since, why, action}, the dearest first.

        `since`: when it was made, else when it was first seen, unix seconds. `action`: `none` (a person must see to it),
        `wait`, `would_terminate`, `terminating`.
        """
        rows = [row for found in self._rows.values() for row in found]
        return sorted(rows, key=lambda row: -(row["cost_per_hour"] or 0.0))

    async def step(self, now: Moment | None = None) -> None:
        """One round over all accounts that sessions, births or templates name, or ever named: what nobody knows of may be in an
        account where no session is left. Never raises for a provider or the store."""
        try:
            notes = await self._ledger.store.births({"open", "held", "dead"})
            if not self._loaded:
                gone = await self._ledger.store.births({"gone"})
                self._used |= {(note.provider, note.account) for note in gone}
                self._loaded = True
            keys = self._accounts(notes)
            self._rows = {key: rows for key, rows in self._rows.items() if key in keys}
            for key in keys:
                dead = [one for one in notes if one.state == "dead" and (one.provider, one.account) == key]
                await self._account(key, dead)
        except StoreUnavailable as error:
            self._gate.store_failed(error)
        except (Exception, asyncio.CancelledError) as error:  # logged; the next round is as good
            if is_cancelled(error):
                raise
            _log.exception("the sweep failed in an unknown way")

    def _accounts(self, notes: Iterable[BirthNote]) -> list[AccountKey]:
        keys = {(live.provider, live.account) for live in self._ledger.live.values()}
        keys |= {(note.provider, note.account) for note in notes}
        for template in self._settings.templates.values():
            if isinstance(template.spec.get("provider"), str):
                keys.add((template.spec["provider"], template.spec.get("account")))
        self._used |= keys
        return sorted(self._used, key=lambda key: (key[0], key[1] or ""))

    # -- one account

    async def _account(self, key: AccountKey, dead: Sequence[BirthNote]) -> None:
        seen = await self._lister.look(key, max_age_s=self._settings.inspect_interval_s * 0.9)
        if seen is None:
            return
        suspects = [pod for pod in seen.listing if self._is_ours(pod) and pod.status != "terminated"]
        if seen.listing.complete:
            await self._prove(dead, seen)
            self._forget(key, {pod.id for pod in suspects})
        found = await self._judge(key, seen, suspects)
        self._rows[key] = [self._row(one) for one in found]
        due = [one for one in found if one.orphan.judgement == "sweep"]
        for one in due[: self._settings.orphan_max_per_cycle]:
            refused = self._gate.refusal(*key, self._gate.moment())
            if refused is not None:
                self._say(one, "wait", f"{one.orphan.why}; not now: {refused.text}")
                continue
            await self._sweep(one)
        for one in due[self._settings.orphan_max_per_cycle :]:
            self._say(one, "wait", f"{one.orphan.why}; {self._settings.orphan_max_per_cycle} are removed in one round")

    def _is_ours(self, pod: Compute) -> bool:
        return pod.owner is not None and pod.owner.kind == "deployment" and pod.owner.id == self._deployment_id

    def _forget(self, key: AccountKey, there: set[str]) -> None:
        self._sightings = {at: one for at, one in self._sightings.items() if at[0] != key or at[1] in there}

    async def _judge(self, key: AccountKey, seen: Seen, pods: Iterable[Compute]) -> list[_Suspect]:
        """All of ours that no living session has."""
        others = [pod for pod in pods if not self._is_held(pod)]
        if not others:
            return []
        notes = {note.birth: note for note in await self._ledger.store.births()}
        found = []
        for pod in others:
            note = notes.get(pod.birth or "")
            session = await self._ledger.store.get(note.session_id) if note is not None else None
            one = self._suspect(key, seen, pod, _Known(note, session))
            if one.orphan.judgement not in ("foreign", "wanted"):
                found.append(one)
        return found

    def _is_held(self, pod: Compute) -> bool:
        """Whether a living session has it, as far as memory knows; the journal is asked about all others."""
        path = pod.owner.path if pod.owner is not None else ""
        return self._held(path.removeprefix("session/"), pod.id)

    def _suspect(self, key: AccountKey, seen: Seen, pod: Compute, known: _Known) -> _Suspect:
        note, session = known.note, known.session
        wanted = session is not None and not session.is_final and session.birth == pod.birth
        twin = wanted and session is not None and session.pod_id not in (None, pod.id)
        dead = note is not None and note.state in ("dead", "gone")
        final = session is not None and session.is_final
        sighting = self._sightings.get((key, pod.id))
        if (dead or final) and not wanted and seen.listing.complete:
            apart = self._settings.inspect_interval_s
            sighting = seen_again(sighting, mono=seen.at.mono, wall=seen.at.wall, apart_s=apart)
            self._sightings[key, pod.id] = sighting
        state: SessionState | None = session.state if session is not None else None
        orphan = judge_orphan(
            ours=self._is_ours(pod),
            noted=note is not None,
            same_account=note is None or note.identity in (None, seen.listing.account),
            dead=dead,
            session=state,
            wanted=wanted,
            twin=twin,
            complete=seen.listing.complete,
            times=sighting.times if sighting is not None else 0,
            least_times=self._settings.orphan_sightings,
            age_s=_age_s(pod, note, seen.at.wall),
            least_age_s=self._settings.orphan_min_age_s,
            mode=self._settings.orphan_sweep,
        )
        made = pod.created_at.timestamp() if pod.created_at is not None else None
        return _Suspect(key, seen, pod, known, orphan, made or (sighting.since if sighting else seen.at.wall))

    # -- acting

    async def _sweep(self, one: _Suspect) -> None:
        """Write it down, look once more, terminate. Proof comes with a later listing."""
        note = one.known.note
        if note is None or not self._gate.kills.take(self._gate.moment().mono):
            return
        done = False
        try:
            failpoints.reach("session.sweep.1")
            await self._ledger.store.note_birth(replace(note, state="dead", pod_id=one.pod.id))
            await self._event(one)
            failpoints.reach("session.sweep.2")
            done = await self._terminate(one)
        finally:
            if done:
                self._gate.kills.done(self._ledger.moment().mono)
            else:
                self._gate.kills.give_back()
        if done:
            failpoints.reach("session.sweep.3")
            self._say(one, "terminating", one.orphan.why)

    async def _terminate(self, one: _Suspect) -> bool:
        """Whether a request to terminate may have had an effect. The pod is asked for once more before."""
        try:
            again = await self._lister.get(one.seen, one.pod.id)
            refused = self._gate.refusal(*one.key, self._gate.moment(), capped=False)
            if again.birth != one.pod.birth or not self._is_ours(again) or refused is not None:
                self._say(one, "wait", f"{one.orphan.why}; not now")
                return False
            await self._lister.terminate(one.seen, one.pod.id)
        except NotFound:
            return False
        except AtlasError as error:
            self._say(one, "wait", f"{one.orphan.why}; it could not be terminated: {error.one_line()}")
            return error.kind in ("unknown_outcome", "timeout")
        return True

    async def _prove(self, dead: Iterable[BirthNote], seen: Seen) -> None:
        """Births that are over, that this complete listing lacks and that are not found by themselves either, are gone."""
        listed = {pod.birth for pod in seen.listing if pod.status != "terminated"}
        absent = [note for note in dead if note.birth not in listed]
        if self._gate.freeze.why(seen.at.mono):
            return
        for note in absent[:_PROOFS]:
            least_s = max(seen.provider.listing_lag_s, self._settings.orphan_min_age_s)
            verdict = presence(
                get_found=await self._is_found(note, seen),
                list_found=False,
                list_complete=note.identity in (None, seen.listing.account),
                age_s=seen.at.wall - note.written_at,
                lag_s=least_s,
            )
            if verdict == "gone":
                await self._ledger.store.note_birth(replace(note, state="gone"))
                failpoints.reach("session.sweep.4")

    async def _is_found(self, note: BirthNote, seen: Seen) -> bool:
        """Whether it is there when asked for by itself; what cannot be told counts as being there."""
        if note.pod_id is None:
            return False
        try:
            pod = await self._lister.get(seen, note.pod_id)
        except NotFound:
            return False
        except AtlasError:
            return True
        return pod.status != "terminated"

    async def _event(self, one: _Suspect) -> None:
        session, note = one.known.session, one.known.note
        data = {
            "what": "sweep",
            "why": one.orphan.why,
            "provider": one.pod.provider,
            "account": one.key[1],
            "pod_id": one.pod.id,
            "birth": one.pod.birth,
            "cost_per_hour": price_of(one.pod.cost_per_hour),
        }
        event = SessionEvent(
            at=self._ledger.clock.now(),
            session_id=note.session_id if note is not None else None,
            kind="note",
            actor="reaper",
            cause="not_confirmed",
            data=data,
            owner=session.owner if session is not None else None,
        )
        self._publish(session, await self._ledger.store.note([event]))

    # -- what a person may see

    def _row(self, one: _Suspect) -> dict[str, Any]:
        return {
            "provider": one.pod.provider,
            "account": one.key[1],
            "id": one.pod.id,
            "birth": one.pod.birth,
            "status": one.pod.status,
            "cost_per_hour": price_of(one.pod.cost_per_hour),
            "since": one.since,
            "why": one.orphan.why,
            "action": "none" if self._settings.orphan_sweep == "off" else _ACTIONS[one.orphan.judgement],
        }

    def _say(self, one: _Suspect, action: str, why: str) -> None:
        for row in self._rows.get(one.key, []):
            if row["id"] == one.pod.id:
                row["action"], row["why"] = action, why

    def status(self) -> dict[str, Any]:
        """`mode`, how many `orphans` there are, and what they cost together per hour, as far as is known."""
        rows = self.orphans()
        cost = sum(row["cost_per_hour"] or 0.0 for row in rows)
        return {"mode": self._settings.orphan_sweep, "orphans": len(rows), "cost_per_hour": cost}


_ACTIONS: Mapping[str, str] = {"unknown": "none", "wait": "wait", "would_sweep": "would_terminate", "sweep": "wait"}


def _age_s(pod: Compute, note: BirthNote | None, wall: float) -> float | None:
    """Since it was made, by the provider or by our note, whichever is less. None: nobody knows."""
    times = [pod.created_at.timestamp()] if pod.created_at is not None else []
    times += [note.written_at] if note is not None else []
    return wall - max(times) if times else None

"""Looks at what providers say is there, and lets sessions follow it.

One listing for each account that sessions are in. What a listing says that would end, pause or resume a session is asked
again for that very pod, and holds only if the session has not changed since before the listing:

- the pod ended by itself → the session ends (`pod_ended`, or `reclaimed`);
- it is stopped, though ready → `pausing`, as if we had stopped it (ends, where the provider cannot stop);
- it runs, though paused → `resuming`: it costs money, and so its idle time must count;
- it is not there: in two complete listings some time apart, not found by itself, older than the provider's lag → the
  session ends (`gone`); its worker proves it once more;
- its price changed → what it cost so far is settled; its URLs changed → they are written down.

From a failed listing, one of another account, and for what is absent one that is not complete, nothing is concluded.
Each end passes the gate: a cloud that loses its mind ends no more sessions in a minute than the cap lets through.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pulumi_atlas.errors import AtlasError, Conflict, NotFound
from pulumi_atlas.models import Compute
from pulumi_atlas.models.session import Session
from pulumi_atlas.rules.gone import presence
from pulumi_atlas.rules.sessions.inspecting import Finding, end_of, find
from pulumi_atlas.rules.sessions.lease import Moment, cost_at, price_of
from pulumi_atlas.runtime._lister import Lister, Seen
from pulumi_atlas.runtime.killing import Gate
from pulumi_atlas.runtime.ledger import Change, Happened, Ledger, Live
from pulumi_atlas.runtime.outage import AccountKey
from pulumi_atlas.runtime.reaper import can_stop
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["Inspector"]

_log = logging.getLogger(__name__)

#: How many sessions of one account are looked at between two turns of the loop.
_PIECE = 500

#: Sessions in these states have their price and URLs followed.
_FOLLOWED = frozenset({"ready", "pausing", "paused", "resuming", "terminating", "irrevocable"})


@dataclass(frozen=True, slots=True)
class _Pod:
    """What is remembered of a session's pod; prices are in the ledger's entry."""

    pod_id: str
    identity: str | None
    urls: int


class Inspector:
    """One task. `step` looks at all accounts once."""

    def __init__(
        self,
        ledger: Ledger,
        settings: RuntimeSettings,
        gate: Gate,
        lister: Lister,
        *,
        stops: Callable[[str], bool] = can_stop,
    ) -> None:
        self._ledger, self._settings, self._gate, self._lister, self._stops = ledger, settings, gate, lister, stops
        self._pods: dict[str, _Pod] = {}
        self._absent: dict[str, float] = {}  # when a complete listing first lacked it, monotonic
        self._foreign: dict[AccountKey, int] = {}
        self._looked_at: float | None = None
        ledger.listeners.append(lambda session, events: self.take(session))
        lister.expected = self._identities

    # -- what is remembered

    def take(self, session: Session) -> None:
        """Remember its pod, as its row is now: at the start once for each, then with each change."""
        if session.is_final or session.pod_id is None:
            self._pods.pop(session.id, None)
            self._absent.pop(session.id, None)
            return
        before = self._pods.get(session.id)
        if before is not None and before.pod_id != session.pod_id:
            self._absent.pop(session.id, None)
        self._pods[session.id] = _Pod(session.pod_id, session.identity, _hashed(session.urls))

    def _accounts(self) -> dict[AccountKey, list[Live]]:
        found: dict[AccountKey, list[Live]] = {}
        for live in self._ledger.live.values():
            found.setdefault((live.provider, live.account), []).append(live)
        return found

    def _identities(self, key: AccountKey) -> set[str]:
        lives = (live for live in self._ledger.live.values() if (live.provider, live.account) == key)
        pods = (self._pods.get(live.id) for live in lives)
        return {pod.identity for pod in pods if pod is not None and pod.identity}

    def holds(self, session_id: str, pod_id: str) -> bool:
        """Whether that session is alive and has that pod."""
        held = self._pods.get(session_id)
        return held is not None and held.pod_id == pod_id and session_id in self._ledger.live

    # -- the task

    async def run(self) -> None:
        """Look at everything, for ever. An account that takes long to answer holds up no other."""
        under_way: dict[AccountKey, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._looked_at = self._ledger.clock.now()
                for key, lives in self._accounts().items():
                    if key not in under_way or under_way[key].done():
                        under_way[key] = tasks.create_task(self._guarded(key, lives))
                await self._ledger.clock.sleep(self._settings.inspect_interval_s)

    async def step(self, now: Moment | None = None) -> None:
        """Look at each account once. Never raises for a provider or the store: then nothing is concluded."""
        self._looked_at = self._ledger.clock.now()
        await asyncio.gather(*(self._guarded(key, lives) for key, lives in self._accounts().items()))

    async def _guarded(self, key: AccountKey, lives: list[Live]) -> None:
        try:
            await self._account(key, lives)
        except Exception:  # noqa: BLE001 - logged; the other accounts are looked at, and this one next time
            _log.exception("provider %s could not be inspected", key[0])

    async def _account(self, key: AccountKey, lives: list[Live]) -> None:
        before = {live.id: live.version for live in lives if live.id in self._pods}
        seen = await self._lister.look(key)
        if seen is None:
            return
        listed = {pod.id: pod for pod in seen.listing}
        self._foreign[key] = 0
        doubtful: list[tuple[str, int, Finding]] = []
        for count, (session_id, version) in enumerate(before.items(), 1):
            if count % _PIECE == 0:
                await asyncio.sleep(0)
            finding = self._compare(session_id, version, seen, listed, key)
            if finding == "fine":
                await self._follow(session_id, listed)
            elif finding is not None:
                doubtful.append((session_id, version, finding))
        await self._each(doubtful, seen)

    def _compare(
        self, session_id: str, version: int, seen: Seen, listed: dict[str, Compute], key: AccountKey
    ) -> Finding | None:
        """What the listing says about one session; None: nothing."""
        live, held = self._ledger.live.get(session_id), self._pods.get(session_id)
        if live is None or held is None or live.version != version:
            return None
        if held.identity and held.identity != seen.listing.account:
            self._foreign[key] += 1
            _log.error(
                "session %s was made in account %s, but this companion reaches %s: nothing is concluded about it",
                session_id, held.identity, seen.listing.account,
            )  # fmt: skip
            return None
        pod = listed.get(held.pod_id)
        finding = find(live.state, None if pod is None else pod.status, can_stop=self._stops(live.provider))
        if finding != "absent":
            self._absent.pop(session_id, None)
            return finding
        if not seen.listing.complete:
            return None
        first = self._absent.setdefault(session_id, seen.at.mono)
        return "absent" if seen.at.mono - first >= self._apart_s() else None

    def _apart_s(self) -> float:
        return self._settings.inspect_interval_s / 2

    async def _each(self, doubtful: Iterable[tuple[str, int, Finding]], seen: Seen) -> None:
        rest = iter(doubtful)

        async def worker() -> None:
            for session_id, version, finding in rest:
                await self._conclude(session_id, version, finding, seen)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._settings.provider_calls, 32)):
                tasks.create_task(worker())

    # -- conclusions

    async def _conclude(self, session_id: str, version: int, finding: Finding, seen: Seen) -> None:
        """Ask for that very pod; what it says then holds, if it is the same."""
        held = self._pods.get(session_id)
        if held is None:
            return
        pod: Compute | None = None
        try:
            pod = await self._lister.get(seen, held.pod_id)
        except NotFound:
            pass
        except AtlasError:
            return

        def ending(session: Session, live: Live, now: Moment) -> Change | None:
            if session.version != version or session.pod_id != held.pod_id:
                return None
            if pod is None:
                return self._vanished(session, finding, seen, now)
            if find(session.state, pod.status, can_stop=self._stops(session.provider)) != finding:
                return None
            return self._change(session, pod, finding, now)

        await self._gate.end(session_id, ending)

    def _vanished(self, session: Session, finding: Finding, seen: Seen, now: Moment) -> Change | None:
        made_at = session.ready_at if session.ready_at is not None else session.created_at
        verdict = presence(
            get_found=False,
            list_found=finding != "absent",
            list_complete=seen.listing.complete,
            age_s=now.wall - made_at,
            lag_s=seen.provider.listing_lag_s,
        )
        if verdict != "gone":
            return None
        reason = f"its pod is not at {session.provider} any more"
        return Change(actor="provider", cause="gone", to="terminating", reason=reason, fields={"outcome": "terminated"})

    def _change(self, session: Session, pod: Compute, finding: Finding, now: Moment) -> Change | None:
        fields = _priced(session, pod, now)
        if finding == "stopped":
            reason = pod.reason or "somebody else stopped its pod"
            return Change(actor="provider", cause="stopped", to="pausing", reason=reason, fields=fields)
        if finding == "started":
            reason = "somebody else started its pod"
            return Change(actor="provider", cause="started", to="resuming", reason=reason, fields=fields)
        if finding != "ended":
            return None
        spec = session.spec
        cause, outcome, reason = end_of(pod, spot=bool(spec.get("spot")), lapses=spec.get("max_lifetime_s") is not None)
        fields["outcome"] = outcome
        return Change(actor="provider", cause=cause, to="terminating", reason=reason, fields=fields)

    # -- price and URLs

    async def _follow(self, session_id: str, listed: dict[str, Compute]) -> None:
        live, held = self._ledger.live.get(session_id), self._pods.get(session_id)
        pod = listed.get(held.pod_id) if held is not None else None
        if live is None or held is None or pod is None or live.state not in _FOLLOWED:
            return
        dearer = price_of(pod.cost_per_hour) not in (None, live.cost_per_hour)
        moved = live.state == "ready" and bool(pod.urls) and _hashed(pod.urls) != held.urls
        if not dearer and not moved:
            return

        def decide(session: Session) -> Change | None:
            if session.is_final or session.pod_id != pod.id:
                return None
            fields = _priced(session, pod, self._ledger.moment())
            told: list[Happened] = []
            if fields:
                told.append(
                    Happened("note", {"what": "price", "before": session.cost_per_hour, "now": pod.cost_per_hour})
                )
            if moved and session.state == "ready" and pod.urls != session.urls:
                fields["urls"] = pod.urls
                told.append(Happened("note", {"what": "urls", "before": session.urls, "now": pod.urls}))
            return Change(actor="provider", cause="confirmed", fields=fields, events=tuple(told)) if fields else None

        try:
            await self._ledger.change(session_id, decide)
        except StoreUnavailable as error:
            self._gate.store_failed(error)
        except (NotFound, Conflict):
            return

    def status(self) -> dict[str, Any]:
        """`looked_at`: unix seconds of the last look; `accounts`: how many; `wrong_account`: sessions made in other ones;
        `absent`: pods that the last listing lacked."""
        return {
            "looked_at": self._looked_at,
            "accounts": len(self._accounts()),
            "wrong_account": sum(self._foreign.values()),
            "absent": len(self._absent),
        }


def _hashed(urls: dict[str, str]) -> int:
    return hash(tuple(sorted(urls.items())))


def _priced(session: Session, pod: Compute, now: Moment) -> dict[str, Any]:
    """What the row says about money when the pod's price is another one; empty when it is the same, or not known."""
    price = price_of(pod.cost_per_hour)
    if price is None or price == session.cost_per_hour:
        return {}
    settled = cost_at(session.cost_settled, session.cost_per_hour, session.cost_since, now.wall)
    return {"cost_settled": settled, "cost_per_hour": price, "cost_since": now.wall}

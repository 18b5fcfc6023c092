"""What every worker needs: the ledger, the providers, and waits that end when its session changes or the companion stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pulumi_atlas.client import kinds
from pulumi_atlas.client.core import Core
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, NotFound, ProviderFailure
from pulumi_atlas.ids import Owner, PodId
from pulumi_atlas.models import Compute, Listing
from pulumi_atlas.models.session import Session, SessionState
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.gone import Presence
from pulumi_atlas.rules.sessions.ending import is_there, seen
from pulumi_atlas.runtime._calls import Calls
from pulumi_atlas.runtime._listings import Listings
from pulumi_atlas.runtime._pausing import BackOff, pause
from pulumi_atlas.runtime.access import KeyRingFile
from pulumi_atlas.runtime.ledger import Decide, Ledger
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["Desk", "Job", "Stopped"]

T = TypeVar("T")


class Stopped(Exception):
    """The companion stops: what was begun is in the store, and is gone on with by the next one."""


@dataclass
class Job:
    """The work for one session in this process. Times are monotonic.

    `began`: when the state that is worked on was taken up (`provisioning` goes on with the time of `requested`). `sent_at`:
    when the answer to a create was given up, so that listings from before prove nothing. `running_since`: when its pod was
    first seen to run. `tries` counts failures in a row; `due`: the number of an attempt, and when it is made. `changed` is
    set when the session gets another state than `state`.
    """

    session_id: str
    began: float
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sent_at: float | None = None
    running_since: float | None = None
    tries: int = 0
    due: tuple[int, float] | None = None
    state: SessionState | None = None
    last: SessionState | None = None

    def looks_at(self, state: SessionState | None) -> None:
        """From now on this is the state that is worked on; None: whichever comes next is news."""
        self.state = state
        self.changed.clear()

    def enters(self, state: SessionState, now: float) -> None:
        """As `looks_at`; a state that is another than the one before is new work."""
        if self.last not in (None, state) and state != "provisioning":
            self.began, self.tries, self.due = now, 0, None
        self.last = state
        self.looks_at(state)

    def sure_at(self, lag_s: float) -> float:
        """From when on a listing shows everything that was begun. What an earlier process did was before `began`."""
        return (self.began if self.sent_at is None else self.sent_at) + lag_s


class Desk:
    """Shared by the workers of one companion. `deployment_id` is known once the store is open."""

    def __init__(
        self,
        ledger: Ledger,
        settings: RuntimeSettings,
        keyring: KeyRingFile,
        core: Core,
        public_url: Callable[[], str | None],
    ) -> None:
        self.ledger, self.settings, self.keyring, self.core = ledger, settings, keyring, core
        self.public_url = public_url
        self.clock: Clock = ledger.clock
        self.calls = Calls(self.clock, limit=settings.provider_calls, timeout_s=settings.call_timeout_s)
        self.stopping = asyncio.Event()
        self.deployment_id = ""
        self._looked_up: tuple[Listing[Compute], dict[str, Compute]] | None = None
        self._listings: dict[int, Listings] = {}  # by the opened provider, which the core keeps

    def owner(self, session_id: str) -> Owner:
        """Whose its pod is."""
        return Owner("deployment", self.deployment_id, f"session/{session_id}")

    async def wait(self, job: Job, seconds: float) -> None:
        """Wait so long, or until the session's state changes. Raises Stopped."""
        await pause(self.clock, seconds, job.changed, self.stopping)
        self.check()

    def check(self) -> None:
        """Raises Stopped when nothing new may be begun."""
        if self.stopping.is_set():
            raise Stopped

    def has_changed(self, job: Job) -> bool:
        """Whether the session has another state than the one that is worked on."""
        return job.changed.is_set()

    async def insist(self, session_id: str, decide: Decide) -> Session:
        """As `Ledger.change`, again and again until the store takes it: this may not be lost. Raises Stopped, NotFound."""
        failures = BackOff(0.5, 10.0)
        while True:
            try:
                return await self.ledger.change(session_id, decide)
            except StoreUnavailable:
                self.check()
                await pause(self.clock, failures.failed(), self.stopping)

    def age_s(self, job: Job, session: Session) -> float:
        """How old its pod is at least, known to be there since before the work on its present state began. A wall clock
        that was turned back makes it no younger than that work."""
        return max(self.pod_age_s(session), self.clock.monotonic() - job.began)

    def pod_age_s(self, session: Session) -> float:
        """How old its pod is. A wall clock that was turned on makes it no older than its session."""
        by_wall = max(0.0, self.clock.now() - (session.cost_since or session.created_at))
        live = self.ledger.live.get(session.id)
        return by_wall if live is None else min(by_wall, self.clock.monotonic() - live.born_mono)

    # -- providers

    def open(self, session: Session) -> Opened:
        """The session's provider. Raises ConfigError, Unauthorized."""
        return self.core.open(session.provider, session.account)

    async def call(
        self,
        opened: Opened,
        operation: str,
        call: Callable[[Any], Awaitable[T]],
        *,
        broken: type[AtlasError] = ProviderFailure,
    ) -> T:
        """A call of the provider, by its rules."""
        return await self.calls(opened.provider.name, operation, lambda: call(opened.provider), broken=broken)

    async def identity(self, opened: Opened) -> str:
        """The account that is reached."""
        return await self.calls(opened.provider.name, "identity", opened.identity)

    async def get(self, opened: Opened, pod_id: str) -> Compute | None:
        """The pod by a look of its own; None when the provider says that it is not there, which proves nothing yet."""
        try:
            pod: Compute = await self.call(opened, "get_compute", lambda p: p.get_compute(PodId(pod_id)))
        except NotFound:
            return None
        return pod

    async def listing(self, opened: Opened) -> Listing[Compute]:
        """All pods of the account, by a listing that begins after this moment."""
        listings = self._listings.get(id(opened))
        if listings is None:
            listings = self._listings[id(opened)] = Listings(self.clock, lambda: self._list(opened))
        return await listings.fresh()

    async def recent(self, opened: Opened, max_age_s: float) -> Listing[Compute]:
        """All pods of the account, by a listing that may be so many seconds old: proves nothing."""
        inventory = opened.inventory(kinds.POD)
        try:
            return await self.calls(
                opened.provider.name, "list_compute", lambda: inventory.listing(max_age_s=max_age_s)
            )
        except AtlasError:
            inventory.drop()  # one that hangs is not waited for by others too
            raise

    async def _list(self, opened: Opened) -> Listing[Compute]:
        found: Listing[Compute] = await self.call(opened, "list_compute", kinds.POD.list)
        return found

    async def presence(self, opened: Opened, session: Session, *, age_s: float) -> tuple[Presence, Compute | None]:
        """Whether its pod is there, by a GET and a listing; the pod, where one of them showed it."""
        assert session.pod_id is not None
        got = await self.get(opened, session.pod_id)
        if is_there(got):
            return "present", got
        listing = await self.listing(opened)
        listed = self._listed(listing, session.pod_id)
        verdict = seen(
            got,
            listed,
            complete=listing.complete,
            same_account=session.identity in (None, listing.account),
            age_s=age_s,
            lag_s=opened.provider.listing_lag_s,
        )
        return verdict, listed or got

    def _listed(self, listing: Listing[Compute], pod_id: str) -> Compute | None:
        """The pod in the listing. Many ask for theirs in the same one, one after another."""
        if self._looked_up is None or self._looked_up[0] is not listing:
            self._looked_up = listing, {pod.id: pod for pod in listing}
        return self._looked_up[1].get(pod_id)

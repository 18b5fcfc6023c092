"""Everything that watches sessions, over a mock cloud, a store in memory and a clock that only the test moves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from pulumi_atlas.access import Access
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.ids import Birth, Owner, PodId, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.rules.sessions.freeze import Freeze
from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.runtime._calls import Calls
from pulumi_atlas.runtime._lister import Lister
from pulumi_atlas.runtime.inspector import Inspector
from pulumi_atlas.runtime.killing import Gate
from pulumi_atlas.runtime.ledger import Change, Ledger, Live
from pulumi_atlas.runtime.outage import Outage
from pulumi_atlas.runtime.reaper import Reaper
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import BirthNote
from pulumi_atlas.runtime.sweeper import Sweeper
from pulumi_atlas.testing.clock import SimulatedClock
from pulumi_atlas.testing.sessions import MemoryStore

T = TypeVar("T")

#: Nothing here waits in real time; a test that hangs ends after this.
DEADLINE_S = 60.0


def run(work: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, DEADLINE_S)

    return asyncio.run(bounded())


class Lagging(MockProvider):
    """A mock cloud whose listings may be wrong for a while."""

    listing_lag_s: ClassVar[float] = 0.0


class Rig:
    """One companion's watch. `say` are settings; without `opened` of the store it begins with an empty one."""

    def __init__(self, store: MemoryStore | None = None, world: World | None = None, **settings: Any) -> None:
        self.clock = SimulatedClock()
        self.world = world or World.fresh()
        self.world.freeze(self.clock.now())
        self.world.configure(provision_s=0.0)
        self.clock.followers.append(self.world.advance)
        self.store = store or MemoryStore()
        self.settings = RuntimeSettings(**{"warn_before_s": 0, **settings})
        self.opened: dict[tuple[str, str | None], Opened] = {}
        self.unreachable = ""
        self.count = 0

    async def begin(self, *, alive_at: float | None = None) -> Rig:
        custody = await self.store.open(name="test", now=self.clock.now())
        self.deployment_id = custody.deployment_id
        self.ledger = Ledger(self.store, self.clock)
        self.freeze, self.outage = Freeze(), Outage()
        self.gate = Gate(self.ledger, self.settings, self.freeze, self.outage)
        self.lister = Lister(self, self.clock, self.outage, Calls(self.clock, limit=8, timeout_s=120))
        self.inspector = Inspector(self.ledger, self.settings, self.gate, self.lister)
        self.reaper = Reaper(self.ledger, self.settings, self.gate)
        self.sweeper = Sweeper(
            self.ledger,
            self.settings,
            self.gate,
            self.lister,
            deployment_id=self.deployment_id,
            held=self.inspector.holds,
        )
        await self.ledger.load(alive_at=alive_at, grace_s=self.settings.grace_s, each=self.inspector.take)
        return self

    def open(self, provider: str | None, account: str | None = None) -> Opened:
        """As `client.Core.open`."""
        key = (provider or "mock", account)
        if key not in self.opened:
            access = Access("mock", account=account)
            self.opened[key] = Opened(Lagging(access, world=self.world), access, self.clock)
        return self.opened[key]

    # -- sessions

    async def session(self, *, spec: ComputeSpec | None = None, pod: Compute | None = None, **fields: Any) -> Session:
        """A session that is ready, with a pod of its own unless one is given; `fields` say what is otherwise."""
        self.count += 1
        ident, now = fields.pop("id", f"s{self.count}"), self.clock.now()
        birth = new_birth()
        spec = spec or ComputeSpec(command=("x",))
        pod = pod or self.world.plant(spec, tag=self.tag(birth, ident), account=fields.get("account") or "default")
        fields = {
            "state": "ready", "owner": "ann", "idle_ttl_s": 900.0, "max_lifetime_s": None, "warn_before_s": 0.0,
            "on_idle": "terminate", "paused_ttl_s": 3600.0, "budget": None, "created_at": now, "ready_at": now,
            "active_at": now, "birth": birth, "pod_id": pod.id, "identity": pod.account, "urls": dict(pod.urls),
            "cost_per_hour": pod.cost_per_hour, "cost_since": now,
            "spec": spec.model_dump(mode="json", exclude_defaults=True), **fields,
        }  # fmt: skip
        session = Session(id=ident, provider="mock", **fields)
        await self.store.note_birth(self.note(session))
        return await self.ledger.add(session, "key:test")

    def tag(self, birth: Birth | str, session_id: str) -> Tag:
        return Tag(Birth(birth), Owner("deployment", self.deployment_id, f"session/{session_id}"))

    def note(self, session: Session, state: Any = "held") -> BirthNote:
        return BirthNote(
            birth=str(session.birth), session_id=session.id, provider="mock", account=session.account,
            identity=session.identity,
            state=state, written_at=self.clock.now(), pod_id=session.pod_id,
        )  # fmt: skip

    async def got(self, session: Session) -> Session:
        found = await self.store.get(session.id)
        assert found is not None
        return found

    async def state(self, session: Session) -> str:
        return (await self.got(session)).state

    async def finish(self, session: Session, state: Any = "terminated") -> None:
        """As a worker does at the end; the pod stays as it is."""
        if (await self.got(session)).state != "terminating":
            await self.ledger.change(session.id, lambda s: Change(actor="x", cause="closed", to="terminating"))
        ends = {"ended_at": self.clock.now()}
        await self.ledger.change(session.id, lambda s: Change(actor="x", cause="confirmed", to=state, fields=ends))

    def touch(self, session: Session, *, idle_s: float = 0.0) -> Live:
        live = self.ledger[session.id]
        live.touch("http", self.ledger.moment(), idle_s=idle_s)
        self.ledger.touched(live)
        return live

    async def events(self, session: Session | None = None, kind: str | None = None) -> list[SessionEvent]:
        found = await self.store.events(after=0, session_id=session.id if session else None, limit=1_000_000)
        return [one for one in found if kind is None or one.kind == kind]

    async def kills(self) -> list[float]:
        """When sessions were ended, unix seconds."""
        return [e.at for e in await self.events(kind="status") if e.data["state"] in ("terminating", "pausing")]

    def pod(self, session: Session) -> PodId:
        return PodId(str(session.pod_id))

    def pods(self) -> dict[str, Compute]:
        return self.world.pods

    def moment(self) -> Moment:
        return self.ledger.moment()

    @contextlib.asynccontextmanager
    async def watching(self, *tasks: Any) -> AsyncIterator[None]:
        """The tasks' `run` at work; by default the reaper's."""
        works = [asyncio.create_task(one.run()) for one in tasks or (self.reaper,)]
        await self.clock.settle()
        try:
            yield
        finally:
            for work in works:
                if work.done() and not work.cancelled() and work.exception() is not None:
                    await work
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)


def older(note: BirthNote, seconds: float, **changes: Any) -> BirthNote:
    return replace(note, written_at=note.written_at - seconds, **changes)

"""The companion's face: what its doors (HTTP, the command line, an embedding program) may do with sessions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Literal
from weakref import WeakValueDictionary

from pulumi_atlas.client.core import Core
from pulumi_atlas.errors import ConfigError, Forbidden
from pulumi_atlas.models.session import Session, SessionEvent, SessionRequest, SessionState
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.opening import terms_of
from pulumi_atlas.rules.sessions.states import act_for
from pulumi_atlas.runtime._crew import Crew
from pulumi_atlas.runtime._desk import Desk
from pulumi_atlas.runtime._opening import Idempotency, Opener, Opening
from pulumi_atlas.runtime._pausing import pause
from pulumi_atlas.runtime._verbs import Verbs
from pulumi_atlas.runtime.access import KeyRingFile, UrlWish, signed, url_keys, ways_again
from pulumi_atlas.runtime.chronicle import chronicle
from pulumi_atlas.runtime.feed import Feed
from pulumi_atlas.runtime.ledger import Ledger, Live
from pulumi_atlas.runtime.metrics import Metrics
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import Custody, Scope, SessionPage, Store, StoreUnavailable
from pulumi_atlas.runtime.view import shown
from pulumi_atlas.runtime.worker import Worker

__all__ = ["Companion", "Opening"]

#: How often a guard asks what verifies its visitors, seconds.
POLL_S = 10


class Companion:
    """One companion. Belongs to one event loop.

    `public_url`: where pods reach it; whoever serves it sets this before `start` when the settings name none. `ready`: it
    may be asked for work. `draining`: it is about to stop and takes nothing new.
    """

    def __init__(
        self,
        *,
        store: Store,
        settings: RuntimeSettings,
        keyring: KeyRingFile,
        core: Core,
        clock: Clock,
        name: str,
    ) -> None:
        self.store, self.settings, self.keyring, self.core, self.clock = store, settings, keyring, core, clock
        self.name = name
        self.public_url = settings.public_url
        self.ledger = Ledger(store, clock)
        self.feed = Feed(store, clock)
        self.custody: Custody | None = None
        self.ready = self.draining = False
        self.desk = Desk(self.ledger, settings, keyring, core, lambda: self.public_url)
        self.worker = Worker(self.desk)
        self.metrics = Metrics(
            self.ledger, sources=settings.touch_sources, templates=settings.templates, webhooks=settings.webhooks
        )
        self.crew = Crew(self.ledger, settings, core, self._publish, self.metrics)
        self.desk.calls.told = self.metrics.call
        self._opener = Opener(self.ledger, settings, keyring, core, lambda: self.public_url)
        self._verbs = Verbs(self.ledger, settings, keyring)
        self._waiting: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._irrevocable: dict[str, Session] = {}
        self._began: float | None = None
        self.ledger.listeners += [self.worker.notice, self.feed.publish, self._changed, self.metrics.listen, chronicle]

    # -- life

    async def start(self) -> None:
        """Open the store, take in its sessions, and go to work. Raises ConfigError, StoreBusy, StoreUnavailable."""
        self.custody = await self.store.open(name=self.name, now=self.clock.now())
        self.desk.deployment_id = self.custody.deployment_id
        await self.ledger.load(
            alive_at=self.custody.alive_at,
            grace_s=self.settings.grace_s,
            gaps=self.custody.gaps,
            touches_lost=self.custody.alive_at is not None and not self.custody.stopped,
            each=self._taken_in,
        )
        await self.ledger.flush()  # from now on, an end without a word is known as one
        working = {one.id: one.state for one in self.ledger.live.values() if act_for(one.state) != "none"}
        if self.custody.frozen:
            self.worker.hold(working)  # a copy of the store would rent again, or end, what the right one has
        else:
            self.worker.begin(working)
        await self.crew.start(self.custody)
        self._began = self.clock.monotonic()
        self.ready = True

    async def stop(self, *, timeout_s: float = 20.0) -> None:
        """Take nothing new, make activity durable, and leave the pods as they are. Safe to repeat."""
        self.ready, self.draining = False, True
        self.feed.close()
        for waiting in self._waiting.values():
            waiting.set()
        await self.worker.stop(timeout_s)
        await self.crew.stop()
        if self._began is not None:
            with contextlib.suppress(StoreUnavailable):
                await self.crew.flush(stopping=True)
        self._began = None
        await self.store.aclose()

    # -- sessions

    async def open(self, request: SessionRequest, *, actor: str, idempotency: Idempotency | None = None) -> Opening:
        """Open a session; its pod is rented by and by. The same idempotency key and body give the same answer.

        Raises InvalidSpec with every failure, RateLimited (too many), InsufficientFunds (the owner's budget), Conflict
        (the key with another body), StoreUnavailable.
        """
        return await self._opener.open(request, actor=actor, idempotency=idempotency)

    def may_open(self, request: SessionRequest, scope: Scope) -> None:
        """Raises Forbidden when a key of that scope may not ask for this. Unknown templates are left to `open`."""
        if scope == "admin":
            return
        if scope != "backend":
            raise Forbidden(f"a key of scope {scope} opens no sessions")
        if request.spec is not None:
            raise Forbidden("only an admin key may open a session by a spec", hint="declare a template for it")
        if request.template in self.settings.templates and not self._for_backends(request.template):
            raise Forbidden(f"template {request.template} is not for backend keys", hint="set for_backends: true")

    async def get(self, session_id: str) -> Session:
        """The session with its freshest activity. Raises NotFound, StoreUnavailable."""
        return await self.ledger.read(session_id)

    async def page(
        self,
        *,
        owner: str | None = None,
        states: Collection[SessionState] | None = None,
        template: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> SessionPage:
        """Sessions in order of creation."""
        page = await self.store.page(owner=owner, states=states, template=template, cursor=cursor, limit=limit)
        return SessionPage(tuple(self.ledger.freshened(one) for one in page.sessions), page.next_cursor)

    def show(self, session: Session) -> dict[str, Any]:
        """The session as the API shows it."""
        return shown(session, self.ledger.moment(), self.ledger.live.get(session.id))

    async def touch(self, session_id: str, source: str, *, idle_s: float = 0.0, count: int = 1) -> Live:
        """Activity `idle_s` seconds ago. Needs no storage. Raises NotFound, SessionGone."""
        return await self._verbs.touch(session_id, source, idle_s=idle_s, count=count)

    async def extend(self, session_id: str, seconds: float, *, actor: str, bounded: bool) -> Session:
        """Keep it for so many seconds from now without activity; never past its lifetime.

        `bounded`: at most `limits.max_extend_s`. Raises InvalidSpec, SessionGone, Conflict (it is paused).
        """
        return await self._verbs.extend(session_id, seconds, actor=actor, bounded=bounded)

    async def extend_lifetime(self, session_id: str, seconds: float, *, actor: str) -> Session:
        """Let its lifetime end so many seconds later. Raises InvalidSpec (beyond the limit), SessionGone, Conflict."""
        return await self._verbs.extend_lifetime(session_id, seconds, actor=actor)

    async def pause(self, session_id: str, *, actor: str, reason: str = "") -> Session:
        """Stop its pod by and by. Raises SessionGone, Conflict, Unsupported."""
        return await self._verbs.pause(session_id, actor=actor, reason=reason)

    async def resume(self, session_id: str, *, actor: str, reason: str = "") -> Session:
        """Start its pod by and by; what was handed out before is void, `handed` gives the new. Raises SessionGone, Conflict."""
        return await self._verbs.resume(session_id, actor=actor, reason=reason)

    async def close(self, session_id: str, *, actor: str, reason: str = "") -> Session:
        """End it. One that has ended stays as it is. Raises NotFound."""
        return await self._verbs.close(session_id, actor=actor, reason=reason)

    async def rotate(self, session_id: str, *, actor: str) -> Opening:
        """New tokens; the old ones are void. Raises SessionGone."""
        session = await self._verbs.rotate(session_id, actor=actor)
        handed = self.handed(session)
        assert handed is not None, "the ring's newest key has not retired"
        return handed

    def handed(self, session: Session) -> Opening | None:
        """What was handed out for its present generation, derived anew; None when the key for that has retired."""
        ways = ways_again(self.keyring.ring, session, self.clock.now())
        if ways is None:
            return None
        return Opening(session, ways.token.token if ways.token else None, ways.touch.token)

    def sign_url(
        self,
        session: Session,
        *,
        expires_in_s: int = 3600,
        url: str | None = None,
        port: str | None = None,
        path: str | None = None,
        method: str = "GET",
        prefix: bool = False,
        not_before: int | None = None,
        address: str | None = None,
        single_use: bool = False,
        form: str = "url",
    ) -> str:
        """A signed URL into its pod. Raises Conflict unless it is ready and lets visitors in so, InvalidSpec."""
        wish = UrlWish(url=url, port=port, path=path, method=method, prefix=prefix, expires_in_s=expires_in_s,
                       not_before=not_before, address=address, single_use=single_use, form=form)  # fmt: skip
        return signed(self.keyring.ring, session, wish, self.clock.now())

    def verifier(self, session: Session) -> dict[str, Any]:
        """What its guard asks for: SPECIFICATION 9."""
        return {
            "generation": session.generation,
            "token_hashes": [] if session.token_hash is None else [session.token_hash],
            "url_keys": url_keys(self.keyring.ring, session, self.clock.now()),
            "revoked": session.is_gone,
            "poll_s": POLL_S,
        }

    async def wait(self, session_id: str, *, until: Literal["ready"] = "ready", timeout_s: float = 600.0) -> Session:
        """The session once it is ready, or gone, or the time is over: see its state. Raises NotFound."""
        end = self.clock.monotonic() + timeout_s
        while True:
            changed = self._waiting.setdefault(session_id, asyncio.Event())
            session = await self.get(session_id)
            left = end - self.clock.monotonic()
            if session.state == until or session.is_gone or left <= 0 or self.draining:
                return session
            await pause(self.clock, left, changed)

    # -- the whole

    def irrevocable(self) -> list[dict[str, Any]]:
        """Sessions whose pod was asked to end again and again and is not confirmed to be gone, the dearest first; their
        `cost` grows."""
        rows = [self.show(session) for session in self._irrevocable.values()]
        return sorted(rows, key=lambda row: -(row["cost"] or 0.0))

    async def orphans(self) -> list[dict[str, Any]]:
        """Pods of this deployment that no session wants: see `Sweeper.orphans`."""
        return self.crew.sweeper.orphans() if self.crew.sweeper is not None else []

    def plan(self) -> dict[str, Any]:
        """What the reaper would do now: see `Reaper.plan`."""
        return self.crew.reaper.plan()

    def status(self) -> dict[str, Any]:
        """How it goes: `sessions` by state, `cost_per_hour` as far as prices are known, what is frozen or down and why,
        kills that wait, the store, `uptime_s`, `version`."""
        rates = [live.cost_per_hour or 0.0 for live in self.ledger.live.values() if live.cost_since is not None]
        custody = self.custody
        return {
            "name": self.name,
            "deployment_id": None if custody is None else custody.deployment_id,
            "version": version("pulumi-atlas"),
            "uptime_s": None if self._began is None else round(self.clock.monotonic() - self._began, 3),
            "ready": self.ready,
            "draining": self.draining,
            "sessions": {state: count for state, count in sorted(self.ledger.states.items()) if count},
            "cost_per_hour": round(sum(rates), 6),
            "working": self.worker.busy,
            "store": {"confirmed": custody is not None and not custody.frozen,
                      "frozen": "" if custody is None else custody.frozen},
            "webhooks": self.crew.outbox.status(),
            "keeping": self.crew.keeping.status(),
            "inspection": self.crew.inspector.status(),
            "sweep": None if self.crew.sweeper is None else self.crew.sweeper.status(),
            **self.crew.reaper.status(),
        }  # fmt: skip

    def templates(self, *, scope: Scope) -> list[dict[str, Any]]:
        """The templates that keys of that scope may see; for backends, those that they may open."""
        seen = sorted(name for name in self.settings.templates if scope != "backend" or self._for_backends(name))
        return [self._template(name) for name in seen]

    async def confirm_store(self) -> Custody:
        """An operator says that this store is the right one: kills are free again."""
        self.custody = await self.store.confirm(now=self.clock.now())
        self.crew.custody(self.custody)
        self.worker.release()
        return self.custody

    # -- how

    def _template(self, name: str) -> dict[str, Any]:
        one = self.settings.templates[name]
        terms = terms_of(SessionRequest(), one, self.settings)
        plain = {"name": name, "description": one.description, "auth": one.auth, "provider": one.spec.get("provider")}
        return plain | {"for_backends": self._for_backends(name), **asdict(terms)}

    def _for_backends(self, name: str) -> bool:
        template = self.settings.templates[name]
        if template.for_backends is not None:
            return template.for_backends
        try:
            return self.core.choose(template.spec.get("provider"), template.spec.get("account")) != "local"
        except ConfigError:
            return False

    def _publish(self, session: Session | None, events: Sequence[SessionEvent]) -> None:
        """Events that belong to no change of a session."""
        self.feed.publish(session, events)
        self.metrics.listen(session, events)
        self.crew.outbox.listen(session, events)

    def _taken_in(self, session: Session) -> None:
        """At the start, for each session: the store is read once for all who want to know."""
        self._changed(session, ())
        self.crew.inspector.take(session)

    def _changed(self, session: Session, events: Sequence[SessionEvent]) -> None:
        if session.state == "irrevocable":
            self._irrevocable[session.id] = session
        else:
            self._irrevocable.pop(session.id, None)
        waiting = self._waiting.pop(session.id, None)
        if waiting is not None:
            waiting.set()

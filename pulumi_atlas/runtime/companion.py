"""The companion's face: what its doors (HTTP, the command line, an embedding program) may do with sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, Literal
from weakref import WeakValueDictionary

from pulumi_atlas.client.core import Core
from pulumi_atlas.errors import ConfigError, Forbidden
from pulumi_atlas.models.session import Session, SessionEvent, SessionRequest, SessionState
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.opening import terms_of
from pulumi_atlas.runtime._opening import Idempotency, Opener, Opening
from pulumi_atlas.runtime._pausing import pause
from pulumi_atlas.runtime._verbs import Verbs
from pulumi_atlas.runtime.access import KeyRingFile, UrlWish, signed, url_keys, ways_again
from pulumi_atlas.runtime.feed import Feed
from pulumi_atlas.runtime.ledger import Ledger, Live
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import Custody, Scope, SessionPage, Store
from pulumi_atlas.runtime.view import shown

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
        self._opener = Opener(self.ledger, settings, keyring, core, lambda: self.public_url)
        self._verbs = Verbs(self.ledger, settings, keyring)
        self._waiting: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self.ledger.listeners += [self.feed.publish, self._changed]

    # -- life

    async def start(self) -> None:
        """Open the store, take in its sessions, and go to work. Raises ConfigError, StoreBusy, StoreUnavailable."""
        self.custody = await self.store.open(name=self.name, now=self.clock.now())
        await self.ledger.load(alive_at=self.custody.alive_at, grace_s=self.settings.grace_s)
        self.ready = True

    async def stop(self, *, timeout_s: float = 20.0) -> None:
        """Take nothing new, make activity durable, and leave the pods as they are. Safe to repeat."""
        self.ready, self.draining = False, True
        self.feed.close()
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
        """Sessions whose pod was asked to end again and again and is not confirmed to be gone; it costs money."""
        return []

    async def orphans(self) -> list[dict[str, Any]]:
        """Pods of this deployment that no session wants."""
        return []

    def plan(self) -> dict[str, Any]:
        """What the reaper would do now."""
        return {}

    def status(self) -> dict[str, Any]:
        """How it goes."""
        return {}

    def templates(self, *, scope: Scope) -> list[dict[str, Any]]:
        """The templates that keys of that scope may see; for backends, those that they may open."""
        seen = sorted(name for name in self.settings.templates if scope != "backend" or self._for_backends(name))
        return [self._template(name) for name in seen]

    async def confirm_store(self) -> Custody:
        """An operator says that this store is the right one: kills are free again."""
        self.custody = await self.store.confirm(now=self.clock.now())
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

    def _changed(self, session: Session, events: Sequence[SessionEvent]) -> None:
        waiting = self._waiting.pop(session.id, None)
        if waiting is not None:
            waiting.set()

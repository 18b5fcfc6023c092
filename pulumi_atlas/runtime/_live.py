"""What is held in memory of each session that is not final."""

from __future__ import annotations

import asyncio

from pulumi_atlas.models.session import GONE_STATES, Session, SessionState
from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.runtime.store.contract import TouchRow

__all__ = ["Live"]

#: So many touches are counted between two flushes. Beyond it nothing is lost but the number.
_MOST_TOUCHES = 2**53


class Live:
    """The entry in memory: what touches, deadlines and doors need. A `Tenure`; see there for the clocks."""

    __slots__ = (
        *("id", "owner", "state", "version", "generation", "provider", "account"),
        *("active_mono", "active_at", "keep_mono", "keep_until", "grace_mono", "source", "touches", "dirty"),
        *("idle_ttl_s", "warn_before_s", "max_lifetime_s", "expires_at", "paused_at", "paused_ttl_s", "on_idle"),
        *("budget", "cost_settled", "cost_per_hour", "cost_since", "warned", "touch_hash", "guard_hash"),
        *("settling", "looked_at", "born_mono"),
    )

    def __init__(self, session: Session, now: Moment) -> None:
        self.id, self.owner, self.provider, self.account = session.id, session.owner, session.provider, session.account
        self.touch_hash, self.guard_hash = session.touch_hash, session.guard_hash
        self.born_mono = min(now.mono, now.mono_of(session.created_at))
        self.active_at = session.active_at or session.created_at
        self.active_mono = min(now.mono, now.mono_of(self.active_at))
        self.keep_until: float | None = session.keep_until
        self.keep_mono = None if session.keep_until is None else now.mono_of(session.keep_until)
        self.grace_mono: float | None = None
        self.source, self.touches = session.active_source, 0
        self.dirty = False
        self.settling: asyncio.Event | None = None  # set while a write decides whether it is gone
        self.looked_at: float | None = None  # the entry of the deadline index that counts
        self.take(session, now)

    @property
    def is_gone(self) -> bool:
        """Over for who uses it."""
        return self.state in GONE_STATES

    def take(self, session: Session, now: Moment | None = None) -> None:
        """What a written row says. Activity and wishes in memory are never older than the row's."""
        wished = session.keep_until
        if now is not None and wished is not None and (self.keep_until is None or wished > self.keep_until):
            self.keep_until, self.keep_mono = wished, now.mono_of(wished)
        self.state: SessionState = session.state
        self.version, self.generation = session.version, session.generation
        self.touch_hash, self.guard_hash = session.touch_hash, session.guard_hash
        self.idle_ttl_s, self.warn_before_s = session.idle_ttl_s, session.warn_before_s
        self.max_lifetime_s, self.expires_at = session.max_lifetime_s, session.expires_at
        self.paused_at, self.paused_ttl_s, self.on_idle = session.paused_at, session.paused_ttl_s, session.on_idle
        self.budget, self.cost_settled = session.budget, session.cost_settled
        self.cost_per_hour, self.cost_since = session.cost_per_hour, session.cost_since
        self.warned = session.warned

    def touch(self, source: str, now: Moment, *, idle_s: float = 0.0, count: int = 1) -> None:
        """Activity, `idle_s` seconds ago. Older activity than what is known changes nothing but the count."""
        mono = now.mono - idle_s
        if mono >= self.active_mono:
            self.active_mono, self.active_at, self.source = mono, now.wall - idle_s, source
            if idle_s <= self.idle_ttl_s / 2:  # a report of old activity says nothing of who could not report yet
                self.grace_mono = None
        self.touches = min(self.touches + count, _MOST_TOUCHES)
        self.dirty = True

    def keep(self, until_mono: float, now: Moment) -> None:
        """Keep it until then at least, by somebody's wish."""
        if self.keep_mono is None or until_mono > self.keep_mono:
            self.keep_mono, self.keep_until = until_mono, now.wall + (until_mono - now.mono)
            self.dirty = True

    def row(self) -> TouchRow:
        """What is to be flushed."""
        return TouchRow(self.id, self.active_at, self.source or "open", self.touches, self.keep_until)

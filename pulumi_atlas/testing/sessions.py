"""A store of sessions in memory, for tests: the semantics of the contract without a file.

`after_crash` gives what a new companion would find; `fail` lets the storage fail for as long as it is wanted.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pulumi_atlas.errors import Conflict, Failure, InvalidSpec
from pulumi_atlas.models.session import Session, SessionEvent, SessionState
from pulumi_atlas.rules.sessions.gaps import Gap
from pulumi_atlas.runtime.store.contract import (
    AccessKey,
    Answered,
    BirthNote,
    BirthState,
    Custody,
    Delivery,
    SessionPage,
    Stale,
    StoreBusy,
    StoreUnavailable,
    TouchRow,
)

__all__ = ["MemoryStore"]


@dataclass
class _Tables:
    custody: Custody | None = None
    sessions: dict[str, Session] = field(default_factory=dict)
    births: dict[str, BirthNote] = field(default_factory=dict)
    events: list[SessionEvent] = field(default_factory=list)
    numbered: int = 0
    answered: dict[tuple[str, str], Answered] = field(default_factory=dict)
    keys: dict[str, AccessKey] = field(default_factory=dict)
    webhooks: tuple[str, ...] = ()
    outbox: dict[tuple[int, str], Delivery] = field(default_factory=dict)


class MemoryStore:
    """Keeps nothing beyond the process. `failing`: why every call fails now, "" when none does; `wrote`: writes so far."""

    def __init__(self, tables: _Tables | None = None) -> None:
        self._tables = tables or _Tables()
        self._open = False
        self.failing = ""
        self.wrote = 0

    def fail(self, why: str = "the disk is full") -> None:
        """From now on every call raises StoreUnavailable; `fail("")` ends it."""
        self.failing = why

    def after_crash(self) -> MemoryStore:
        """What is there for the next companion, when this one ends without a word."""
        return MemoryStore(copy.deepcopy(self._tables))

    def freeze(self, why: str) -> None:
        """As if the store had been restored or moved: `confirm` ends it."""
        assert self._tables.custody is not None
        self._tables.custody = replace(self._tables.custody, frozen=why)

    # -- custody

    async def open(self, *, name: str, now: float) -> Custody:
        self._check(opened=False)
        if self._open:
            raise StoreBusy("this store is open already")
        if self._tables.custody is None:
            self._tables.custody = Custody(secrets.token_hex(8), name, now, None)
        self._open = True
        return self._tables.custody

    async def aclose(self) -> None:
        self._open = False

    async def custody(self) -> Custody:
        self._check()
        assert self._tables.custody is not None
        return self._tables.custody

    async def confirm(self, *, now: float) -> Custody:
        self._tables.custody = replace(await self.custody(), frozen="")
        return self._tables.custody

    # -- sessions

    async def add(
        self, session: Session, events: Sequence[SessionEvent], answered: Answered | None = None
    ) -> tuple[Session, tuple[SessionEvent, ...]]:
        self._check(write=True)
        if session.id in self._tables.sessions:
            raise Conflict(f"there is a session {session.id} already")
        if answered is not None and (answered.caller, answered.key) in self._tables.answered:
            raise Conflict("this idempotency key was used already")
        self._tables.sessions[session.id] = session
        if answered is not None:
            self._tables.answered[answered.caller, answered.key] = answered
        return session, self._number(events)

    async def change(
        self,
        session_id: str,
        version: int,
        changes: Mapping[str, Any],
        events: Sequence[SessionEvent] = (),
        births: Sequence[BirthNote] = (),
    ) -> tuple[Session, tuple[SessionEvent, ...]]:
        self._check(write=True)
        current = self._tables.sessions.get(session_id)
        if current is None or current.version != version:
            raise Stale(current)
        assert not changes.keys() & {"id", "version"}
        changed = replace(current, **changes, version=version + 1)
        self._tables.sessions[session_id] = changed
        for note in births:
            self._tables.births[note.birth] = note
        return changed, self._number(events)

    async def get(self, session_id: str) -> Session | None:
        self._check()
        return self._tables.sessions.get(session_id)

    async def live(self) -> AsyncIterator[Session]:
        self._check()
        for session in list(self._tables.sessions.values()):
            if not session.is_final:
                yield session

    async def page(
        self,
        *,
        owner: str | None = None,
        states: Collection[SessionState] | None = None,
        template: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> SessionPage:
        self._check()
        if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
            raise InvalidSpec([Failure("cursor", "is none that was given here")])
        begin = int(cursor or 0)
        found = [
            (number, one)
            for number, one in enumerate(self._tables.sessions.values(), 1)
            if number > begin
            and (owner is None or one.owner == owner)
            and (states is None or one.state in states)
            and (template is None or one.template == template)
        ]
        shown = found[:limit]
        return SessionPage(tuple(one for _, one in shown), str(shown[-1][0]) if len(found) > limit else None)

    async def spent(self, owner: str, *, since: float) -> float:
        self._check()
        mine = (one for one in self._tables.sessions.values() if one.owner == owner and one.is_final)
        return sum(one.cost_settled for one in mine if (one.ended_at or 0.0) > since)

    async def flush(
        self, touches: Sequence[TouchRow], *, now: float, gaps: Sequence[Gap] | None = None, stopping: bool = False
    ) -> None:
        self._check(write=True)
        assert self._tables.custody is not None
        for row in touches:
            current = self._tables.sessions.get(row.session_id)
            if current is not None:
                self._tables.sessions[row.session_id] = _touched(current, row)
        self._tables.custody = replace(
            self._tables.custody,
            alive_at=now,
            gaps=self._tables.custody.gaps if gaps is None else tuple(gaps),
            stopped=stopping,
        )

    # -- the journal

    async def births(self, states: Collection[BirthState] | None = None) -> Sequence[BirthNote]:
        self._check()
        return [note for note in self._tables.births.values() if states is None or note.state in states]

    async def note_birth(self, note: BirthNote) -> None:
        self._check(write=True)
        self._tables.births[note.birth] = note

    # -- events

    async def events(self, *, after: int, session_id: str | None = None, limit: int = 500) -> Sequence[SessionEvent]:
        self._check()
        newer = (one for one in self._tables.events if one.number > after)
        return [one for one in newer if session_id is None or one.session_id == session_id][:limit]

    async def event_range(self) -> tuple[int, int]:
        self._check()
        kept = self._tables.events
        return (kept[0].number if kept else self._tables.numbered + 1), self._tables.numbered

    async def note(self, events: Sequence[SessionEvent]) -> tuple[SessionEvent, ...]:
        self._check(write=True)
        return self._number(events)

    async def prune(self, *, events_before: float, sessions_before: float, answers_before: float) -> int:
        self._check(write=True)
        tables = self._tables
        waiting = {number for number, _ in tables.outbox}
        events = [one for one in tables.events if one.at >= events_before or one.number in waiting]
        old = {i for i, s in tables.sessions.items() if s.is_final and (s.ended_at or 0.0) < sessions_before}
        answered = {at: one for at, one in tables.answered.items() if one.at >= answers_before}
        gone = len(tables.events) - len(events) + len(old) + len(tables.answered) - len(answered)
        tables.events, tables.answered = events, answered
        for ident in old:
            del tables.sessions[ident]
        tables.births = {birth: note for birth, note in tables.births.items() if note.session_id not in old}
        return gone

    # -- webhooks

    async def set_webhooks(self, names: Collection[str]) -> None:
        self._check(write=True)
        self._tables.webhooks = tuple(names)
        self._tables.outbox = {at: one for at, one in self._tables.outbox.items() if one.webhook in names}

    async def due(self, now: float, *, webhook: str | None = None, limit: int = 50) -> Sequence[Delivery]:
        self._check()
        due = [one for one in self._tables.outbox.values() if one.due_at <= now and webhook in (None, one.webhook)]
        return sorted(due, key=lambda one: one.due_at)[:limit]

    async def next_due(self, *, webhook: str | None = None) -> float | None:
        self._check()
        mine = (one.due_at for one in self._tables.outbox.values() if webhook in (None, one.webhook))
        return min(mine, default=None)

    async def delivered(self, event_number: int, webhook: str) -> None:
        self._check(write=True)
        self._tables.outbox.pop((event_number, webhook), None)

    async def postponed(self, event_number: int, webhook: str, *, due_at: float, error: str) -> None:
        self._check(write=True)
        one = self._tables.outbox.get((event_number, webhook))
        if one is not None:
            later = replace(one, attempt=one.attempt + 1, due_at=due_at, last_error=error)
            self._tables.outbox[event_number, webhook] = later

    # -- keys and answers

    async def add_key(self, key: AccessKey) -> None:
        self._check(write=True)
        self._tables.keys[key.id] = key

    async def keys(self) -> Sequence[AccessKey]:
        self._check()
        return list(self._tables.keys.values())

    async def revoke_key(self, key_id: str, *, now: float) -> bool:
        self._check(write=True)
        key = self._tables.keys.get(key_id)
        if key is None or key.revoked_at is not None:
            return False
        self._tables.keys[key_id] = replace(key, revoked_at=now)
        return True

    async def answered(self, caller: str, key: str) -> Answered | None:
        self._check()
        return self._tables.answered.get((caller, key))

    # -- how

    def _check(self, *, opened: bool = True, write: bool = False) -> None:
        if self.failing:
            raise StoreUnavailable(self.failing)
        if opened and not self._open:
            raise StoreUnavailable("the store is not open")
        self.wrote += write

    def _number(self, events: Sequence[SessionEvent]) -> tuple[SessionEvent, ...]:
        begin = self._tables.numbered + 1
        numbered = tuple(replace(one, number=number) for number, one in enumerate(events, begin))
        self._tables.numbered += len(numbered)
        self._tables.events += numbered
        for one in numbered:
            for name in self._tables.webhooks:
                self._tables.outbox[one.number, name] = Delivery(one, name, 0, one.at)
        return numbered


def _touched(current: Session, row: TouchRow) -> Session:
    newer = current.active_at is None or row.active_at > current.active_at
    keeps = [at for at in (current.keep_until, row.keep_until) if at is not None]
    return replace(
        current,
        active_at=row.active_at if newer else current.active_at,
        active_source=row.source if newer else current.active_source,
        touches=current.touches + row.touches,
        keep_until=max(keeps, default=None),
    )

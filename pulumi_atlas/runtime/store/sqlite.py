"""The store in one SQLite file: no set-up, one companion at a time, a hundred thousand live sessions.

The contract's docstrings say what each method does. What is particular here: a burst of writes shares one durable commit
(each is still undone alone), a second companion is kept out by a lock file, and a file that was removed, replaced or
locked away makes every call StoreUnavailable until it is back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, inspect

from pulumi_atlas.errors import AtlasError, ConfigError
from pulumi_atlas.files import make_private_folder
from pulumi_atlas.models.session import Session, SessionEvent, SessionState
from pulumi_atlas.rules.sessions.gaps import Gap
from pulumi_atlas.runtime.store import _events, _meta, _migrate, _sessions
from pulumi_atlas.runtime.store._database import Database, Work
from pulumi_atlas.runtime.store._lock import StoreLock
from pulumi_atlas.runtime.store._place import make_file, place_of
from pulumi_atlas.runtime.store.contract import (
    AccessKey,
    Answered,
    BirthNote,
    BirthState,
    Custody,
    Delivery,
    SessionPage,
    StoreBusy,
    StoreUnavailable,
    TouchRow,
)

__all__ = ["APPLICATION_ID", "SqliteStore"]

T = TypeVar("T")

#: In the file's header: it says that the database is ours. "ATLS".
APPLICATION_ID = 0x41544C53

_PIECE = 1_000  # sessions read at once
_FORGET = 1_000  # rows forgotten in one transaction


class SqliteStore:
    """A `Store`. `exclusive`: as a companion has it; without it, a tool works beside a running companion: `open` then takes
    any name, and makes no new store unless `may_create`. `busy_timeout_s`: how long a write waits for another process."""

    def __init__(
        self, path: Path, *, exclusive: bool = True, may_create: bool = True, busy_timeout_s: float = 5.0
    ) -> None:
        self.path = path
        self._exclusive, self._may_create, self._busy_timeout_s = exclusive, may_create, busy_timeout_s
        self._lock: StoreLock | None = None
        self._database: Database | None = None
        self._webhooks: frozenset[str] = frozenset()
        self._salt = ""

    async def open(self, *, name: str, now: float) -> Custody:
        if self._database is not None:
            raise StoreUnavailable(f"the store {self.path} is open already")
        try:
            return await self._open(name, now)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            await database.aclose()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    async def custody(self) -> Custody:
        row = await self._read(_meta.read)
        if row is None:
            raise StoreUnavailable(f"the store {self.path} does not say whose it is")
        return _meta.custody_of(row, place_of(self.path))

    async def confirm(self, *, now: float) -> Custody:
        place = place_of(self.path)
        await self._write(lambda connection: _meta.confirm(connection, now=now, place=place))
        return await self.custody()

    # -- sessions

    async def add(
        self, session: Session, events: Sequence[SessionEvent], answered: Answered | None = None
    ) -> tuple[Session, tuple[SessionEvent, ...]]:
        def work(connection: Connection) -> tuple[Session, tuple[SessionEvent, ...]]:
            _sessions.add(connection, session, answered)
            return session, _events.append(connection, events, self._webhooks)

        return await self._write(work)

    async def change(
        self,
        session_id: str,
        version: int,
        changes: Mapping[str, Any],
        events: Sequence[SessionEvent] = (),
        births: Sequence[BirthNote] = (),
    ) -> tuple[Session, tuple[SessionEvent, ...]]:
        def work(connection: Connection) -> tuple[Session, tuple[SessionEvent, ...]]:
            session = _sessions.change(connection, session_id, version, changes)
            for note in births:
                _sessions.note_birth(connection, note)
            return session, _events.append(connection, events, self._webhooks)

        return await self._write(work)

    async def get(self, session_id: str) -> Session | None:
        return await self._read(lambda connection: _sessions.get(connection, session_id))

    async def live(self) -> AsyncIterator[Session]:
        seq = 0
        while True:
            seq, piece = await self._live_after(seq)
            for session in piece:
                yield session
            if len(piece) < _PIECE:
                return

    async def page(
        self,
        *,
        owner: str | None = None,
        states: Collection[SessionState] | None = None,
        template: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> SessionPage:
        wanted: dict[str, Any] = {"owner": owner, "states": states, "template": template, "cursor": cursor}
        return await self._read(
            lambda connection: _sessions.page(connection, **wanted, limit=limit, salt=self._salt),
        )

    async def spent(self, owner: str, *, since: float) -> float:
        return await self._read(lambda connection: _sessions.spent(connection, owner, since))

    async def flush(
        self, touches: Sequence[TouchRow], *, now: float, gaps: Sequence[Gap] | None = None, stopping: bool = False
    ) -> None:
        await self._write(lambda connection: _sessions.flush(connection, touches, now, gaps, stopping))

    # -- the journal

    async def births(self, states: Collection[BirthState] | None = None) -> Sequence[BirthNote]:
        return await self._read(lambda connection: _sessions.births_in(connection, states))

    async def note_birth(self, note: BirthNote) -> None:
        await self._write(lambda connection: _sessions.note_birth(connection, note))

    # -- events

    async def events(self, *, after: int, session_id: str | None = None, limit: int = 500) -> Sequence[SessionEvent]:
        return await self._read(lambda connection: _events.newer(connection, after, session_id, limit))

    async def event_range(self) -> tuple[int, int]:
        return await self._read(_events.event_range)

    async def note(self, events: Sequence[SessionEvent]) -> tuple[SessionEvent, ...]:
        return await self._write(lambda connection: _events.append(connection, events, self._webhooks))

    async def prune(self, *, events_before: float, sessions_before: float, answers_before: float) -> int:
        """In pieces, so that others can write in between."""
        return (
            await self._forget(lambda connection: _events.prune_events(connection, events_before, _FORGET))
            + await self._forget(lambda connection: _events.prune_sessions(connection, sessions_before, _FORGET))
            + await self._forget(lambda connection: _events.prune_births(connection, sessions_before, _FORGET))
            + await self._forget(lambda connection: _events.prune_answers(connection, answers_before, _FORGET))
        )

    # -- webhooks

    async def set_webhooks(self, names: Collection[str]) -> None:
        wanted = frozenset(names)

        def work(connection: Connection) -> None:
            _events.keep_deliveries(connection, wanted)

        await self._write(work)
        self._webhooks = wanted

    async def due(self, now: float, *, webhook: str | None = None, limit: int = 50) -> Sequence[Delivery]:
        return await self._read(lambda connection: _events.due(connection, now, webhook, limit))

    async def next_due(self, *, webhook: str | None = None) -> float | None:
        return await self._read(lambda connection: _events.next_due(connection, webhook))

    async def delivered(self, event_number: int, webhook: str) -> None:
        await self._write(lambda connection: _events.delivered(connection, event_number, webhook))

    async def postponed(self, event_number: int, webhook: str, *, due_at: float, error: str) -> None:
        await self._write(lambda connection: _events.postponed(connection, event_number, webhook, due_at, error))

    # -- keys and answers

    async def add_key(self, key: AccessKey) -> None:
        await self._write(lambda connection: _meta.add_key(connection, key))

    async def keys(self) -> Sequence[AccessKey]:
        return await self._read(_meta.keys)

    async def revoke_key(self, key_id: str, *, now: float) -> bool:
        return await self._write(lambda connection: _meta.revoke_key(connection, key_id, now))

    async def answered(self, caller: str, key: str) -> Answered | None:
        return await self._read(lambda connection: _sessions.answered(connection, caller, key))

    # -- behind the contract

    async def _open(self, name: str, now: float) -> Custody:
        self._take_file(now)
        self._database = Database(self.path, guard=self._guard, busy_timeout_s=self._busy_timeout_s)
        revision = await self._read(_checked_revision)
        if revision != _migrate.head():
            await self._prepare(name, now)
        custody = await self.custody()
        if name and custody.name not in ("", name):
            raise ConfigError(
                f"the store {self.path} belongs to the deployment {custody.name!r}, not to {name!r}",
                hint="name that deployment, or give this one a store of its own",
            )
        if name and not custody.name:
            await self._write(lambda connection: _meta.take_name(connection, name))
            custody = await self.custody()
        self._salt = custody.deployment_id
        return custody

    def _take_file(self, now: float) -> None:
        if not self._may_create and not self.path.exists():
            raise ConfigError(f"there is no store at {self.path}", hint="start a companion with this store first")
        try:
            make_private_folder(self.path.parent)
        except AtlasError as error:
            raise StoreUnavailable(error.message, hint=error.hint) from error
        if self._exclusive:
            self._lock = StoreLock.take(self.path, now)
        make_file(self.path)

    async def _prepare(self, name: str, now: float) -> None:
        """Make or migrate the tables. Never beside a companion, which would work with others than it knows."""
        place, lock = place_of(self.path), None

        def work(connection: Connection) -> None:
            _migrate.migrate(connection)
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
            _meta.ensure(connection, name=name, now=now, place=place)

        try:
            if not self._exclusive:
                lock = StoreLock.take(self.path, now)
            await self._write(work)
        except StoreBusy as busy:
            raise busy.with_hint("stop that companion: the store has to be brought to this version first") from None
        finally:
            if lock is not None:
                lock.release()

    def _guard(self) -> None:
        if self._lock is not None:
            self._lock.check()

    async def _live_after(self, seq: int) -> tuple[int, list[Session]]:
        return await self._read(lambda connection: _sessions.live_after(connection, seq, _PIECE))

    async def _forget(self, piece: Work[int]) -> int:
        total = 0
        while True:
            gone = await self._write(piece)
            total += gone
            if gone < _FORGET:
                return total

    async def _read(self, work: Work[T]) -> T:
        return await self._opened().read(work)

    async def _write(self, work: Work[T]) -> T:
        return await self._opened().write(work)

    def _opened(self) -> Database:
        if self._database is None:
            raise StoreUnavailable(f"the store {self.path} is not open")
        return self._database


def _checked_revision(connection: Connection) -> str | None:
    """The revision. Raises ConfigError when the file is another program's database."""
    revision = _migrate.revision_of(connection)
    ours = connection.exec_driver_sql("PRAGMA application_id").scalar_one() == APPLICATION_ID
    if not ours and inspect(connection).get_table_names():
        raise ConfigError("the file is another program's database", hint="check the address of the store")
    return revision

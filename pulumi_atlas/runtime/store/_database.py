"""One SQLite file behind two doors: writes in line, several of a burst in one durable commit, and reads beside them.

Every commit is on disk before its callers are answered (`synchronous=FULL`). Reads see what was committed. Failures leave
as StoreUnavailable; the next call tries again with a fresh connection.

A transaction runs as a whole in the thread of its door. Statement by statement through the event loop (aiosqlite), a change
takes seventeen crossings between threads, and several times as long.

Failpoints: `store.commit` (all is written, nothing is committed), `store.committed` (nobody was answered yet).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os.path import samestat
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)

from pulumi_atlas import failpoints
from pulumi_atlas.runtime.store._failures import mapped
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["Database", "Work"]

T = TypeVar("T")
#: What is done in a transaction, in a thread: it must not touch what belongs to the event loop.
Work = Callable[[Connection], T]
#: A value, or why there is none.
Outcome = tuple[Any, BaseException | None]

#: The most writes that share one commit. Each waits for all of them, so not too many.
_TOGETHER = 64
_READERS = 4
_JOURNAL_LIMIT = 64 << 20


class Database:
    """An open SQLite file. Belongs to one event loop. `guard` is asked before each commit; what it raises undoes the writes."""

    def __init__(self, path: Path, *, guard: Callable[[], None], busy_timeout_s: float) -> None:
        self._path, self._guard = path, guard
        self._file = path.stat()
        self._writer = _engine(path, busy_timeout_s, writes=True)
        self._reader = _engine(path, busy_timeout_s, writes=False)
        self._writing = ThreadPoolExecutor(1, "atlas-store-write")
        self._reading = ThreadPoolExecutor(_READERS, "atlas-store-read")
        self._line: deque[tuple[Work[Any], asyncio.Future[Any]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction of its own, or in one with others, undone alone when it raises. A caller that is
        cancelled leaves it running: it happens whole or not at all."""
        self._check_open()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._line.append((work, answer))
        if self._task is None:
            self._task = asyncio.ensure_future(self._write_line())
        return await answer

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads: one statement sees one state."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, work)

    async def aclose(self) -> None:
        """Finish what is in line, then close. Safe to repeat."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        self._writing.shutdown()
        self._reading.shutdown()
        self._reader.dispose()
        self._writer.dispose()  # the last one: it moves the journal into the file

    async def _write_line(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._line:
                batch = [self._line.popleft() for _ in range(min(len(self._line), _TOGETHER))]
                works = [work for work, _ in batch]
                outcomes = await loop.run_in_executor(self._writing, self._batch, works)
                for (_, answer), outcome in zip(batch, outcomes, strict=True):
                    _settle(answer, outcome)
        finally:
            self._task = None

    # -- in a thread

    def _read(self, work: Work[T]) -> T:
        self._check_file()
        with mapped(self._path), self._reader.connect() as connection:
            return work(connection)

    def _batch(self, works: list[Work[Any]]) -> list[Outcome]:
        """One transaction. Whoever failed alone is told alone; a failure of the database is everybody's."""
        try:
            with mapped(self._path), self._transaction() as connection:
                alone = len(works) == 1
                return [_attempt(connection, work, alone=alone) for work in works]
        except BaseException as error:  # noqa: BLE001 (the callers get it)
            return [(None, error)] * len(works)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._writer.connect() as connection:
            try:
                with connection.begin():
                    yield connection
                    self._check_file()
                    self._guard()
                    failpoints.reach("store.commit")
            except (SQLAlchemyError, sqlite3.Error):
                connection.invalidate()  # whatever state it is in, the next one is fresh
                raise
        failpoints.reach("store.committed")

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"the store {self._path} is closed")

    def _check_file(self) -> None:
        """SQLite would go on with a file that was removed or replaced, and all would be lost at its end."""
        try:
            there = self._path.stat()
        except OSError:
            raise StoreUnavailable(
                f"the store {self._path} is not there any more", hint="put the file back, or restart the companion"
            ) from None
        if not samestat(there, self._file):
            raise StoreUnavailable(
                f"the store {self._path} was replaced by another file", hint="restart the companion to use that one"
            )


def _attempt(connection: Connection, work: Work[Any], *, alone: bool) -> Outcome:
    """Its result or its own failure. Among others it is undone alone; failures of the database pass."""
    if alone:
        return _run(connection, work), None
    failure: DBAPIError | None = None
    try:
        with connection.begin_nested():
            try:
                return _run(connection, work), None
            except DBAPIError as error:
                failure = error
                raise
    except SQLAlchemyError as error:  # a transaction that SQLite gave up has no savepoint to go back to
        raise (failure or error) from None
    except Exception as error:  # noqa: BLE001 (its caller gets it)
        return None, error


def _run(connection: Connection, work: Work[T]) -> T:
    """What is wrong with the values themselves is a ValueError, of this work alone."""
    try:
        return work(connection)
    except StatementError as error:
        if isinstance(error, (OperationalError, InternalError)) or type(error) is DatabaseError:
            raise
        raise ValueError(f"the store cannot hold such a value: {error.orig}") from None


def _settle(answer: asyncio.Future[Any], outcome: Outcome) -> None:
    value, error = outcome
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)


def _engine(path: Path, busy_timeout_s: float, *, writes: bool) -> Engine:
    """`mode=rw`: a file that went is not made anew."""
    url = URL.create("sqlite+pysqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
    engine = create_engine(
        url,
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_size=1 if writes else _READERS,
        max_overflow=0,
        pool_reset_on_return=None,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_writer if writes else _prepare_reader)
    if writes:
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare_writer(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us alone
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA journal_size_limit={_JOURNAL_LIMIT}")
    if mode != "wal":
        raise StoreUnavailable("the file system of the store cannot share memory (WAL), as network file systems cannot")


def _prepare_reader(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

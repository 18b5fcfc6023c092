"""One SQLite file behind two doors: writes in line, several of a burst in one durable commit, and reads beside them.

Every commit is on disk before its callers are answered (`synchronous=FULL`). Reads see what was committed. Failures leave
as StoreUnavailable; the next call tries again with a fresh connection.

Failpoints: `store.commit` (all is written, nothing is committed), `store.committed` (nobody was answered yet).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pulumi_atlas import failpoints
from pulumi_atlas.runtime.store._failures import mapped
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["Database", "Work"]

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

#: The most writes that share one commit. Each waits for all of them, so not too many.
_TOGETHER = 64
_READERS = 4
_JOURNAL_LIMIT = 64 << 20


class Database:
    """An open SQLite file. Belongs to one event loop. `guard` is asked before each commit; what it raises undoes the writes."""

    def __init__(self, path: Path, *, guard: Callable[[], None], busy_timeout_s: float) -> None:
        self._path, self._guard = path, guard
        self._writer = _engine(path, busy_timeout_s, writes=True)
        self._readers = _engine(path, busy_timeout_s, writes=False)
        self._line: deque[tuple[Work[Any], asyncio.Future[Any]]] = deque()
        self._working: asyncio.Task[None] | None = None
        self._closed = False
        self._file = path.stat()

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction of its own, or in one with others, undone alone when it raises. A caller that is
        cancelled leaves it running: it happens whole or not at all."""
        self._check_open()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_looked_at)
        self._line.append((work, answer))
        if self._working is None:
            self._working = asyncio.ensure_future(self._work())
        return await asyncio.shield(answer)

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads: one statement sees one state."""
        self._check_open()
        self._check_file()
        with mapped(self._path):
            async with self._readers.connect() as connection:
                return await work(connection)

    async def aclose(self) -> None:
        """Finish what is in line, then close. Safe to repeat."""
        self._closed = True
        if self._working is not None:
            await asyncio.wait([self._working])
        await self._writer.dispose()
        await self._readers.dispose()

    async def _work(self) -> None:
        try:
            while self._line:
                batch = [self._line.popleft() for _ in range(min(len(self._line), _TOGETHER))]
                await self._batch(batch)
        finally:
            self._working = None
            for _, answer in self._line:  # only when this task was cancelled
                answer.cancel()
            self._line.clear()

    async def _batch(self, batch: list[tuple[Work[Any], asyncio.Future[Any]]]) -> None:
        """One transaction. Whoever failed alone is told alone; a failure of the database is everybody's."""
        outcomes: list[tuple[asyncio.Future[Any], Any, Exception | None]] = []
        try:
            with mapped(self._path):
                async with self._transaction() as connection:
                    for work, answer in batch:
                        outcomes.append((answer, *await _attempt(connection, work, alone=len(batch) == 1)))
        except StoreUnavailable as failure:
            outcomes = [(answer, None, failure) for _, answer in batch]
        except Exception as error:  # noqa: BLE001 (the callers get it)
            outcomes = [(answer, None, error) for _, answer in batch]
        except BaseException:
            for _, answer in batch:
                answer.cancel()
            raise
        for outcome in outcomes:
            _settle(*outcome)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._writer.connect() as connection:
            try:
                async with connection.begin():
                    yield connection
                    self._check_file()
                    self._guard()
                    failpoints.reach("store.commit")
            except (SQLAlchemyError, sqlite3.Error) as error:
                if not isinstance(error, IntegrityError):
                    await connection.invalidate()  # whatever state it is in, the next one is fresh
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
        if not os.path.samestat(there, self._file):
            raise StoreUnavailable(
                f"the store {self._path} was replaced by another file", hint="restart the companion to use that one"
            )


async def _attempt(connection: AsyncConnection, work: Work[Any], *, alone: bool) -> tuple[Any, Exception | None]:
    """Its result or its own failure. Among others it is undone alone; failures of the database pass."""
    if alone:
        return await work(connection), None
    try:
        async with connection.begin_nested():
            return await work(connection), None
    except (SQLAlchemyError, sqlite3.Error):
        raise
    except Exception as error:  # noqa: BLE001 (its caller gets it)
        return None, error


def _settle(answer: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)


def _looked_at(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()  # its caller may have been cancelled


def _engine(path: Path, busy_timeout_s: float, *, writes: bool) -> AsyncEngine:
    """`mode=rw`: a file that went is not made anew."""
    url = URL.create("sqlite+aiosqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
    engine = create_async_engine(
        url,
        connect_args={"timeout": busy_timeout_s},
        pool_size=1 if writes else _READERS,
        max_overflow=0,
        pool_reset_on_return=None,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _prepare_writer if writes else _prepare_reader)
    if writes:
        event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _prepare_writer(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us alone
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    (mode,) = cursor.fetchone()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA journal_size_limit={_JOURNAL_LIMIT}")
    cursor.close()
    if mode != "wal":
        raise StoreUnavailable("the file system of the store cannot share memory (WAL), as network file systems cannot")


def _prepare_reader(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

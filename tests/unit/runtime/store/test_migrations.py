"""The schema over time: steps run with live rows, whole or not at all, and never backwards."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import fields
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event
from store_kit import NOW, a_full_session, a_session, an_event

from pulumi_atlas.errors import ConfigError
from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.runtime.store import _migrate, open_for_tools, open_store
from pulumi_atlas.runtime.store._rows import session_row
from pulumi_atlas.runtime.store._schema import metadata, sessions
from pulumi_atlas.runtime.store.contract import AccessKey, Answered, BirthNote, StoreBusy
from pulumi_atlas.runtime.store.sqlite import APPLICATION_ID


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "atlas.db"


def engine_of(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _no_implicit_transactions(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: object) -> None:
        connection.exec_driver_sql("BEGIN")  # type: ignore[attr-defined]

    return engine


def make_at(path: Path, revision: str, live: int) -> None:
    """A store as a version of that revision left it, with live sessions and one event."""
    engine = engine_of(path)
    with engine.begin() as connection:
        _migrate.migrate(connection, to=revision)
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        place = (str(path), str(path.stat().st_ino))
        connection.exec_driver_sql(
            "INSERT INTO meta (id, deployment_id, name, created_at, machine, path, inode, restored, last_event) "
            "VALUES (1, 'dep', 'tests', 1.0, ?, ?, ?, '', 1)",
            (_machine(), *place),
        )
        for n in range(live):
            connection.execute(sessions.insert(), session_row(a_session(f"s{n}")))
        connection.execute(sessions.insert(), session_row(a_full_session()))
        connection.exec_driver_sql("INSERT INTO events VALUES (1, 1.0, 's0', 'status', 'a', 'c', '{}', NULL)")
    engine.dispose()


def _machine() -> str:
    from pulumi_atlas.runtime.store._place import machine_name

    return machine_name()


def indexes(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return {
            name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql > ''")
        }


@pytest.mark.anyio
async def test_a_store_of_the_first_revision_comes_to_the_newest_with_its_live_sessions(path: Path) -> None:
    make_at(path, "1", live=500)
    assert not indexes(path)
    store = open_store(f"sqlite:///{path}")
    custody = await store.open(name="tests", now=NOW)
    try:
        assert (custody.deployment_id, custody.frozen) == ("dep", "")
        found = {session.id: session async for session in store.live()}
        assert found == {f"s{n}": a_session(f"s{n}") for n in range(500)} | {"full": a_full_session()}
        changed, events = await store.change("full", 7, {"reason": "after"}, [an_event("full")])
        assert (changed.version, events[0].number) == (8, 2)
    finally:
        await store.aclose()
    assert "sessions_live" in indexes(path)


@pytest.mark.anyio
async def test_a_newer_schema_is_refused_with_a_sentence_and_left_as_it_is(path: Path) -> None:
    make_at(path, "head", live=1)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '99'")
    for opened in (open_store(f"sqlite:///{path}"), open_for_tools(f"sqlite:///{path}")):
        with pytest.raises(ConfigError, match="newer version \\(schema 99, this version knows up to 3\\)"):
            await opened.open(name="tests", now=NOW)
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("99",)]


@pytest.mark.anyio
async def test_a_step_that_fails_leaves_the_store_at_its_old_revision(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_at(path, "1", live=3)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE deliveries_due (x)")  # in the way of the last index of the step
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(Exception, match="store"):
        await store.open(name="tests", now=NOW)
    assert not indexes(path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("1",)]
        database.execute("DROP TABLE deliveries_due")
    await store.open(name="tests", now=NOW)
    assert len([one async for one in store.live()]) == 4
    await store.aclose()


@pytest.mark.anyio
async def test_a_tool_does_not_migrate_below_a_running_companion(path: Path) -> None:
    companion = open_store(f"sqlite:///{path}")
    await companion.open(name="tests", now=NOW)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '1'")  # as if the companion were an old version
    with pytest.raises(StoreBusy) as busy:
        await open_for_tools(f"sqlite:///{path}").open(name="", now=NOW)
    assert "brought to this version" in busy.value.hint or "stop that companion" in busy.value.hint
    await companion.aclose()


def test_the_steps_end_where_the_schema_is(path: Path) -> None:
    engine = engine_of(path)
    with engine.begin() as connection:
        _migrate.migrate(connection)
        assert _migrate.revision_of(connection) == _migrate.head()
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        made = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql > ''").all())
    engine.dispose()
    other = engine_of(path.with_name("direct.db"))
    with other.begin() as connection:
        metadata.create_all(connection)
        direct = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql > ''").all())
    other.dispose()
    del made["alembic_version"]
    assert {name: _plain(sql) for name, sql in made.items()} == {name: _plain(sql) for name, sql in direct.items()}


def _plain(sql: str) -> str:
    return " ".join(sql.split())


def test_every_field_has_its_column() -> None:
    for kind, table in (
        (Session, "sessions"),
        (SessionEvent, "events"),
        (BirthNote, "births"),
        (AccessKey, "api_keys"),
        (Answered, "answers"),
    ):
        names = {one.name for one in fields(kind)}
        assert set(metadata.tables[table].columns.keys()) - {"seq"} == names


def test_the_start_reads_live_sessions_by_their_own_index(path: Path) -> None:
    """Among many that are final, a start does not look at those."""
    from sqlalchemy import select

    from pulumi_atlas.runtime.store._schema import LIVE

    engine = engine_of(path)
    with engine.begin() as connection:
        _migrate.migrate(connection)
        statement = select(sessions.c.id).where(LIVE, sessions.c.seq > 5).order_by(sessions.c.seq).limit(10)
        text = str(statement.compile(engine, compile_kwargs={"literal_binds": True}))
        plan = " ".join(str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
    engine.dispose()
    assert "sessions_live" in plan

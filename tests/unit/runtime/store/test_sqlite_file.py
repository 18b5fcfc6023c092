"""The SQLite store as a file: its address, who can read it, full disks, damage, removal, copies, secrets."""

# ruff: noqa: ASYNC240
from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from store_kit import NOW, a_full_session, a_key, a_session, an_event, in_another_process

from pulumi_atlas.errors import ConfigError
from pulumi_atlas.runtime.store import open_for_tools, open_store, store_path
from pulumi_atlas.runtime.store.contract import Store, StoreUnavailable, TouchRow
from pulumi_atlas.runtime.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

FILL_A_SMALL_DISK = """
import asyncio, resource, sys
from store_kit import NOW, a_session, an_event
from pulumi_atlas.runtime.store import open_store
from pulumi_atlas.runtime.store.contract import StoreUnavailable, TouchRow

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    store = open_store(sys.argv[1])
    await store.open(name="tests", now=NOW)
    await store.add(a_session(), [an_event()])
    limit(400_000)
    written = 0
    try:
        for version in range(1_000):
            await store.change("s1", version, {"reason": str(version)}, [an_event(data={"x": "y" * 10_000})])
            written += 1
    except StoreUnavailable as error:
        print("full:", error.one_line())
    for _ in range(3):
        try:
            await store.change("s1", written, {"state": "terminating"}, [an_event(data={"x": "y" * 10_000})])
            print("written on a full disk")
        except StoreUnavailable:
            pass
    session = await store.get("s1")
    assert (session.version, session.state) == (written, "ready"), session
    assert (await store.event_range())[1] == written + 1
    limit(resource.RLIM_INFINITY)
    await store.change("s1", written, {"reason": "room"}, [an_event()])
    await store.flush([TouchRow("s1", NOW + 1, "http", 1)], now=NOW)
    session = await store.get("s1")
    assert (session.version, session.reason, session.touches) == (written + 1, "room", 1), session
    print("goes on after", written > 5)
    await store.aclose()

asyncio.run(main())
"""


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "atlas.db"


@contextlib.asynccontextmanager
async def opened(store: Store, name: str = "tests") -> AsyncIterator[Store]:
    await store.open(name=name, now=NOW)
    try:
        yield store
    finally:
        await store.aclose()


# -- addresses


def test_a_path_is_relative_to_the_working_folder_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_path("sqlite:///a/b.db") == tmp_path.resolve() / "a" / "b.db"
    assert store_path("sqlite:////srv/b.db") == Path("/srv/b.db")
    assert store_path("sqlite:///with %20 and ünï.db").name == "with %20 and ünï.db"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://db/atlas", "PostgreSQL"),
        ("postgresql+psycopg://db/atlas", "PostgreSQL"),
        ("postgres://db/atlas", "PostgreSQL"),
        ("mysql://db/atlas", "not understood"),
        ("atlas.db", "not understood"),
        ("/srv/atlas.db", "not understood"),
        ("", "not understood"),
        ("sqlite://atlas.db", "not understood"),
        ("sqlite://", "not understood"),
        ("sqlite:///", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite:///:memory:", "forget"),
        ("sqlite:///file:x", "forget"),
        ("sqlite:///a.db?mode=ro", "options"),
    ],
)
def test_other_addresses_are_refused_with_a_way_out(url: str, said: str) -> None:
    for function in (open_store, open_for_tools, store_path):
        with pytest.raises(ConfigError, match=said) as refused:
            function(url)
        assert "sqlite:///PATH" in refused.value.hint


def test_a_refused_address_tells_no_password() -> None:
    with pytest.raises(ConfigError) as refused:
        open_store("postgresql://user:hunter2@db/atlas")
    assert "hunter2" not in refused.value.one_line()


async def test_any_name_of_a_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    strange = tmp_path / "a b%41#ü" / "st%6Fre #1.db"
    async with opened(open_store(url_of(strange))) as store:
        await store.add(a_session(), [])
    assert strange.is_file()
    assert {one.name for one in tmp_path.iterdir()} >= {"a b%41#ü"}


# -- who can read it


async def test_only_its_owner_can_read_what_was_made(tmp_path: Path, path: Path) -> None:
    before = os.umask(0)
    try:
        async with opened(open_store(url_of(path))) as store:
            await store.add(a_session(), [an_event()])
            made = sorted(one.name for one in path.parent.iterdir())
            assert made == ["atlas.db", "atlas.db-shm", "atlas.db-wal", "atlas.db.lock"]
            for one in path.parent.iterdir():
                assert stat.S_IMODE(one.stat().st_mode) == 0o600, one
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_folder_that_is_there_keeps_its_mode(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    path.parent.chmod(0o755)
    async with opened(open_store(url_of(path))):
        pass
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


async def test_a_folder_that_cannot_be_made_is_an_unavailable_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file"):
        await open_store(url_of(tmp_path / "file" / "atlas.db")).open(name="tests", now=NOW)


# -- durability of each commit


async def test_commits_are_synced_in_a_write_ahead_log(path: Path) -> None:
    async with opened(SqliteStore(path)) as store:
        assert isinstance(store, SqliteStore)
        asked = ("journal_mode", "synchronous", "busy_timeout")
        for name, wanted in zip(asked, ("wal", 2, 5000), strict=True):
            found = await store._write(
                lambda connection, n=name: connection.exec_driver_sql(f"PRAGMA {n}").scalar_one()
            )  # type: ignore[misc]
            assert found == wanted, name
        with pytest.raises(StoreUnavailable):  # what reads cannot write
            await store._read(lambda connection: connection.exec_driver_sql("DELETE FROM sessions"))


async def test_a_write_has_the_store_for_itself_from_its_first_statement(path: Path) -> None:
    """What it reads before it writes cannot change in between."""
    async with opened(SqliteStore(path)) as store:
        assert isinstance(store, SqliteStore)

        def work(connection: Connection) -> None:
            connection.exec_driver_sql("SELECT count(*) FROM sessions").scalar_one()
            other = sqlite3.connect(path, isolation_level=None, timeout=0)
            with contextlib.closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")

        await store._write(work)


# -- failures


def test_on_a_full_disk_nothing_is_half_written_and_it_goes_on_when_there_is_room(path: Path) -> None:
    process = in_another_process(FILL_A_SMALL_DISK, url_of(path))
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    full, goes_on = out.strip().splitlines()
    assert full.startswith("full: [atlas] provider: ")
    assert str(path) in full
    assert goes_on == "goes on after True"


async def test_no_space_left_is_said_as_such(path: Path) -> None:
    async with opened(SqliteStore(path)) as store:
        assert isinstance(store, SqliteStore)
        await store.add(a_session(), [])
        await store._write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1").scalar_one())
        big = an_event(data={"x": "y" * 100_000})
        many = [store.change("s1", 0, {"reason": "x"}, [big]), store.note([an_event()]), store.note([big])]
        for outcome in await asyncio.gather(*many, return_exceptions=True):
            assert isinstance(outcome, StoreUnavailable)
            assert "no space left" in outcome.message
            assert "free some space" in outcome.hint
        # the limit belonged to the connection that failed: the next one is fresh
        changed, events = await store.change("s1", 0, {"reason": "x"}, [big])
        assert (changed.version, [one.number for one in events]) == (1, [1])


async def test_a_store_that_another_process_keeps_locked_is_unavailable_until_it_lets_go(path: Path) -> None:
    store = SqliteStore(path, busy_timeout_s=0.05)
    async with opened(store):
        await store.add(a_session(), [])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match=r"keeps the store .* locked"):
                await store.change("s1", 0, {"reason": "x"})
            assert await store.get("s1") == a_session()  # reading goes on
            other.execute("ROLLBACK")
        changed, _ = await store.change("s1", 0, {"reason": "x"})
        assert changed.version == 1


async def test_a_removed_file_makes_all_unavailable_until_it_is_back(path: Path) -> None:
    async with opened(open_store(url_of(path))) as store:
        await store.add(a_session(), [])
        aside = path.with_name("aside")
        path.rename(aside)
        store._database._writer.dispose()  # type: ignore[attr-defined]  # the next write connects anew
        for work in (store.get("s1"), store.change("s1", 0, {}), store.flush([], now=NOW), store.custody()):
            with pytest.raises(StoreUnavailable, match=r"not there any more|cannot be opened"):
                await work
        assert not path.exists()  # and nobody made another one
        aside.rename(path)
        changed, _ = await store.change("s1", 0, {})
        assert changed.version == 1


async def test_a_replaced_file_is_not_written_and_not_read(path: Path) -> None:
    async with opened(open_store(url_of(path))) as store:
        await store.add(a_session(), [])
        other = path.with_name("other")
        shutil.copy(path, other)
        aside = path.with_name("aside")
        path.rename(aside)
        other.rename(path)
        for work in (store.get("s1"), store.change("s1", 0, {})):
            with pytest.raises(StoreUnavailable, match="replaced"):
                await work
        path.unlink()
        aside.rename(path)
        assert await store.get("s1") == a_session()


@pytest.mark.parametrize("content", [b"this is no database " * 400, b"SQLite format 3\0" + b"\xff" * 8_000])
async def test_what_is_no_database_is_refused_and_left_as_it_was(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match=r"is not a store, or it is damaged|is damaged|does not answer"):
        await open_store(url_of(path)).open(name="tests", now=NOW)
    assert path.read_bytes() == content


async def test_a_database_that_is_damaged_while_it_is_used_is_unavailable(path: Path) -> None:
    async with opened(open_store(url_of(path))) as store:
        await asyncio.gather(*(store.add(a_full_session(f"s{n}"), []) for n in range(200)))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))
    with pytest.raises(StoreUnavailable, match="damaged"):
        async with opened(open_store(url_of(path))) as store:
            _ = [one async for one in store.live()]


async def test_another_programs_database_is_refused_and_left_as_it_was(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE sessions (id)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program"):
        await open_store(url_of(path)).open(name="tests", now=NOW)
    assert path.read_bytes() == before


async def test_failures_tell_no_values(path: Path) -> None:
    async with opened(SqliteStore(path, busy_timeout_s=0.0)) as store:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable) as failure:
                await store.add_key(a_key("id", hash="planted-secret"))
        told: BaseException | None = failure.value
        while told is not None:
            assert "planted-secret" not in str(told) + repr(told)
            told = told.__cause__ or told.__context__


# -- custody


async def custody_of(path: Path, name: str = "tests") -> str:
    async with opened(open_store(url_of(path)), name) as store:
        return (await store.custody()).frozen


async def test_a_copied_file_is_frozen_until_it_is_confirmed(path: Path, tmp_path: Path) -> None:
    async with opened(open_store(url_of(path))):
        pass
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    assert str(path) in await custody_of(copy)
    assert str(path) in await custody_of(copy), "opening it confirms nothing"
    assert await custody_of(path) == ""
    async with opened(open_store(url_of(copy))) as store:
        assert (await store.confirm(now=NOW)).frozen == ""
    assert await custody_of(copy) == ""


async def test_a_copy_over_the_same_path_is_frozen(path: Path) -> None:
    async with opened(open_store(url_of(path))):
        pass
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.rename(path)
    assert "another one" in await custody_of(path)


async def test_a_moved_file_is_frozen(path: Path, tmp_path: Path) -> None:
    async with opened(open_store(url_of(path))):
        pass
    path.rename(tmp_path / "moved.db")
    assert str(path) in await custody_of(tmp_path / "moved.db")


async def test_another_machine_is_frozen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(open_store(url_of(path))):
        pass
    monkeypatch.setattr("pulumi_atlas.runtime.store._place.machine_name", lambda: "host:other")
    assert "another machine" in await custody_of(path)


async def test_a_symbolic_link_is_the_store_it_leads_to(path: Path, tmp_path: Path) -> None:
    async with opened(open_store(url_of(path))):
        pass
    link = tmp_path / "link.db"
    link.symlink_to(path)
    assert await custody_of(link) == ""


async def test_an_operators_confirmation_is_seen_by_a_running_companion(path: Path) -> None:
    async with opened(open_store(url_of(path))):
        pass
    moved = path.with_name("moved.db")
    path.rename(moved)
    async with opened(open_store(url_of(moved))) as companion:
        assert (await companion.custody()).frozen
        async with opened(open_for_tools(url_of(moved)), "") as tool:
            await tool.confirm(now=NOW)
        assert (await companion.custody()).frozen == ""


def test_the_name_of_a_machine_does_not_tell_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pulumi_atlas.runtime.store import _place

    ident = tmp_path / "machine-id"
    monkeypatch.setattr(_place, "_MACHINE_ID", ident)
    assert _place.machine_name() == f"host:{_place.host_name()}"
    ident.write_text("0123456789abcdef0123456789abcdef\n")
    name = _place.machine_name()
    assert name.startswith("id:")
    assert "0123456789" not in name
    ident.write_text("another\n")
    assert _place.machine_name() != name
    ident.write_text("\n")
    assert _place.machine_name().startswith("host:")


# -- no secrets


async def test_a_touch_of_one_session_is_on_disk_without_secrets(path: Path) -> None:
    """Hashes and what is sealed are all there is: the store writes what it is given and nothing else."""
    async with opened(open_store(url_of(path))) as store:
        await store.add(a_full_session("s1"), [])
        await store.change("s1", 7, {"sealed_env": None})
        await store.flush([TouchRow("s1", NOW, "http", 1)], now=NOW)
    with contextlib.closing(sqlite3.connect(path)) as database:
        dump = "\n".join(database.iterdump())
    assert "sealed" not in dump.replace("sealed_env", "")

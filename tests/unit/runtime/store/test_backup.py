"""The drill: back up a store in use, lose it, bring it back, and nothing is ended before somebody confirms it."""

# ruff: noqa: ASYNC240
from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from store_kit import NOW, a_full_session, a_session, an_event

from atlas_session.keys import KeyRing
from pulumi_atlas.errors import ConfigError
from pulumi_atlas.runtime.store import open_store
from pulumi_atlas.runtime.store.backup import backup, keyring_path, restore, verify
from pulumi_atlas.runtime.store.contract import Store, StoreBusy, StoreUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'live' / 'atlas.db'}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "monday"


async def opened(url: str, name: str = "tests") -> Store:
    store = open_store(url)
    await store.open(name=name, now=NOW)
    return store


async def made(url: str, folder: Path, ring: KeyRing | None = None) -> None:
    """A backup of a store with one session."""
    store = await opened(url)
    await store.add(a_full_session(), [an_event("full")])
    await store.aclose()
    if ring is not None:
        keyring_path(Path(url.removeprefix("sqlite:///"))).write_text(ring.to_json())
    backup(url, folder, now=NOW)


async def test_the_drill(url: str, folder: Path, tmp_path: Path) -> None:
    ring = KeyRing.new()
    keys = keyring_path(tmp_path / "live" / "atlas.db")
    store = await opened(url)
    deployment = (await store.custody()).deployment_id
    keys.write_text(ring.to_json())
    for n in range(30):
        await store.add(a_session(f"s{n}"), [an_event(f"s{n}")])

    async def go_on() -> None:
        for n in range(30):
            await store.change(f"s{n}", 0, {"reason": "meanwhile"}, [an_event(f"s{n}")])

    made, _ = await asyncio.gather(asyncio.to_thread(backup, url, folder, now=NOW), go_on())
    assert (made.deployment_id, made.name, made.sessions, made.live, made.made_at) == (deployment, "tests", 30, 30, NOW)
    assert 30 <= made.last_event <= 60
    await store.aclose()
    shutil.rmtree(tmp_path / "live")

    assert verify(folder) == made
    done = restore(folder, url)
    assert (done.store, done.moved_aside) == (tmp_path / "live" / "atlas.db", ())
    assert KeyRing.from_json(keys.read_text()) == ring
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert stat.S_IMODE(done.store.stat().st_mode) == 0o600
    back = await opened(url)
    custody = await back.custody()
    assert custody.deployment_id == deployment
    assert "it comes from a backup of 2027-01-15 08:00:00 UTC" in custody.frozen
    changed = [one async for one in back.live() if one.reason == "meanwhile"]
    assert (await back.event_range())[1] == made.last_event == 30 + len(changed)  # one moment, in which all agrees
    assert (await back.confirm(now=NOW)).frozen == ""
    await back.aclose()
    again = await opened(url)
    assert (await again.custody()).frozen == ""
    await again.aclose()


async def test_a_backup_is_for_its_owner_only(url: str, folder: Path) -> None:
    await made(url, folder, KeyRing.new())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {one.name for one in folder.iterdir()} == {"store.db", "keys.json", "backup.json"}
    for one in folder.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o600, one
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


async def test_a_store_without_keys_is_backed_up_without(url: str, folder: Path) -> None:
    await made(url, folder)
    assert set(verify(folder).sums) == {"store.db"}


async def test_a_backup_that_is_copied_by_hand_is_frozen_as_well(url: str, folder: Path, tmp_path: Path) -> None:
    """Even over the very file that it was made of, where path, inode and machine agree."""
    await made(url, folder)
    live = tmp_path / "live" / "atlas.db"
    inode = live.stat().st_ino
    live.write_bytes((folder / "store.db").read_bytes())
    assert live.stat().st_ino == inode
    store = await opened(url)
    assert "backup" in (await store.custody()).frozen
    await store.aclose()


async def test_making_a_backup_freezes_nothing(url: str, folder: Path) -> None:
    store = await opened(url)
    await asyncio.to_thread(backup, url, folder)
    assert (await store.custody()).frozen == ""
    await store.add(a_session(), [])
    await store.aclose()


async def test_nothing_is_overwritten_unless_forced_and_then_moved_aside(
    url: str, folder: Path, tmp_path: Path
) -> None:
    await made(url, folder, KeyRing.new())
    store = await opened(url)
    await store.add(a_session("newer"), [])
    await store.aclose()
    before = (tmp_path / "live" / "atlas.db").read_bytes()
    with pytest.raises(ConfigError, match="already"):
        restore(folder, url, now=NOW)
    assert (tmp_path / "live" / "atlas.db").read_bytes() == before
    done = restore(folder, url, force=True, now=NOW)
    aside = tmp_path / "live" / "atlas.db.replaced-20270115T080000Z"
    assert set(done.moved_aside) == {aside, keyring_path(aside)}
    assert aside.read_bytes() == before
    store = await opened(url)
    assert await store.get("newer") is None
    await store.aclose()
    old = await opened(f"sqlite:///{aside}")
    assert await old.get("newer") is not None
    await old.aclose()


async def test_keys_alone_are_not_overwritten_either(url: str, folder: Path, tmp_path: Path) -> None:
    await made(url, folder, KeyRing.new())
    other = KeyRing.new().to_json()
    (tmp_path / "live" / "atlas.db").unlink()
    keyring_path(tmp_path / "live" / "atlas.db").write_text(other)
    with pytest.raises(ConfigError, match="already"):
        restore(folder, url)
    assert keyring_path(tmp_path / "live" / "atlas.db").read_text() == other


async def test_a_journal_that_was_left_behind_does_not_get_into_the_restored_store(
    url: str, folder: Path, tmp_path: Path
) -> None:
    await made(url, folder)
    live = tmp_path / "live" / "atlas.db"
    store = await opened(url)
    await store.add(a_session("in-the-journal"), [])
    journal = live.with_name("atlas.db-wal").read_bytes()
    await store.aclose()
    assert journal
    live.unlink()
    live.with_name("atlas.db-wal").write_bytes(journal)
    restore(folder, url, force=True)
    back = await opened(url)
    assert [one.id async for one in back.live()] == ["full"]
    await back.aclose()


async def test_below_a_running_companion_nothing_is_restored(url: str, folder: Path) -> None:
    await made(url, folder)
    store = await opened(url)
    with pytest.raises(StoreBusy):
        restore(folder, url, force=True)
    assert await store.get("full") == a_full_session()
    await store.aclose()
    restore(folder, url, force=True)


async def test_a_damaged_backup_is_told_and_not_restored(url: str, folder: Path, tmp_path: Path) -> None:
    await made(url, folder, KeyRing.new())
    says = json.loads((folder / "backup.json").read_text())
    whole = {one.name: one.read_bytes() for one in folder.iterdir()}

    def refused(said: str) -> None:
        with pytest.raises((ConfigError, StoreUnavailable), match=said):
            verify(folder)
        with pytest.raises((ConfigError, StoreUnavailable), match=said):
            restore(folder, f"sqlite:///{tmp_path / 'new' / 'atlas.db'}")
        assert not (tmp_path / "new" / "atlas.db").exists()
        for name, content in whole.items():
            (folder / name).write_bytes(content)

    (folder / "store.db").write_bytes(whole["store.db"][:-1])
    refused("is not the file that was backed up")
    (folder / "keys.json").unlink()
    refused("is not the file that was backed up")
    (folder / "backup.json").write_text("{}")
    refused("is no backup")
    (folder / "backup.json").unlink()
    refused("is no backup")
    (folder / "backup.json").write_text(json.dumps({**says, "revision": "99"}))
    refused("newer version")
    (folder / "backup.json").write_text(json.dumps({**says, "sums": {}}))
    refused("is no backup")
    assert verify(folder).sessions == 1


async def test_a_damaged_database_with_the_right_sum_is_told(url: str, folder: Path) -> None:
    import hashlib

    await made(url, folder)
    content = bytearray((folder / "store.db").read_bytes())
    content[4096:8192] = b"\xff" * 4096
    (folder / "store.db").write_bytes(content)
    says = json.loads((folder / "backup.json").read_text())
    says["sums"]["store.db"] = hashlib.sha256(content).hexdigest()
    (folder / "backup.json").write_text(json.dumps(says))
    with pytest.raises((ConfigError, StoreUnavailable), match="damaged"):
        verify(folder)


async def test_what_is_no_store_is_not_backed_up(url: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no store"):
        backup(url, folder)
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other, other:
        other.execute("CREATE TABLE x (y)")
    with pytest.raises(ConfigError, match="no store of a companion"):
        backup(f"sqlite:///{tmp_path / 'other.db'}", folder)
    (tmp_path / "text.db").write_text("x" * 5000)
    with pytest.raises(StoreUnavailable, match="not a store"):
        backup(f"sqlite:///{tmp_path / 'text.db'}", folder)
    assert not folder.exists()
    assert not list(folder.parent.glob("*")) if folder.parent.exists() else True


async def test_a_backup_never_takes_the_place_of_another_one(url: str, folder: Path) -> None:
    await made(url, folder)
    before = (folder / "backup.json").read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        backup(url, folder)
    assert (folder / "backup.json").read_bytes() == before
    empty = folder.with_name("empty")
    empty.mkdir()
    backup(url, empty)
    assert verify(empty).sessions == 1


async def test_a_disk_that_fails_leaves_no_half_backup(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opened(url)
    await store.aclose()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pulumi_atlas.files.write_json", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        backup(url, folder)
    assert list(folder.parent.iterdir()) == []

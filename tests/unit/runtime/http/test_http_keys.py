"""API keys: made, listed, revoked; when a change of another process counts; what the first start makes."""

from __future__ import annotations

import asyncio
import logging
import stat
from pathlib import Path

import pytest
from http_kit import problem, run, staged

from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.first_key import admin_key_file, ensure_admin_key
from pulumi_atlas.runtime.http.keys import minted
from pulumi_atlas.runtime.http.known_keys import KnownKeys
from pulumi_atlas.testing.clock import SimulatedClock
from pulumi_atlas.testing.sessions import MemoryStore


def test_a_key_is_shown_once_and_works_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as admin:
            made = (await admin.post("/v1/keys", json={"scope": "read", "name": "dashboard"})).json()
            assert made["key"].startswith("atlas_")
            listed = await admin.get("/v1/keys")
            assert made["key"] not in listed.text and made["id"] in listed.text
            assert "hash" not in listed.text
            async with stage.client(made["key"]) as reader:
                assert (await reader.get("/v1/sessions")).status_code == 200
                revoked = await admin.delete(f"/v1/keys/{made['id']}")
                assert revoked.json()["revoked_at"] is not None
                problem(await reader.get("/v1/sessions"), 401)
            again = await admin.delete(f"/v1/keys/{made['id']}")
            assert again.json()["revoked_at"] == revoked.json()["revoked_at"]
            problem(await admin.delete("/v1/keys/k-nothing"), 404)

    run(work())


async def known(*, bounds: Bounds | None = None) -> tuple[KnownKeys, MemoryStore, SimulatedClock]:
    store, clock = MemoryStore(), SimulatedClock()
    await store.open(name="k", now=clock.now())
    return KnownKeys(store, clock, bounds or Bounds()), store, clock


def test_a_key_that_another_process_revoked_ends_within_the_bound() -> None:
    async def work() -> None:
        keys, store, clock = await known()
        key, _ = minted("read", "n", 0.0)
        await store.add_key(key)
        found = await keys.find(key.hash)
        assert found is not None and (found.role, found.ident, found.actor) == ("read", key.id, f"key:{key.id}")
        await store.revoke_key(key.id, now=0.0)
        assert await keys.find(key.hash) is not None
        await clock.advance(Bounds().keys_s)
        assert await clock.run(keys.find(key.hash)) is None

    run(work())


def test_a_key_that_another_process_made_is_found_though_somebody_guessed_just_before() -> None:
    async def work() -> None:
        keys, store, clock = await known()
        first, _ = minted("read", "n", 0.0)
        assert await keys.find(first.hash) is None
        await store.add_key(first)
        began = clock.monotonic()
        assert await clock.run(keys.find(first.hash)) is not None
        assert clock.monotonic() - began <= Bounds().keys_again_s

    run(work())


def test_guesses_do_not_make_the_store_be_read_more_often() -> None:
    class Counting(MemoryStore):
        reads = 0

        async def keys(self):  # type: ignore[no-untyped-def]
            self.reads += 1
            return await super().keys()

    async def work() -> None:
        store, clock = Counting(), SimulatedClock()
        await store.open(name="k", now=0.0)
        keys = KnownKeys(store, clock, Bounds())
        guesses = [asyncio.create_task(keys.find(f"{number:064x}")) for number in range(50)]
        await clock.advance(Bounds().keys_again_s * 3)
        assert all(guess.done() for guess in guesses)
        assert store.reads <= 3

    run(work())


def test_while_the_store_cannot_be_read_the_last_list_counts() -> None:
    async def work() -> None:
        keys, store, clock = await known()
        key, _ = minted("read", "n", 0.0)
        await store.add_key(key)
        assert await keys.find(key.hash) is not None
        store.fail()
        await clock.advance(60)
        assert await keys.find(key.hash) is not None

    run(work())


def test_before_the_first_reading_a_failing_store_is_no_401(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as admin:
            stage.store.fail()
            told = problem(await admin.get("/v1/status"), 503)
            assert told["type"] == "urn:atlas:problem:store-unavailable"

    run(work())


def test_the_first_start_makes_an_admin_key_and_says_only_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        caplog.set_level(logging.DEBUG)
        store = MemoryStore()
        await store.open(name="k", now=0.0)
        path = admin_key_file(tmp_path / "sessions.db")
        assert path.name == "sessions.db.admin-key"
        assert await ensure_admin_key(store, path, now=1.0)
        text = path.read_text().strip()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert str(path) in caplog.text and text not in caplog.text
        (key,) = await store.keys()
        assert key.scope == "admin"
        found = await KnownKeys(store, SimulatedClock(), Bounds()).find(key.hash)
        assert found is not None and found.role == "admin"
        assert not await ensure_admin_key(store, path, now=2.0)
        assert path.read_text().strip() == text

    run(work())

"""The other side of the contract: our own clients, heartbeats and guards against a companion that really listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from http_kit import Stage, run, staged

from atlas_session.companion import errors as told
from atlas_session.companion.aio import AsyncCompanionClient
from atlas_session.companion.sync import CompanionClient
from atlas_session.companion.values import Event
from atlas_session.guard._activity import Burst
from atlas_session.guard._gate import Gate
from atlas_session.guard._link import Link
from atlas_session.guard._settings import GuardSettings


@contextlib.asynccontextmanager
async def asking(stage: Stage, url: str, key: str = "backend", **options: float) -> AsyncIterator[AsyncCompanionClient]:
    async with AsyncCompanionClient(url, key=stage.keys.get(key, key), **options) as client:  # type: ignore[arg-type]
        yield client


def test_the_whole_life_as_the_async_client_sees_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url, asking(stage, url) as client:
            session = await client.open_session(template="notebook", owner="user-7", idempotency_key="k")
            again = await client.open_session(template="notebook", owner="user-7", idempotency_key="k")
            assert (session.id, session.token, session.touch_token) == (again.id, again.token, again.touch_token)
            with pytest.raises(told.Refused):
                await client.open_session(template="notebook", owner="user-8", idempotency_key="k")
            events: list[Event] = []
            following = asyncio.create_task(follow(client, session.id, events))
            await stage.lead(session.id, "ready")
            assert (await client.get_session(session.id)).status == "ready"
            assert [one.id async for one in client.list_sessions(owner="user-7", status="ready")] == [session.id]
            assert (await client.extend(session.id, 1200)).deadline is not None
            rotated = await client.rotate(session.id)
            assert rotated.generation == 1 and rotated.token not in (None, session.token)
            async with asking(stage, url, rotated.touch_token or "") as user:
                assert (await user.touch(session.id, source="client")).is_gone is False
                with pytest.raises(told.NotAllowed):
                    await user.pause(session.id)
            assert (await client.pause(session.id)).status == "pausing"
            await stage.lead_on(session.id, "paused")
            assert (await client.resume(session.id)).generation == 2
            assert (await client.close_session(session.id)).status == "terminating"
            with pytest.raises(told.SessionEnded):
                await client.touch(session.id)
            await stage.lead_on(session.id, "terminated")
            await following
            assert events[0].event == "status" and events[-1].data["status"] == "terminated"
            with pytest.raises(told.NoSuchSession):
                await client.get_session("s-none")

    run(work())


async def follow(client: AsyncCompanionClient, session_id: str, events: list[Event]) -> None:
    async with contextlib.aclosing(client.events(session_id)) as found:
        async for event in found:
            events.append(event)


def test_the_sync_client(tmp_path: Path) -> None:
    def sync(url: str, key: str) -> tuple[str, list[str]]:
        with CompanionClient(url, key=key) as client:
            session = client.open_session(template="notebook")
            assert client.touch(session.id, source="http", idle_s=1.5, count=2).id == session.id
            assert client.close_session(session.id).is_gone
            with pytest.raises(told.SessionEnded):
                client.touch(session.id)
        with CompanionClient(url, key="atlas_wrong") as client, pytest.raises(told.NotAllowed):
            client.get_session(session.id)
        return session.id, []

    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            ident, _ = await asyncio.to_thread(sync, url, stage.keys["backend"])
            assert (await stage.companion.get(ident)).touches == 2

    run(work())


def test_a_heartbeat_lives_as_long_as_the_session(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            session = await stage.session()
            live = stage.companion.ledger.live[session.id]
            gone: list[str] = []
            async with asking(stage, url, session.touch) as client:
                beat = client.heartbeat(session.id, on_gone=gone.append, interval_s=2).start()
                while not live.touches:  # noqa: ASYNC110 (`run` bounds it)
                    await asyncio.sleep(0.01)
                await stage.companion.close(session.id, actor="operator")
                while beat.gone is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await beat.stop()
            assert gone == [beat.gone]

    run(work())


def test_a_guard_reports_and_learns_of_rotation_and_of_the_end(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            session = await stage.session()
            settings = GuardSettings.from_env(
                {
                    "ATLAS_TOKEN_HASHES": session.session.token_hash or "",
                    "ATLAS_GENERATION": "0",
                    "ATLAS_SESSION_ID": session.id,
                    "ATLAS_COMPANION_URL": url,
                    "ATLAS_GUARD_KEY": session.guard,
                }
            )
            gate = Gate(settings)
            link = Link(gate)
            await asyncio.to_thread(link._poll)
            assert session.token is not None and gate.verifier.match(session.token)
            await asyncio.to_thread(link._poll)  # answered by 304
            rotated = await stage.companion.rotate(session.id, actor="operator")
            await asyncio.to_thread(link._poll)
            assert gate.verifier.match(session.token) is None and gate.verifier.match(rotated.token or "")
            gate.activity.give_back({"ws": Burst(4, link._monotonic())})
            await asyncio.to_thread(link._report)
            row = await stage.companion.get(session.id)
            assert (row.touches, row.active_source) == (4, "ws")
            for state in ("terminating", "terminated"):
                await stage.lead_on(session.id, state)
                await asyncio.to_thread(link._poll)
                assert gate.verifier.revoked
            gate.activity.give_back({"http": Burst(1, link._monotonic())})
            await asyncio.to_thread(link._report)
            assert not link._is_waiting

    run(work())

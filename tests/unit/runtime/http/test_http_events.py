"""Streams of events over a real connection: replay, gaps, ends, comments, limits, and keys that are revoked meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_kit import Stage, problem, run, staged

from pulumi_atlas.runtime.http.bounds import Bounds

QUICK = Bounds(keys_again_s=0.0, comment_s=0.05)


class Lines:
    """A stream, read message by message; each is a dict of its fields, comments are ``{"": …}``."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.ids: list[str] = []

    async def next(self) -> dict[str, str] | None:
        """The next message, None at the end."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line and fields:
                self.ids += [fields["id"]] if "id" in fields else []
                return fields
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        return None

    async def event(self) -> tuple[str, Any] | None:
        """The next event and its data, past comments and hints."""
        while (found := await self.next()) is not None:
            if "data" in found:
                return found["event"], json.loads(found["data"])
        return None


@contextlib.asynccontextmanager
async def stream(url: str, path: str, key: str, **headers: str) -> AsyncIterator[Lines]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        sent = {"Authorization": f"Bearer {key}", **headers}
        async with client.stream("GET", path, headers=sent) as response:
            yield Lines(response)


async def refused(url: str, path: str, key: str, status: int, **headers: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        return problem(await client.get(path, headers={"Authorization": f"Bearer {key}", **headers}), status)


async def newest(stage: Stage) -> int:
    return (await stage.store.event_range())[1]


def test_a_session_is_shown_first_then_what_happens_and_its_end_ends_the_stream(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            session, other = await stage.session("provisioning"), await stage.session("provisioning")
            async with stream(url, f"/v1/sessions/{session.id}/events", session.touch) as lines:
                assert lines.response.status_code == 200
                assert lines.response.headers["content-type"].startswith("text/event-stream")
                assert lines.response.headers["cache-control"] == "no-store"
                first = await lines.event()
                assert first is not None and (first[0], first[1]["status"]) == ("status", "provisioning")
                await stage.lead_on(other.id, "ready")
                for state in ("ready", "terminating", "terminated"):
                    await stage.lead_on(session.id, state)
                seen = [await lines.event() for _ in range(3)]
                assert [(one[0], one[1]["id"], one[1]["status"]) for one in seen if one] == [
                    ("status", session.id, state) for state in ("ready", "terminating", "terminated")
                ]
                assert await lines.event() is None
                assert lines.ids == sorted(lines.ids, key=int)
            await refused(
                url, f"/v1/sessions/{session.id}/events", session.touch, 410, **{"Last-Event-ID": lines.ids[-1]}
            )

    run(work())


def test_replay_goes_on_behind_the_last_id(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            before = await newest(stage)
            session = await stage.session("terminated")
            path = f"/v1/sessions/{session.id}/events"
            for name, sent in (("header", {"Last-Event-ID": str(before)}), ("query", {})):
                asked = path + (f"?last_event_id={before}" if name == "query" else "")
                async with stream(url, asked, session.touch, **sent) as lines:
                    states = []
                    while (one := await lines.event()) is not None:
                        states.append(one[1]["status"])
                assert states == ["requested", "provisioning", "ready", "terminating", "terminated"], name
            async with stream(url, path, session.touch, **{"Last-Event-ID": lines.ids[-3]}) as lines:
                assert [(await lines.event() or ("", {}))[1].get("status") for _ in range(3)] == [
                    "terminating", "terminated", None,
                ]  # fmt: skip
            async with stream(url, path, session.touch) as lines:
                one = await lines.event()
                assert one is not None and one[1]["status"] == "terminated"
                assert await lines.event() is None

    run(work())


def test_a_gap_is_told(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            session = await stage.session("ready")
            await stage.store.prune(events_before=2e12, sessions_before=0, answers_before=0)
            await stage.lead_on(session.id, "pausing")
            async with stream(url, "/v1/events", stage.keys["read"], **{"Last-Event-ID": "1"}) as lines:
                assert await lines.event() == ("gap", {})
                one = await lines.event()
                assert one is not None and one[1]["status"] == "pausing"
            async with stream(url, "/v1/events", stage.keys["read"], **{"Last-Event-ID": "999999"}) as lines:
                assert await lines.event() == ("gap", {})

    run(work())


def test_all_sessions_from_now_on(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            await stage.session("ready")
            async with stream(url, "/v1/events", stage.keys["backend"]) as lines:
                begin = await lines.next()
                assert begin == {"id": str(await newest(stage)), "retry": "3000"}
                later = await stage.session("provisioning")
                seen = [await lines.event() for _ in range(2)]
                assert [one[1]["id"] for one in seen if one] == [later.id] * 2

    run(work())


@pytest.mark.parametrize("sent", ["x", "-1", "1.5", "9" * 19])
def test_ids_that_are_none(sent: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            await refused(url, "/v1/events", stage.keys["read"], 422, **{"Last-Event-ID": sent})

    run(work())


def test_a_silent_stream_sends_comments(tmp_path: Path) -> None:
    async def work() -> None:
        async with (
            staged(tmp_path, bounds=QUICK) as stage,
            stage.served() as url,
            stream(url, "/v1/events", stage.keys["read"]) as lines,
        ):
            assert await lines.next() is not None
            for _ in range(2):
                assert list(await lines.next() or {}) == [""]

    run(work())


@pytest.mark.parametrize("who", ["key", "touch"])
def test_a_stream_ends_when_what_opened_it_is_none_any_more(who: str, tmp_path: Path) -> None:
    async def work() -> None:
        bounds = Bounds(keys_again_s=0.0, keys_s=0.0, comment_s=0.02)
        async with staged(tmp_path, bounds=bounds) as stage, stage.served() as url:
            session = await stage.session()
            key = session.touch if who == "touch" else stage.keys["read"]
            async with stream(url, f"/v1/sessions/{session.id}/events", key) as lines:
                assert await lines.event() is not None
                if who == "touch":
                    await stage.companion.rotate(session.id, actor="operator")
                else:
                    (read,) = [one for one in await stage.store.keys() if one.scope == "read"]
                    await stage.store.revoke_key(read.id, now=0.0)
                assert await lines.event() is None

    run(work())


def test_streams_are_counted_in_all_and_for_each(tmp_path: Path) -> None:
    async def work() -> None:
        bounds = Bounds(keys_again_s=0.0, comment_s=0.05, streams=3, streams_each=2)
        async with staged(tmp_path, bounds=bounds) as stage, stage.served() as url:
            read, backend = stage.keys["read"], stage.keys["backend"]
            async with contextlib.AsyncExitStack() as open_ones:
                kept = [await open_ones.enter_async_context(stream(url, "/v1/events", read)) for _ in range(2)]
                for lines in kept:
                    assert await lines.next() is not None
                await refused(url, "/v1/events", read, 503)  # of this caller
                kept.append(await open_ones.enter_async_context(stream(url, "/v1/events", backend)))
                assert await kept[-1].next() is not None
                await refused(url, "/v1/events", backend, 503)  # in all
            async with asyncio.timeout(20):
                while True:  # the server sees by and by that they have gone
                    async with stream(url, "/v1/events", read) as lines:
                        if lines.response.status_code == 200:
                            return

    run(work())


def test_when_the_companion_stops_streams_end_with_a_hint_when_to_come_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, contextlib.AsyncExitStack() as later:
            async with stage.served() as url:
                lines = await later.enter_async_context(stream(url, "/v1/events", stage.keys["read"]))
                assert await lines.next() is not None
            hint = await lines.next()
            assert hint is not None and 1000 <= int(hint["retry"]) <= 5000
            assert await lines.next() is None

    run(work())


def test_a_session_that_nobody_knows_has_no_stream(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.served() as url:
            await refused(url, "/v1/sessions/s-none/events", stage.keys["read"], 404)
            await refused(url, "/v1/sessions/s-none/events", stage.keys["read"], 404, **{"Last-Event-ID": "0"})

    run(work())

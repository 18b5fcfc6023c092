"""The hot path: what a touch does, shows and refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from http_kit import problem, run, staged

from pulumi_atlas.runtime.http.shapes import TouchView
from pulumi_atlas.testing.clock import SimulatedClock


def test_a_touch_renews_and_shows_the_session(tmp_path: Path) -> None:
    async def work() -> None:
        clock = SimulatedClock()
        async with staged(tmp_path, clock=clock) as stage:
            session = await stage.session()
            async with stage.client(session.touch) as client:
                await clock.advance(500)
                told = (await client.post(f"/v1/sessions/{session.id}/touch")).json()
                TouchView.model_validate(told)
                assert (told["remaining_s"], told["generation"], told["deadline_kind"]) == (600.0, 0, "idle")
                assert told["now"] == pytest.approx(clock.now())
                assert told["deadline"] == pytest.approx(clock.now() + 600)
                assert told["warning_at"] == pytest.approx(told["deadline"] - 60)
                shown = (await client.get(f"/v1/sessions/{session.id}")).json()
                for name, value in told.items():
                    assert shown[name] == value, name
                await clock.advance(100)
                body = {"source": "http", "idle_s": 40, "count": 3}
                told = (await client.post(f"/v1/sessions/{session.id}/touch", json=body)).json()
                assert told["remaining_s"] == 560.0
                row = await stage.companion.get(session.id)
                assert (row.touches, row.active_source) == (4, "http")

    run(work())


def test_a_source_that_is_not_switched_on_is_answered_and_is_no_activity(tmp_path: Path) -> None:
    async def work() -> None:
        clock = SimulatedClock()
        async with staged(tmp_path, clock=clock, touch_sources=("http",)) as stage:
            session = await stage.session()
            async with stage.client(session.touch) as client:
                await clock.advance(100)
                for source in ("client", "gpu", "new-word"):
                    asked = await client.post(f"/v1/sessions/{session.id}/touch", json={"source": source})
                    assert asked.status_code == 200 and asked.json()["remaining_s"] == 500.0
                asked = await client.post(f"/v1/sessions/{session.id}/touch", json={"source": "http", "count": 2})
                assert asked.json()["remaining_s"] == 600.0
            async with stage.client("metrics") as client:
                text = (await client.get("/metrics")).text
            assert 'atlas_touches_total{source="http"} 2.0' in text
            assert "atlas_touches_ignored_total 3.0" in text

    run(work())


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ({}, True),
        ({"source": "a" * 32}, True),
        ({"idle_s": 0, "count": 1}, True),
        ({"idle_s": 1e12}, True),
        ({"count": 3.0}, True),
        ({"source": ""}, False),
        ({"source": "A"}, False),
        ({"source": "a" * 33}, False),
        ({"source": None}, False),
        ({"source": ["http"]}, False),
        ({"idle_s": -1}, False),
        ({"idle_s": "1"}, False),
        ({"idle_s": True}, False),
        ({"idle_s": None}, False),
        ({"count": 0}, False),
        ({"count": 1.5}, False),
        ({"count": True}, False),
        ({"count": 2**53}, False),
        ({"surprise": 1}, False),
        ([], False),
        (None, True),
        (0, False),
        (False, False),
        ("http", False),
    ],
)
def test_bodies_of_touches(body: Any, good: bool, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session()
            touches = (await stage.companion.get(session.id)).touches
            async with stage.client(session.guard) as client:
                asked = await client.post(
                    f"/v1/sessions/{session.id}/touch",
                    content=_json(body),
                    headers={"Content-Type": "application/json"},
                )
            if good:
                assert asked.status_code == 200
                return
            problem(asked, 422)
            assert (await stage.companion.get(session.id)).touches == touches

    run(work())


@pytest.mark.parametrize("state", ["terminating", "irrevocable", "terminated", "failed"])
@pytest.mark.parametrize("key", ["touch", "guard", "backend"])
def test_a_session_that_is_gone_answers_410(state: str, key: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session(state)
            text = {"touch": session.touch, "guard": session.guard, "backend": "backend"}[key]
            async with stage.client(text) as client:
                told = problem(await client.post(f"/v1/sessions/{session.id}/touch"), 410)
            assert told["type"] == "urn:atlas:problem:session-gone"

    run(work())


def test_touches_go_on_while_the_store_is_full(tmp_path: Path) -> None:
    async def work() -> None:
        clock = SimulatedClock()
        async with staged(tmp_path, clock=clock) as stage:
            session = await stage.session()
            async with stage.client("backend") as backend, stage.client(session.touch) as user:
                assert (await backend.post(f"/v1/sessions/{session.id}/touch")).status_code == 200
                stage.store.fail("no space left on device")
                await clock.advance(300)
                for client in (user, backend):
                    asked = await client.post(f"/v1/sessions/{session.id}/touch")
                    assert asked.status_code == 200 and asked.json()["remaining_s"] == 600.0
                told = problem(await backend.delete(f"/v1/sessions/{session.id}"), 503)
                assert "space" not in told["detail"]

    run(work())


def test_a_touch_waits_while_an_end_is_being_written_and_then_tells_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session()
            goes_on, begun, really = asyncio.Event(), asyncio.Event(), stage.store.change

            async def slow(*args: Any, **kwargs: Any) -> Any:
                begun.set()
                await goes_on.wait()
                return await really(*args, **kwargs)

            monkeypatch.setattr(stage.store, "change", slow)
            ending = asyncio.create_task(stage.companion.close(session.id, actor="operator"))
            await begun.wait()
            async with stage.client(session.touch) as client:
                touching = asyncio.create_task(client.post(f"/v1/sessions/{session.id}/touch"))
                for _ in range(50):
                    await asyncio.sleep(0)
                assert not touching.done()
                goes_on.set()
                await ending
                problem(await touching, 410)

    run(work())


def test_reading_is_no_activity(tmp_path: Path) -> None:
    async def work() -> None:
        clock = SimulatedClock()
        async with staged(tmp_path, clock=clock) as stage:
            session = await stage.session()
            live = stage.companion.ledger.live[session.id]
            before = (live.active_mono, live.touches)
            await clock.advance(10)
            async with stage.client(session.touch) as user, stage.client(session.guard) as guard:
                await user.get(f"/v1/sessions/{session.id}")
                await guard.get(f"/v1/sessions/{session.id}/verifier")
                await user.options(f"/v1/sessions/{session.id}/touch")
                await user.get(f"/v1/sessions/{session.id}/touch")
            assert (live.active_mono, live.touches) == before

    run(work())


def _json(value: Any) -> bytes:
    import json

    return json.dumps(value).encode()

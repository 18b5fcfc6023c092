"""Requests that are spelled to get past something: paths, bodies, and keys that were revoked a moment ago."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from http_kit import problem, run, staged

from pulumi_atlas.runtime.store.contract import AccessKey


@pytest.mark.parametrize("before", ["/v2/sessions/", "/AAAAAAAAAAAA", "//1/sessions/", "/v1/sessionz/"])
def test_a_touch_has_one_spelling(before: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session()
            live = stage.companion.ledger.live[session.id]
            async with stage.client(session.touch) as client:
                problem(await client.post(f"{before}{session.id}/touch"), 404)
                assert live.touches == 0
                assert (await client.post(f"/v1/sessions/{session.id}/touch")).status_code == 200
            assert live.touches == 1

    run(work())


@pytest.mark.parametrize("depth", [65, 300, 800, 5000, 200_000])
@pytest.mark.parametrize("idempotency", [{}, {"Idempotency-Key": "a"}])
def test_a_body_that_is_nested_too_deeply(depth: int, idempotency: dict[str, str], tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin", **idempotency) as client:
            body = '{{"spec": {{"provider": "mock", "provider_options": {}{}}}}}'.format("[" * depth, "]" * depth)
            asked = await client.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"})
            assert "nested too deeply" in problem(asked, 400)["detail"]

    run(work())


def test_brackets_in_a_text_are_no_nesting(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            asked = await client.post("/v1/sessions", json={"template": "notebook", "labels": {"a": "[" * 100}})
            assert asked.status_code == 201

    run(work())


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"provider": ["local"]}, "spec.provider"),
        ({"provider": {}}, "spec.provider"),
        ({"provider": 1}, "spec.provider"),
        ({"provider": "mock", "account": {"a": 1}}, "spec.account"),
        ({"provider": "mock", "account": ["a"]}, "spec.account"),
        ({"account": 1}, "spec.account"),
    ],
)
def test_a_provider_is_a_text(spec: dict[str, Any], path: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            told = problem(await client.post("/v1/sessions", content=json.dumps({"spec": spec}), headers=_JSON), 422)
            assert path in {error["path"] for error in told["errors"]}

    run(work())


def test_a_key_is_revoked_at_once_even_while_the_keys_are_read(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            read, taken, go_on = stage.store.keys, asyncio.Event(), asyncio.Event()

            async def slowly() -> Sequence[AccessKey]:
                found = await read()
                taken.set()
                await go_on.wait()
                return found

            async with (
                stage.client("admin") as admin,
                stage.client("nobody-s") as nobody,
                stage.client("backend") as user,
            ):
                assert (await user.get("/v1/templates")).status_code == 200
                (backend,) = [key.id for key in await read() if key.scope == "backend"]
                stage.store.keys = slowly
                asked = asyncio.create_task(nobody.get("/v1/templates"))  # an unknown key makes the list be read again
                await taken.wait()
                stage.store.keys = read
                assert (await admin.delete(f"/v1/keys/{backend}")).status_code == 200
                go_on.set()
                assert (await asked).status_code == 401
                assert (await user.get("/v1/templates")).status_code == 401

    run(work())


_JSON = {"Content-Type": "application/json"}

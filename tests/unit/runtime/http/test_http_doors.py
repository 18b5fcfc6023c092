"""Hosts, pages of other origins, preflights, and what every answer carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from http_kit import HOST, problem, run, staged

from pulumi_atlas.runtime.http.origins import Hosts, host_name
from pulumi_atlas.runtime.settings import RuntimeSettings

PAGE = "https://app.example"
EVIL = "https://evil.example"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a.example", "a.example"),
        ("A.Example:8765", "a.example"),
        ("a.example.", "a.example"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("", None),
        (":80", None),
        ("a.example:http", None),
        ("a.example:80:80", None),
        ("a.example/x", None),
        ("user@a.example", None),
        ("a b", None),
        ("[::1]x", None),
        ("[::1", None),
    ],
)
def test_names_of_hosts(value: str, name: str | None) -> None:
    assert host_name(value) == name


@pytest.mark.parametrize(
    ("settings", "listen", "good", "bad"),
    [
        ({}, "127.0.0.1", ["localhost:1", "127.0.0.1", "[::1]:1"], ["evil.example", "127.0.0.1.evil.example"]),
        ({}, "10.0.0.5", ["10.0.0.5:8765", "localhost"], ["10.0.0.6"]),
        ({}, "0.0.0.0", ["localhost"], ["0.0.0.0"]),
        ({"public_url": "https://c.example/x"}, None, ["c.example", "C.EXAMPLE:443"], ["x.c.example"]),
        ({"hosts": ("only.example",)}, "127.0.0.1", ["only.example:80"], ["localhost", "127.0.0.1"]),
    ],
)
def test_hosts_that_are_meant(settings: dict[str, Any], listen: str | None, good: list[str], bad: list[str]) -> None:
    hosts = Hosts(RuntimeSettings(**settings), listen)
    for _ in range(2):  # what was seen before is remembered
        assert all(hosts.allow(one.encode()) for one in good)
        assert not any(hosts.allow(one.encode()) for one in bad)


def test_a_request_for_another_host_is_not_for_us(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            problem(await client.get("/v1/sessions", headers={"Host": "rebound.example"}), 421)
            assert (await client.get("/healthz", headers={"Host": "10.1.2.3:8765"})).status_code == 200
            assert (await client.get("/v1/sessions", headers={"Host": f"{HOST}:8765"})).status_code == 200

    run(work())


@pytest.mark.parametrize(
    "origin", [EVIL, "null", f"{PAGE}.evil.example", "https://app.example:444", "http://app.example"]
)
def test_a_page_of_another_origin_can_do_nothing(origin: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path, origins=(PAGE,)) as stage:
            session = await stage.session()
            before = (await stage.companion.get(session.id)).touches
            async with stage.client("admin", Origin=origin) as client:
                for method, path in (
                    ("GET", f"/v1/sessions/{session.id}"),
                    ("POST", f"/v1/sessions/{session.id}/touch"),
                    ("DELETE", f"/v1/sessions/{session.id}"),
                    ("POST", "/v1/sessions"),
                    ("OPTIONS", f"/v1/sessions/{session.id}"),
                    ("GET", "/healthz"),
                ):
                    asked = await client.request(method, path, headers={"Access-Control-Request-Method": "POST"})
                    problem(asked, 403)
                    assert "access-control-allow-origin" not in asked.headers
            after = await stage.companion.get(session.id)
            assert (after.state, after.touches) == ("ready", before)

    run(work())


def test_a_page_that_may_ask_reads_answers_and_refusals(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path, origins=(PAGE,)) as stage:
            session, gone = await stage.session(), await stage.session("terminated")
            async with stage.client(session.touch, Origin=PAGE) as client:
                good = await client.post(f"/v1/sessions/{session.id}/touch")
                shown = await client.get(f"/v1/sessions/{session.id}")
            async with stage.client(gone.touch, Origin=PAGE) as client:
                refused = await client.post(f"/v1/sessions/{gone.id}/touch")
            problem(refused, 410)
            for asked in (good, shown, refused):
                assert asked.headers["access-control-allow-origin"] == PAGE
                assert asked.headers["vary"] == "Origin"
                assert "access-control-allow-credentials" not in asked.headers

    run(work())


def test_a_preflight_needs_no_key_and_is_no_activity(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path, origins=(PAGE,)) as stage:
            session = await stage.session()
            live = stage.companion.ledger.live[session.id]
            before = (live.active_mono, live.touches)
            wanted = {
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,last-event-id",
            }
            async with stage.client(Origin=PAGE) as client:
                asked = await client.options(f"/v1/sessions/{session.id}/touch", headers=wanted)
                plain = await client.options(f"/v1/sessions/{session.id}/touch")
            assert asked.status_code == 204 and asked.content == b""
            allowed = asked.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
            assert set(wanted["Access-Control-Request-Headers"].split(",")) <= set(allowed)
            assert "POST" in asked.headers["access-control-allow-methods"]
            assert "access-control-allow-credentials" not in asked.headers
            assert problem(plain, 405)["detail"]
            assert (live.active_mono, live.touches) == before

    run(work())


def test_every_answer_says_how_it_may_be_used_and_none_has_a_cookie(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session()
            async with stage.client("admin") as client:
                answers = [
                    await client.get("/healthz"),
                    await client.get("/openapi.json"),
                    await client.get("/nothing"),
                    await client.get("/v1/sessions"),
                    await client.post(f"/v1/sessions/{session.id}/touch"),
                    await client.post("/v1/sessions", json={"template": "notebook"}),
                    await client.post("/v1/sessions", json={"template": "none"}),
                ]
            for one in answers:
                assert one.headers["x-content-type-options"] == "nosniff"
                assert one.headers.get_list("cache-control") == ["no-store"]
                assert one.headers["referrer-policy"] == "no-referrer"
                assert "set-cookie" not in one.headers

    run(work())


@pytest.mark.parametrize("name", ["Authorization", "Host", "Origin", "Content-Type", "Idempotency-Key"])
def test_a_header_that_counts_may_not_be_there_twice(name: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client() as client:
            request = client.build_request("GET", "/v1/sessions")
            lines = [(name, HOST if name == "Host" else "x")] * 2
            request.headers = type(request.headers)([*request.headers.multi_items(), *lines])
            problem(await client.send(request), 400)

    run(work())

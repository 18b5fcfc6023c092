"""The routes of sessions: opened once, shown as they are, kept, paused, rotated, ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from http_kit import SPEC, problem, run, staged

from atlas_session.tokens import verify_token
from pulumi_atlas.runtime.http.shapes import OpenedView, SessionView


def test_opening_gives_the_ways_in_and_the_session(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            asked = await client.post(
                "/v1/sessions", json={"template": "notebook", "owner": "user-7", "labels": {"a": "b"}}
            )
            assert asked.status_code == 201
            told = asked.json()
            OpenedView.model_validate(told)
            row = await stage.companion.get(told["id"])
            assert asked.headers["location"] == f"/v1/sessions/{row.id}"
            assert verify_token(told["token"], row.token_hash) and verify_token(told["touch_token"], row.touch_hash)
            assert (told["owner"], told["status"], told["state"]) == ("user-7", "requested", "requested")
            shown = (await client.get(f"/v1/sessions/{row.id}")).json()
            SessionView.model_validate(shown)
            assert "token" not in shown and "touch_token" not in shown

    run(work())


def test_who_opens_what(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            wanted: list[tuple[dict[str, Any], int, int]] = [
                ({"template": "notebook"}, 201, 201),
                ({"template": "operators"}, 201, 403),
                ({"template": "here"}, 201, 403),
                ({"template": "nowhere"}, 422, 422),
                ({"spec": SPEC}, 201, 403),
                ({"spec": {"provider": "local", "command": ["x"]}}, 201, 403),
                ({"spec": SPEC, "template": "notebook"}, 422, 403),
                ({}, 422, 422),
            ]
            for body, admin, backend in wanted:
                for key, status in (("admin", admin), ("backend", backend)):
                    async with stage.client(key) as client:
                        asked = await client.post("/v1/sessions", json=body)
                    assert asked.status_code == status, (body, key, asked.text)
            async with stage.client("backend") as client:
                names = [one["name"] for one in (await client.get("/v1/templates")).json()["templates"]]
            assert names == ["notebook", "signed"]

    run(work())


def test_the_same_key_and_body_give_the_same_answer(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend", **{"Idempotency-Key": "k-1"}) as client:
            first = await client.post(
                "/v1/sessions", content=b'{"template": "notebook", "idle_ttl_s": 60}', headers=JSON
            )
            again = await client.post(
                "/v1/sessions", content=b'{"idle_ttl_s":60.0,"template":"notebook"}', headers=JSON
            )
            assert (first.status_code, again.status_code) == (201, 201)
            for name in ("id", "token", "touch_token"):
                assert first.json()[name] == again.json()[name]
            other = await client.post("/v1/sessions", json={"template": "notebook", "idle_ttl_s": 61})
            problem(other, 409)
            async with stage.client("admin", **{"Idempotency-Key": "k-1"}) as admin:
                theirs = await admin.post("/v1/sessions", json={"template": "notebook"})
            assert theirs.status_code == 201 and theirs.json()["id"] != first.json()["id"]
            page = (await client.get("/v1/sessions")).json()
            assert len(page["sessions"]) == 2

    run(work())


def test_while_the_first_is_worked_on_the_second_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend", **{"Idempotency-Key": "k-1"}) as client:
            goes_on, begun, really = asyncio.Event(), asyncio.Event(), stage.companion.open

            async def slow(*args: Any, **kwargs: Any) -> Any:
                begun.set()
                await goes_on.wait()
                return await really(*args, **kwargs)

            monkeypatch.setattr(stage.companion, "open", slow)
            first = asyncio.create_task(client.post("/v1/sessions", json={"template": "notebook"}))
            await begun.wait()
            problem(await client.post("/v1/sessions", json={"template": "notebook"}), 503)
            goes_on.set()
            assert (await first).status_code == 201
            assert (await client.post("/v1/sessions", json={"template": "notebook"})).json()["id"] == (
                await first
            ).json()["id"]

    run(work())


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä"])
def test_keys_that_are_none(key: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            headers = {"Idempotency-Key": key.encode()}
            problem(await client.post("/v1/sessions", json={"template": "notebook"}, headers=headers), 422)  # type: ignore[arg-type]
            headers = {"Idempotency-Key": b"!~" + b"x" * 253}
            asked = await client.post("/v1/sessions", json={"template": "notebook"}, headers=headers)  # type: ignore[arg-type]
            assert asked.status_code == 201

    run(work())


@pytest.mark.parametrize("way", ["open", "get"])
@pytest.mark.parametrize("end", ["ready", "terminating", "late"])
def test_waiting_until_it_is_ready_or_gone(way: str, end: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            timeout_s = 0.05 if end == "late" else 30
            query = f"?wait=ready&timeout_s={timeout_s}"
            if way == "open":
                asking = asyncio.create_task(client.post(f"/v1/sessions{query}", json={"template": "notebook"}))
                while not stage.companion.ledger.live:  # noqa: ASYNC110 (there is no event for it)
                    await asyncio.sleep(0)
                (ident,) = stage.companion.ledger.live
            else:
                ident = (await stage.session("requested")).id
                asking = asyncio.create_task(client.get(f"/v1/sessions/{ident}{query}"))
                await asyncio.sleep(0)
            if end != "late":
                await stage.lead(ident, end)
            asked = await asking
            assert asked.status_code == (201 if way == "open" else 200)
            assert asked.json()["status"] == ("requested" if end == "late" else end)
            assert ("token" in asked.json()) == (way == "open")

    run(work())


@pytest.mark.parametrize(
    "query", ["wait=done", "wait=ready&timeout_s=0", "wait=ready&timeout_s=301", "wait=ready&timeout_s=nan"]
)
def test_waits_that_are_none(query: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            problem(await client.post(f"/v1/sessions?{query}", json={"template": "notebook"}), 422)
            assert not stage.companion.ledger.live

    run(work())


def test_pages_go_through_all_sessions_that_match(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("read") as client:
            mine = [(await stage.session("requested", owner="me")).id for _ in range(5)]
            await stage.session("requested", owner="you")
            ready = await stage.session("ready", owner="me")
            seen, query = [], "owner=me&status=requested&limit=2"
            while query:
                page = (await client.get(f"/v1/sessions?{query}")).json()
                seen += [one["id"] for one in page["sessions"]]
                assert len(page["sessions"]) <= 2
                cursor = page["next_cursor"]
                query = f"owner=me&status=requested&limit=2&cursor={cursor}" if cursor else ""
            assert seen == mine
            page = (await client.get("/v1/sessions?status=ready&template=notebook")).json()
            assert [one["id"] for one in page["sessions"]] == [ready.id]
            assert (await client.get("/v1/sessions?template=signed")).json() == {"sessions": [], "next_cursor": None}

    run(work())


def test_a_page_never_has_more_than_a_mebibyte(tmp_path: Path) -> None:
    async def work() -> None:
        labels = {f"label-{number:03}": "😀" * 256 for number in range(32)}
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            made = []
            for _ in range(40):
                asked = await client.post("/v1/sessions", json={"template": "notebook", "labels": labels})
                made.append(asked.json()["id"])
            seen, cursor = [], ""
            while cursor is not None:
                page = await client.get(f"/v1/sessions?limit=200{cursor and '&cursor='}{cursor}")
                assert page.status_code == 200 and len(page.content) <= 1 << 20
                seen += [one["id"] for one in page.json()["sessions"]]
                cursor = page.json()["next_cursor"]
            assert seen == made

    run(work())


def test_extending(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path, limits={"max_extend_s": 3600, "max_lifetime_s": 172_800}) as stage:
            session, paused = await stage.session(), await stage.session("paused")
            path = f"/v1/sessions/{session.id}/extend"
            async with stage.client(session.touch) as client:
                told = (await client.post(path, json={"seconds": 3000})).json()
                assert told["remaining_s"] == pytest.approx(3000, abs=30)
                problem(await client.post(path, json={"seconds": 3601}), 422)
                problem(await client.post(path, json={"seconds": 60, "deadline": "lifetime"}), 403)
            async with stage.client("backend") as client:
                assert (await client.post(path, json={"seconds": 7200})).status_code == 200
                before = (await client.get(f"/v1/sessions/{session.id}")).json()["expires_at"]
                told = (await client.post(path, json={"seconds": 60, "deadline": "lifetime"})).json()
                assert told["expires_at"] == pytest.approx(before + 60)
                problem(await client.post(f"/v1/sessions/{paused.id}/extend", json={"seconds": 60}), 409)
                for wrong in ({}, {"seconds": 0}, {"seconds": "60"}, {"seconds": True}, {"seconds": 60, "of": 1}):
                    problem(await client.post(path, json=wrong), 422)

    run(work())


def test_power(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            session, paused, gone = await stage.session(), await stage.session("paused"), await stage.session("failed")
            asked = await client.post(f"/v1/sessions/{session.id}/pause")
            assert (asked.status_code, asked.json()["status"]) == (202, "pausing")
            asked = await client.post(f"/v1/sessions/{paused.id}/resume")
            assert (asked.status_code, asked.json()["status"]) == (202, "resuming")
            row = await stage.companion.get(paused.id)
            assert asked.json()["generation"] == row.generation == paused.session.generation + 1
            assert verify_token(asked.json()["token"], row.token_hash)
            assert verify_token(asked.json()["touch_token"], row.touch_hash)
            for verb in ("pause", "resume", "rotate", "extend"):
                body = {"seconds": 5} if verb == "extend" else None
                problem(await client.post(f"/v1/sessions/{gone.id}/{verb}", json=body), 410)
                problem(await client.post(f"/v1/sessions/s-none/{verb}", json=body), 404)

    run(work())


def test_closing(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            session, gone = await stage.session(), await stage.session("terminated")
            asked = await client.delete(f"/v1/sessions/{session.id}?reason=the%20tab%20was%20closed")
            assert (asked.status_code, asked.json()["status"]) == (202, "terminating")
            assert asked.json()["reason"] == "the tab was closed"
            for ident in (session.id, gone.id):
                again = await client.delete(f"/v1/sessions/{ident}")
                assert again.status_code == 202
            assert again.json()["status"] == "terminated"
            problem(await client.delete("/v1/sessions/s-none"), 404)
            assert (await client.get(f"/v1/sessions/{gone.id}")).json()["status"] == "terminated"

    run(work())


def test_rotating_ends_what_was_issued(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            session = await stage.session()
            told = (await client.post(f"/v1/sessions/{session.id}/rotate")).json()
            assert told["generation"] == session.session.generation + 1
            assert told["token"] != session.token and told["touch_token"] != session.touch
            touch = f"/v1/sessions/{session.id}/touch"
            for key, status in ((session.touch, 401), (told["touch_token"], 200), (session.guard, 200)):
                async with stage.client(key) as user:
                    assert (await user.post(touch)).status_code == status

    run(work())


def test_signed_urls(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            signed, bearer = await stage.session(template="signed"), await stage.session()
            early, gone = (
                await stage.session("requested", template="signed"),
                await stage.session("terminated", template="signed"),
            )
            path = f"/v1/sessions/{signed.id}/signed-urls"
            told = (await client.post(path, json={"path": "/a?b=1", "port": "8888", "expires_in_s": 60})).json()
            assert told["url"].startswith("https://pod.example:8888/a?b=1&")
            assert told["expires_at"] == pytest.approx(stage.companion.clock.now() + 60, abs=5)
            told = (await client.post(path, json={"path": "/hls/a.m3u8", "form": "path", "expires_in_s": 60})).json()
            assert told["url"].startswith("https://pod.example:8888/")
            full = {"url": "https://pod.example:8888/x", "expires_in_s": 60, "method": "POST", "single_use": True}
            assert (await client.post(path, json=full)).status_code == 200
            for wrong in (
                {"path": "/"},
                {"expires_in_s": 60},
                {"path": "/", "url": "https://pod.example:8888/", "expires_in_s": 60},
                {"path": "x", "expires_in_s": 60},
                {"path": "/", "port": "1", "expires_in_s": 60},
                {"url": "https://elsewhere.example/", "expires_in_s": 60},
                {"path": "/", "expires_in_s": 0},
                {"path": "/", "expires_in_s": 10**9},
                {"path": "/", "expires_in_s": "60"},
                {"path": "/", "expires_in_s": 60, "address": "nowhere"},
            ):
                problem(await client.post(path, json=wrong), 422)
            body = {"path": "/", "expires_in_s": 60}
            for other, status in ((bearer, 409), (early, 409), (gone, 410)):
                problem(await client.post(f"/v1/sessions/{other.id}/signed-urls", json=body), status)

    run(work())


def test_the_verifier_and_its_etag(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session()
            path = f"/v1/sessions/{session.id}/verifier"
            async with stage.client(session.guard) as guard:
                first = await guard.get(path)
                row = await stage.companion.get(session.id)
                assert first.json()["token_hashes"] == [row.token_hash]
                assert first.json()["generation"] == row.generation and first.json()["revoked"] is False
                etag = first.headers["etag"]
                for sent in (etag, f'"other", {etag}', f"W/{etag}", "*"):
                    again = await guard.get(path, headers={"If-None-Match": sent})
                    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
                await stage.companion.rotate(session.id, actor="operator")
                changed = await guard.get(path, headers={"If-None-Match": etag})
                assert changed.status_code == 200 and changed.headers["etag"] != etag
                await stage.lead_on(session.id, "terminating")
                assert (await guard.get(path)).json()["revoked"] is True
                await stage.lead_on(session.id, "terminated")
                problem(await guard.get(path), 410)

    run(work())


def test_while_stopping_nothing_new_is_opened_and_the_rest_goes_on(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("backend") as client:
            session = await stage.session()
            stage.companion.ready, stage.companion.draining = False, True
            problem(await client.post("/v1/sessions", json={"template": "notebook"}), 503)
            touched = await client.post(f"/v1/sessions/{session.id}/touch")
            assert touched.status_code == 200 and touched.headers["connection"] == "close"
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
            assert (await client.get("/healthz")).status_code == 200
            stage.companion.draining = False
            problem(await client.get("/v1/sessions"), 503)
            assert (await client.get("/readyz")).json()["status"] == "starting"

    run(work())


def test_what_an_operator_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            assert (await client.get("/v1/irrevocable")).json() == {"sessions": [], "left_out": 0}
            assert (await client.get("/v1/orphans")).json() == {"orphans": [], "left_out": 0}
            assert (await client.get("/v1/status")).status_code == 200
            assert (await client.post("/v1/reap?dry_run=true")).status_code == 200
            problem(await client.post("/v1/reap?dry_run=false"), 422)
            problem(await client.post("/v1/reap"), 422)
            stage.store.freeze("it was restored")
            told = (await client.post("/v1/confirm-store")).json()
            assert told["frozen"] == ""
            monkeypatch.setattr(stage.companion, "status", lambda: {"frozen": ["store not confirmed"]})
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["reasons"]) == (200, ["store not confirmed"])
            many = [{"id": f"s{number}", "reason": "x" * 1000} for number in range(3000)]
            monkeypatch.setattr(stage.companion, "irrevocable", lambda: many)
            answer = await client.get("/v1/irrevocable")
            assert len(answer.content) <= 1 << 20
            assert len(answer.json()["sessions"]) + answer.json()["left_out"] == 3000

    run(work())


JSON = {"Content-Type": "application/json"}

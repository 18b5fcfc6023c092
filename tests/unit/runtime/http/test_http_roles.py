"""Who may do what: each route with each kind of key, cell by cell. The table here is written anew, not derived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from http_kit import Opened, Stage, run, staged

from atlas_session.tokens import mint_token
from pulumi_atlas.runtime.http.roles import ROUTES

# who: + allowed, 3: 403, 1: 401.      admin backend read metrics own-touch own-guard other-touch other-guard none wrong revoked
TABLE = """
POST   /v1/sessions                        + + 3 3 1 1 1 1 1 1 1
GET    /v1/sessions                        + + + 3 1 1 1 1 1 1 1
GET    /v1/sessions/{session_id}           + + + 3 + 3 1 1 1 1 1
DELETE /v1/sessions/{session_id}           + + 3 3 3 3 1 1 1 1 1
POST   /v1/sessions/{session_id}/touch     + + 3 3 + + 1 1 1 1 1
POST   /v1/sessions/{session_id}/extend    + + 3 3 + 3 1 1 1 1 1
POST   /v1/sessions/{session_id}/pause     + + 3 3 3 3 1 1 1 1 1
POST   /v1/sessions/{session_id}/resume    + + 3 3 3 3 1 1 1 1 1
POST   /v1/sessions/{session_id}/rotate    + + 3 3 3 3 1 1 1 1 1
POST   /v1/sessions/{session_id}/signed-urls + + 3 3 3 3 1 1 1 1 1
GET    /v1/sessions/{session_id}/verifier  + 3 3 3 3 + 1 1 1 1 1
GET    /v1/sessions/{session_id}/events    + + + 3 + 3 1 1 1 1 1
GET    /v1/events                          + + + 3 1 1 1 1 1 1 1
GET    /v1/templates                       + + + 3 1 1 1 1 1 1 1
GET    /v1/irrevocable                     + 3 + 3 1 1 1 1 1 1 1
GET    /v1/orphans                         + 3 + 3 1 1 1 1 1 1 1
GET    /v1/status                          + 3 + 3 1 1 1 1 1 1 1
POST   /v1/reap                            + 3 3 3 1 1 1 1 1 1 1
POST   /v1/confirm-store                   + 3 3 3 1 1 1 1 1 1 1
GET    /v1/keys                            + 3 3 3 1 1 1 1 1 1 1
POST   /v1/keys                            + 3 3 3 1 1 1 1 1 1 1
DELETE /v1/keys/{key_id}                   + 3 3 3 1 1 1 1 1 1 1
GET    /metrics                            + 3 3 + 1 1 1 1 1 1 1
GET    /healthz                            + + + + + + + + + + +
GET    /readyz                             + + + + + + + + + + +
GET    /openapi.json                       + + + + + + + + + + +
"""
WHO = (
    *("admin", "backend", "read", "metrics", "own touch", "own guard", "other touch", "other guard"),
    *("none", "wrong", "revoked"),
)
BODIES: dict[str, Any] = {
    "POST /v1/sessions": {"template": "notebook"},
    "POST /v1/sessions/{session_id}/touch": {"source": "http"},
    "POST /v1/sessions/{session_id}/extend": {"seconds": 60},
    "POST /v1/sessions/{session_id}/signed-urls": {"path": "/", "expires_in_s": 60},
    "POST /v1/keys": {"scope": "read", "name": "n"},
}
ALLOWED = {200, 201, 202}


def rows() -> dict[str, dict[str, str]]:
    found = {}
    for line in TABLE.strip().splitlines():
        method, path, *cells = line.split()
        assert len(cells) == len(WHO), line
        found[f"{method} {path}"] = dict(zip(WHO, cells, strict=True))
    return found


def test_the_table_names_each_route() -> None:
    assert sorted(rows()) == sorted(route.name for route in ROUTES)


@pytest.mark.parametrize("who", WHO)
def test_each_cell(who: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            stage.companion.feed.close()  # so that streams of events end
            other = await stage.session()
            found = {name: await outcome(stage, name, who, other) for name in rows()}
            assert found == {name: cells[who] for name, cells in rows().items()}

    run(work())


async def outcome(stage: Stage, name: str, who: str, other: Opened) -> str:
    """What the cell says: + for done, else 1 or 3."""
    template = "signed" if name.endswith("signed-urls") else "notebook"
    state = "paused" if name.endswith("/resume") else "ready"
    session = await stage.session(state, template=template) if "{session_id}" in name else other
    method, _, path = name.partition(" ")
    path = path.format(session_id=session.id, key_id=(await stage.store.keys())[3].id)
    path += "?dry_run=true" if path == "/v1/reap" else ""
    async with stage.client(bearer(stage, who, session, other)) as client:
        response = await client.request(method, path, json=BODIES.get(name))
    if response.status_code in ALLOWED:
        return "+"
    assert response.status_code in (401, 403), (name, who, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.headers.get("www-authenticate") == "Bearer") == (response.status_code == 401)
    return str(response.status_code - 400)


def bearer(stage: Stage, who: str, session: Opened, other: Opened) -> str | None:
    others = {
        "own touch": session.touch,
        "own guard": session.guard,
        "other touch": other.touch,
        "other guard": other.guard,
        "wrong": mint_token().token,
        "none": None,
    }
    return others[who] if who in others else stage.keys[who]


@pytest.mark.parametrize("key", ["touch", "guard", "wrong"])
@pytest.mark.parametrize("state", ["ready", "terminated"])
def test_who_has_no_rights_cannot_tell_whether_a_session_exists(key: str, state: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            stage.companion.feed.close()
            there, mine = await stage.session(state), await stage.session()
            text = {"touch": mine.touch, "guard": mine.guard, "wrong": mint_token().token}[key]
            async with stage.client(text) as client:
                for name in (one for one in rows() if "{session_id}" in one):
                    method, _, path = name.partition(" ")
                    seen = [
                        await client.request(method, path.format(session_id=ident), json=BODIES.get(name))
                        for ident in (there.id, "s" + "x" * 22)
                    ]
                    told = [(one.status_code, {**one.json(), "instance": ""}) for one in seen]
                    assert told[0] == told[1] and told[0][0] == 401, name

    run(work())


@pytest.mark.parametrize("header", ["Basic {}", "Bearer  {}", "Bearer", "{}", "Bearer {} x", "bearer{}"])
def test_other_spellings_of_the_key_are_none(header: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client() as client:
            asked = await client.get("/v1/sessions", headers={"Authorization": header.format(stage.keys["admin"])})
            assert asked.status_code == 401
            asked = await client.get("/v1/sessions", headers={"Authorization": f"bearer {stage.keys['admin']}"})
            assert asked.status_code == 200

    run(work())


def test_a_key_in_the_query_or_a_cookie_is_none(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client() as client:
            key = stage.keys["admin"]
            assert (await client.get(f"/v1/sessions?access_token={key}")).status_code == 401
            assert (await client.get("/v1/sessions", headers={"Cookie": f"key={key}"})).status_code == 401

    run(work())

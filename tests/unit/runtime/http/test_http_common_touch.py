"""The hot path answers what is usual, and leaves everything else to the gate: nobody gets in by it who would not otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from http_kit import HOST, Stage, run, staged

from atlas_session.tokens import mint_token

BODY = b'{"source": "http", "idle_s": 2.5, "count": 3}'
JSON = (b"content-type", b"application/json")


async def touch(
    stage: Stage, ident: str, key: str, body: bytes = BODY, *more: tuple[bytes, bytes], **changes: Any
) -> tuple[int, dict[str, Any], bool]:
    """Status, body, and whether the hot path did it. The body comes in one piece, as servers give it."""
    headers = [(b"host", HOST.encode()), (b"authorization", f"Bearer {key}".encode()), JSON]
    headers += [(b"content-length", b"%d" % len(body)), *more]
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/v1/sessions/{ident}/touch",
        "query_string": b"",
        "headers": headers,
    }
    sent: list[dict[str, Any]] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    before = dict(stage.app._common._counted)
    await stage.app({**scope, **changes}, receive, send)
    told = json.loads(b"".join(one.get("body", b"") for one in sent[1:]))
    return sent[0]["status"], told, stage.app._common._counted != before


@pytest.mark.parametrize("who", ["admin", "backend", "own touch", "own guard"])
def test_who_may_touch_is_answered_by_it(who: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session()
            key = {"own touch": session.touch, "own guard": session.guard}.get(who) or stage.keys[who]
            await touch(stage, session.id, key)  # from now on API keys are at hand
            status, told, hot = await touch(stage, session.id, key)
            assert (status, hot) == (200, True)
            assert told["id"] == session.id and told["generation"] == 0
            assert (await stage.companion.get(session.id)).touches == 6
            status, _, hot = await touch(stage, session.id, key, b"")
            assert (status, hot) == (200, True)

    run(work())


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("read", 403),
        ("metrics", 403),
        ("revoked", 401),
        ("wrong", 401),
        ("other touch", 401),
        ("other guard", 401),
        ("", 401),
    ],
)
def test_who_may_not_is_refused(who: str, status: int, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session, other = await stage.session(), await stage.session()
            others = {"other touch": other.touch, "other guard": other.guard, "wrong": mint_token().token, "": ""}
            key = others[who] if who in others else stage.keys[who]
            for _ in range(2):  # the second time, API keys are at hand
                told = await touch(stage, session.id, key)
                assert (told[0], told[1]["status"], told[2]) == (status, status, False)
            assert (await stage.companion.get(session.id)).touches == 0

    run(work())


@pytest.mark.parametrize(
    ("more", "changes", "status"),
    [
        ([(b"origin", b"https://evil.example")], {}, 403),
        ([(b"origin", b"https://app.example")], {}, 200),
        ([(b"host", b"evil.example")], {}, 400),
        ([(b"host", b"companion.example")], {}, 400),
        ([(b"authorization", b"Bearer x")], {}, 400),
        ([(b"transfer-encoding", b"chunked")], {}, 200),
        ([], {"query_string": b"x=1"}, 422),
        ([], {"method": "PUT"}, 405),
        ([], {"path": "/v1/sessionsx{}/touch"}, 404),
        ([], {"path": "/xx/sessions/{}/touch"}, 404),
    ],
)
def test_what_is_unusual_is_left_to_the_gate(more: Any, changes: dict[str, Any], status: int, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path, origins=("https://app.example",)) as stage:
            session = await stage.session()
            changed = {name: value.format(session.id) if name == "path" else value for name, value in changes.items()}
            told = await touch(stage, session.id, session.touch, BODY, *more, **changed)
            assert (told[0], told[2]) == (status, False)
            assert (await stage.companion.get(session.id)).touches == (3 if status == 200 else 0)

    run(work())


@pytest.mark.parametrize("host", [b"evil.example", b"companion.example.evil.example"])
def test_another_host_is_refused(host: bytes, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session()
            headers = [(b"host", host), (b"authorization", f"Bearer {session.touch}".encode()), JSON]
            headers += [(b"content-length", b"%d" % len(BODY))]
            told = await touch(stage, session.id, session.touch, headers=headers)
            assert (told[0], told[2]) == (421, False)

    run(work())


@pytest.mark.parametrize(
    ("body", "status", "hot"),
    [
        (b'{"source":"http"}', 200, True),
        (b'{"source":"http","idle_s":0,"count":1}', 200, True),
        (b'{"count": 1, "source": "http"}', 200, False),
        (b'{"source": "http", "idle_s": 1e3}', 200, False),
        (b'{"source": "unheard-of"}', 200, False),
        (b'{"source": "http", "count": 0}', 422, False),
        (b'{"source": "http", "idle_s": -1}', 422, False),
        (b'{"source": "http"', 400, False),
        (b'{"source": "http"}\n', 200, False),
        (b'{"source": "http"}x', 400, False),
    ],
)
def test_bodies_are_read_alike(body: bytes, status: int, hot: bool, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session = await stage.session()
            told = await touch(stage, session.id, session.touch, body)
            assert (told[0], told[2]) == (status, hot)

    run(work())


def test_while_stopping_or_gone_it_is_left_to_the_gate(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage:
            session, gone = await stage.session(), await stage.session("irrevocable")
            assert (await touch(stage, gone.id, gone.touch))[0] == 410
            stage.companion.draining = True
            status, _, hot = await touch(stage, session.id, session.touch)
            assert (status, hot) == (200, False)

    run(work())

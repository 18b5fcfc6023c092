"""Whatever goes wrong is a problem document, without a secret and without a traceback."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_kit import problem, run, staged

from pulumi_atlas import errors
from pulumi_atlas.errors import Failure, InvalidSpec
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.problem import Refusal, refusal_of, rendered
from pulumi_atlas.runtime.http.roles import ROUTES
from pulumi_atlas.runtime.ledger import SessionGone
from pulumi_atlas.runtime.store.contract import StoreUnavailable

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v1/session", "/v1/sessions/", "/v1/sessions/a/b", "/v1/sessions/a/touch/", "/v1/keys/",
     "/v1/keys/a/b", "/docs", "/redoc", "/v2/sessions", "//v1/sessions", "/v1/sessions//touch"],
)  # fmt: skip
def test_unknown_paths(path: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client() as client:
            request = client.build_request("GET", "/")
            request.url = request.url.copy_with(raw_path=path.encode())
            problem(await client.send(request), 404)

    run(work())


def test_other_methods_say_which_there_are(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            by_path: dict[str, set[str]] = {}
            for route in ROUTES:
                by_path.setdefault(route.path, set()).add(route.method)
            for path, methods in by_path.items():
                for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "QUERY"} - methods:
                    asked = await client.request(method, path.format(session_id="a", key_id="a"))
                    assert asked.status_code == 405, (method, path)
                    assert set(asked.headers["allow"].split(", ")) == methods
                    assert asked.headers["content-type"] == "application/problem+json"

    run(work())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 422),
        (b"\xff", 400),
        (b'{"template": "\\ud800"}', 400),
        (b'{"template": "notebook", "budget": NaN}', 400),
        (b'{"template": "notebook", "budget": Infinity}', 400),
        (b'{"template": "notebook", "template": "operators"}', 400),
        (b"[" * 20_000, 400),
        (b'{"budget": ' + b"9" * 5_000 + b"}", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"notebook"', 422),
        (b"{}", 422),
        (b'{"template": "notebook", "budget": 1e400}', 422),
        (b'{"template": "notebook", "budget": -1}', 422),
        (b'{"template": "notebook", "budget": "3"}', 422),
        (b'{"template": "notebook", "idle_ttl_s": true}', 422),
        (b'{"template": "notebook", "surprise": 1}', 422),
        (b'{"template": 1}', 422),
    ],
)
def test_bodies_that_are_none(body: bytes, status: int, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin", **JSON) as client:
            problem(await client.post("/v1/sessions", content=body), status)

    run(work())


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""]
)
@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/keys", "touch", "extend", "pause"])
def test_bodies_of_another_kind(kind: str, path: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            session = await stage.session()
            full = path if path.startswith("/") else f"/v1/sessions/{session.id}/{path}"
            problem(await client.post(full, content=b"{}", headers={"Content-Type": kind} if kind else {}), 415)

    run(work())


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("path", ["/v1/sessions", "touch"])
def test_bodies_that_are_too_large(announced: bool, path: str, tmp_path: Path) -> None:
    async def pieces() -> Any:
        for _ in range(64):
            yield b" " * 100

    async def work() -> None:
        async with staged(tmp_path, max_body_bytes=5_000) as stage, stage.client("admin", **JSON) as client:
            session = await stage.session()
            full = path if path.startswith("/") else f"/v1/sessions/{session.id}/{path}"
            content = b" " * 6_400 if announced else pieces()
            asked = await client.post(full, content=content)
            problem(asked, 413)
            assert asked.headers["connection"] == "close"

    run(work())


def test_a_body_that_does_not_arrive(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path, bounds=Bounds(body_s=0.01)) as stage:
            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            async def receive() -> Any:
                import asyncio

                await asyncio.Event().wait()

            headers = [
                (b"host", b"companion.example"),
                (b"authorization", f"Bearer {stage.keys['admin']}".encode()),
                (b"content-type", b"application/json"),
                (b"content-length", b"10"),
            ]
            scope = {"type": "http", "method": "POST", "path": "/v1/sessions", "query_string": b"", "headers": headers}
            await stage.app(scope, receive, send)
            assert sent[0]["status"] == 408
            assert (b"connection", b"close") in sent[0]["headers"]

    run(work())


def test_who_is_not_let_in_is_told_before_anything_is_read(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client() as client:
            problem(await client.post("/v1/sessions?x=1", content=b"{", headers={"Content-Type": "text/plain"}), 401)

    run(work())


@pytest.mark.parametrize(
    "path",
    ["/v1/sessions?ownr=a", "/v1/sessions?owner=a&owner=b", "/v1/sessions?limit=0", "/v1/sessions?limit=x",
     "/v1/sessions?status=gone", "/v1/sessions?cursor=nonsense", "/v1/status?x", "/v1/events?last_event_id=x",
     "/v1/sessions?owner="],
)  # fmt: skip
def test_queries_that_mean_nothing(path: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            assert problem(await client.get(path), 422)["errors"]

    run(work())


def test_every_failure_of_a_spec_is_named_with_its_place(tmp_path: Path) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            spec = {"provider": "mock", "image": 3, "ports": ["x"]}
            told = problem(await client.post("/v1/sessions", json={"spec": spec}), 422)
            paths = {one["path"] for one in told["errors"]}
            assert {"spec.image", "spec.ports[0]"} <= paths or len(paths) >= 2, told
            assert all(one["message"] for one in told["errors"])
            told = problem(await client.post("/v1/sessions", json={"template": "notebook", "a/b": 1}), 422)
            assert {name: told["errors"][0][name] for name in ("path", "pointer")} == {
                "path": "a/b",
                "pointer": "/a~1b",
            }

    run(work())


def test_no_value_that_was_sent_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        caplog.set_level(logging.DEBUG)
        secret = "hunter2-hunter2-hunter2"
        async with staged(tmp_path) as stage, stage.client("admin") as client:
            for body in (
                {"spec": {"provider": "mock", "image": "x", "env": {"TOKEN": [secret]}}},
                {"spec": {"provider": "mock", "image": "x", "env": secret}},
                {"template": "notebook", "budget": secret},
                {"template": "notebook", "labels": {"a": [secret]}},
                {"spec": secret},
            ):
                asked = await client.post("/v1/sessions", json=body)
                assert asked.status_code == 422 and secret not in asked.text
            asked = await client.post(
                "/v1/sessions",
                content=f'{{"template": "{secret}'.encode(),
                headers={"Content-Type": "application/json"},
            )
            assert secret not in problem(asked, 400)["detail"]
        assert secret not in caplog.text

    run(work())


def test_a_fault_of_ours_is_a_500_that_says_nothing_and_a_log_that_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with staged(tmp_path) as stage, stage.client("admin") as client:

            def broken() -> Any:
                raise RuntimeError("the inner secret")

            monkeypatch.setattr(stage.companion, "status", broken)
            asked = await client.get("/v1/status")
            problem(asked, 500)
            assert "secret" not in asked.text and "Traceback" not in asked.text
        assert "the inner secret" in caplog.text

    run(work())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidSpec([Failure("a", "b", "c")]), 422),
        (InvalidSpec([Failure("a", "b")], provider="mock"), 422),
        (errors.NotFound("x"), 404),
        (SessionGone("x"), 410),
        (errors.Conflict("x"), 409),
        (errors.Forbidden("x"), 403),
        (errors.RateLimited("x", retry_after=7), 429),
        (errors.InsufficientFunds("x"), 402),
        (errors.Unsupported("x"), 422),
        (errors.Unsupported("x", provider="mock"), 422),
        (errors.ConfigError("x"), 422),
        (errors.NoCapacity("x"), 503),
        (StoreUnavailable("/a/path"), 503),
        (errors.NotFound("x", provider="mock"), 502),
        (errors.Unauthorized("x", provider="mock"), 502),
        (errors.Forbidden("x", provider="mock"), 502),
        (errors.RateLimited("x", provider="mock", retry_after=9), 503),
        (errors.TransportError("x", provider="mock"), 503),
        (errors.ProviderFailure("x", provider="mock"), 502),
        (errors.ProviderFailure("x"), 500),
        (errors.Unauthorized("x"), 500),
        (KeyError("x"), 500),
    ],
)
def test_what_each_error_is_answered_with(error: Exception, status: int) -> None:
    refusal = refusal_of(error)
    assert refusal.status == status
    code, headers, body = rendered(refusal, "/v1/x")
    assert code == status and dict(headers)[b"content-type"] == b"application/problem+json"
    assert b"/a/path" not in body
    asked_for = getattr(error, "retry_after", None)
    if asked_for is not None or status in (429, 503):
        assert dict(headers)[b"retry-after"] == str(asked_for or 5).encode()


def test_texts_are_cut_and_in_one_line() -> None:
    _, _, body = rendered(Refusal(400, "a\r\nb\x00" + "x" * 5_000), "/" + "y" * 5_000)
    told = httpx.Response(400, content=body).json()
    assert len(told["detail"]) <= 1000 and len(told["instance"]) <= 1000
    assert told["detail"].isprintable()

"""`atlas session` and `atlas runtime …` over HTTP: what is asked, what is shown, and what each refusal becomes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pulumi_atlas.cli import _companion_events, _session_wait

Atlas = Callable[..., Any]

KEY = "atlas_" + "k" * 43
SESSION: dict[str, Any] = {
    "id": "s-1", "state": "provisioning", "status": "provisioning", "owner": "ada", "template": "studio",
    "provider": "mock", "urls": {}, "deadline_kind": None, "remaining_s": None, "cost": None, "cost_per_hour": None,
    "generation": 0, "created_at": 1000.0, "now": 1065.0, "auth": "bearer", "cause": "opened", "reason": "",
}  # fmt: skip
READY = SESSION | {
    "state": "ready", "status": "ready", "urls": {"8000": "http://127.0.0.1:9"}, "deadline_kind": "idle",
    "deadline": 1965.0, "remaining_s": 899.6, "cost": 0.25, "cost_per_hour": 1.5, "active_at": 1060.0,
    "active_source": "http",
}  # fmt: skip
TOKENS = {"token": "atlas_" + "t" * 43, "touch_token": "atlas_" + "o" * 43}


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Fake:
    """A companion that answers as it was told: the answers to a request in turn, the last one again and again."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, list[tuple[int, str, bytes]]] = field(default_factory=dict)

    def answer(self, what: str, body: Any, status: int = 200, kind: str = "application/json") -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.setdefault(what, []).append((status, kind, raw))

    def refuse(self, what: str, status: int, detail: str = "no", slug: str = "", **more: Any) -> None:
        problem = {"type": f"urn:atlas:problem:{slug}", "title": "x", "status": status, "detail": detail, **more}
        self.answer(what, problem, status, "application/problem+json")

    def bodies(self, what: str) -> list[Any]:
        return [one.body for one in self.asked if f"{one.method} {one.path}" == what]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    told = Fake()

    class Door(BaseHTTPRequestHandler):
        def _do(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            told.asked.append(Asked(self.command, parts.path, parse_qs(parts.query), dict(self.headers), body))
            rows = told.answers.get(f"{self.command} {parts.path}") or [(404, "text/html", b"<h1>nothing</h1>")]
            status, kind, raw = rows.pop(0) if len(rows) > 1 else rows[0]
            if status == 0:  # an answer that is lost
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status in (429, 503):
                self.send_header("Retry-After", "7")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = _do

        def log_message(self, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("ATLAS_COMPANION_URL", told.url)
    monkeypatch.setenv("ATLAS_COMPANION_KEY", KEY)
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


# -- verbs


def test_a_session_is_opened_from_a_template(fake: Fake, atlas: Atlas) -> None:
    fake.answer("POST /v1/sessions", SESSION | TOKENS, 201)
    done = atlas(
        *("session", "open", "--template", "studio", "--owner", "ada", "--idle-ttl-s", "15m", "--max-lifetime", "2h"),
        *("--warn-before", "30", "--on-idle", "stop", "--budget", "2.5", "--auth", "signed_url", "--label", "a=b"),
    )
    assert done.code == 0, done
    (asked,) = fake.asked
    assert asked.body == {
        "template": "studio", "owner": "ada", "idle_ttl_s": 900, "max_lifetime_s": 7200, "warn_before_s": 30,
        "on_idle": "stop", "budget": 2.5, "auth": "signed_url", "labels": {"a": "b"},
    }  # fmt: skip
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Idempotency-Key"]
    assert done.out.splitlines()[-1].split() == ["token", TOKENS["token"]]
    assert TOKENS["touch_token"] in done.out


def test_a_session_is_opened_from_a_spec(fake: Fake, atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_MINE", "s3cret")
    fake.answer("POST /v1/sessions", SESSION | TOKENS, 201)
    done = atlas(
        *("session", "open", "--provider", "local", "--port", "8000/http", "--env", "SECRET_OF_MINE", "--json"),
        *("--", "python3", "-m", "http.server", "--json"),
    )
    assert fake.asked[0].body == {
        "spec": {
            "provider": "local", "command": ["python3", "-m", "http.server", "--json"], "ports": ["8000/http"],
            "env": {"SECRET_OF_MINE": "s3cret"},
        }
    }  # fmt: skip
    assert done.json == SESSION | TOKENS


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "nothing says what to rent"),
        (("--template", "x", "--provider", "mock"), "cannot be given together with provider"),
        (("--template", "x", "--label", "a"), "has no value"),
        (("--template", "x", "--idle-ttl", "soon"), "is not a length of time"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    fake: Fake, atlas: Atlas, words: tuple[str, ...], text: str
) -> None:
    done = atlas("session", "open", *words)
    assert (done.code, fake.asked) == (2, [])
    assert text in done.err


def test_a_lost_answer_to_an_opening_is_asked_for_again_under_the_same_key(fake: Fake, atlas: Atlas) -> None:
    fake.answer("POST /v1/sessions", b"", 0)
    fake.answer("POST /v1/sessions", SESSION | TOKENS, 201)
    done = atlas("session", "open", "--template", "studio", "--json")
    assert done.json["id"] == "s-1"
    keys = [one.headers["Idempotency-Key"] for one in fake.asked]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_an_answer_that_stays_lost_is_an_unknown_outcome(fake: Fake, atlas: Atlas) -> None:
    fake.answer("POST /v1/sessions", b"", 0)
    done = atlas("session", "open", "--template", "studio", "--json")
    assert done.code == 10
    assert done.json["error"]["kind"] == "unknown_outcome"
    assert len(fake.asked) == 3


def test_waiting_ends_when_it_is_ready_and_keeps_the_tokens(fake: Fake, atlas: Atlas) -> None:
    fake.answer("POST /v1/sessions", SESSION | TOKENS, 201)
    fake.answer("GET /v1/sessions/s-1", SESSION)
    fake.answer("GET /v1/sessions/s-1", READY)
    done = atlas("session", "open", "--template", "studio", "--wait", "--json")
    assert (done.json["status"], done.json["token"]) == ("ready", TOKENS["token"])
    assert fake.asked[1].query["wait"] == ["ready"]
    assert 1 <= float(fake.asked[1].query["timeout_s"][0]) <= 300


def test_waiting_for_one_that_fails_says_why(fake: Fake, atlas: Atlas) -> None:
    fake.answer("POST /v1/sessions", SESSION | TOKENS, 201)
    fake.answer("GET /v1/sessions/s-1", SESSION | {"status": "failed", "state": "failed", "reason": "no capacity"})
    done = atlas("session", "open", "--template", "studio", "--wait")
    assert done.code == 10
    assert "session s-1 has ended: no capacity" in done.err
    assert TOKENS["token"] not in done.out + done.err


class Out:
    def progress(self, text: str) -> Any:
        from contextlib import nullcontext

        return nullcontext(lambda line: None)


class Steps:
    """A companion whose session goes through these states."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states = list(states)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def settled(row: dict[str, Any], to: str, *states: dict[str, Any]) -> dict[str, Any]:
    ticks = iter(range(100))
    return _session_wait.until_settled(
        Out(), Steps(*states), row, to=to, timeout_s=10, clock=lambda: float(next(ticks)), pause=lambda s: None  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_wait_that_is_over_says_how_to_go_on() -> None:
    from pulumi_atlas.errors import TimedOut

    with pytest.raises(TimedOut, match="session s-1 is still provisioning after 10 s") as caught:
        settled(SESSION, "ready", SESSION)
    assert "atlas session close s-1" in caught.value.hint


@pytest.mark.parametrize(
    ("to", "row", "words"),
    [
        ("terminated", READY | {"status": "irrevocable"}, "does not go away"),
        ("paused", READY | {"status": "terminating", "cause": "budget"}, r"has ended \(budget\)"),
        ("paused", READY | {"cause": "not_confirmed"}, r"is ready \(not_confirmed\)"),
        ("ready", READY | {"status": "paused", "cause": "stopped", "reason": "no card"}, "is paused: no card"),
    ],
)
def test_a_wait_for_what_will_never_be_ends(to: str, row: dict[str, Any], words: str) -> None:
    from pulumi_atlas.errors import AtlasError

    with pytest.raises(AtlasError, match=words):
        settled(READY | {"status": "pausing"}, to, row)


def test_a_pause_that_takes_its_time_is_waited_for() -> None:
    pausing, paused = READY | {"status": "pausing", "cause": "pause"}, READY | {"status": "paused", "cause": "stopped"}
    assert settled(pausing, "paused", pausing, pausing, paused)["status"] == "paused"
    assert settled(READY | {"status": "terminating"}, "terminated", READY | {"status": "failed"})["status"] == "failed"


def test_the_small_verbs(fake: Fake, atlas: Atlas) -> None:
    fake.answer("POST /v1/sessions/s-1/touch", READY)
    fake.answer("POST /v1/sessions/s-1/extend", READY)
    fake.answer("POST /v1/sessions/s-1/pause", READY | {"status": "pausing"}, 202)
    fake.answer("POST /v1/sessions/s-1/resume", READY | {"status": "resuming"}, 202)
    fake.answer("DELETE /v1/sessions/s-1", READY | {"status": "terminating"}, 202)
    fake.answer("GET /v1/sessions/s-1", READY)
    assert atlas("session", "touch", "s-1").out == "session s-1 is ready for 15m more (idle)\n"
    assert atlas("session", "extend", "s-1", "10m", "--json").json == READY
    assert atlas("session", "pause", "s-1").out == "session s-1 is pausing\n"
    assert atlas("session", "resume", "s-1").out == "session s-1 is resuming\n"
    assert atlas("session", "close", "s-1", "--reason", "done").out == "session s-1 is terminating\n"
    shown = atlas("session", "show", "s-1").out
    assert "ends         in 15m, by idle (1970-01-01 00:32:45 UTC)" in shown
    assert "last active  5s ago, by http" in shown
    assert "cost         0.25, 1.50 per hour" in shown
    assert fake.bodies("POST /v1/sessions/s-1/touch") == [{"source": "client"}]
    assert fake.bodies("POST /v1/sessions/s-1/extend") == [{"seconds": 600}]
    assert fake.asked[4].query == {"reason": ["done"]}


def test_what_is_typed_as_an_id_stays_one_segment_of_the_path(fake: Fake, atlas: Atlas) -> None:
    assert atlas("session", "show", "../../metrics?x").code != 0
    assert fake.asked[0].path == "/v1/sessions/..%2F..%2Fmetrics%3Fx"


def test_a_signed_url_is_printed_alone(fake: Fake, atlas: Atlas) -> None:
    fake.answer("POST /v1/sessions/s-1/signed-urls", {"url": "https://x.example/a?atlas-access=u1", "expires_at": 5})
    words = ("--port", "8000", "--method", "put", "--single-use", "--address", "192.0.2.1", "--expires-in-s", "90s")
    assert atlas("session", "url", "s-1", "/a", *words).out == "https://x.example/a?atlas-access=u1\n"
    atlas("session", "url", "s-1", "/hls/a.m3u8", "--in-path")
    atlas("session", "url", "s-1", "/b/", "--prefix")
    assert fake.bodies("POST /v1/sessions/s-1/signed-urls") == [
        {"path": "/a", "port": "8000", "method": "PUT", "single_use": True, "address": "192.0.2.1", "expires_in_s": 90},
        {"path": "/hls/a.m3u8", "method": "GET", "form": "path", "expires_in_s": 900},
        {"path": "/b/", "method": "GET", "prefix": True, "expires_in_s": 900},
    ]


def test_all_pages_are_listed(fake: Fake, atlas: Atlas) -> None:
    fake.answer("GET /v1/sessions", {"sessions": [READY], "next_cursor": "c2"})
    fake.answer("GET /v1/sessions", {"sessions": [SESSION | {"id": "s-2"}], "next_cursor": None})
    done = atlas("session", "list", "--owner", "ada", "--state", "ready")
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0][:3] == ["ID", "STATE", "OWNER"]
    assert [row[0] for row in rows[1:]] == ["s-1", "s-2"]
    assert fake.asked[0].query == {"owner": ["ada"], "status": ["ready"]}
    assert fake.asked[1].query["cursor"] == ["c2"]


def test_what_an_operator_looks_at(fake: Fake, atlas: Atlas) -> None:
    gone = READY | {"status": "irrevocable", "attempts": 6, "reason": "the provider does not answer", "pod_id": "p-1"}
    fake.answer("GET /v1/irrevocable", {"sessions": [gone], "left_out": 3})
    fake.answer("GET /v1/orphans", {"orphans": [], "left_out": 0})
    fake.answer(
        "GET /v1/templates", {"templates": [{"name": "studio", "provider": "mock", "idle_ttl_s": 900}], "left_out": 0}
    )
    done = atlas("runtime", "irrevocable")
    assert done.code == 7
    assert "the provider does not answer" in done.out
    assert "3 more are not shown" in done.err
    assert (atlas("runtime", "orphans").code, atlas("runtime", "orphans", "--json").json) == (0, [])
    assert atlas("runtime", "templates").out.splitlines()[1].split() == ["studio", "mock", "15m"]


def test_reap_only_looks(fake: Fake, atlas: Atlas) -> None:
    fake.answer("POST /v1/reap", {})
    assert atlas("runtime", "reap").code == 2
    assert fake.asked == []
    assert atlas("runtime", "reap", "--dry-run", "--json").json == {}
    assert fake.asked[0].query == {"dry_run": ["true"]}


# -- refusals


@pytest.mark.parametrize(
    ("status", "slug", "code", "kind"),
    [
        (401, "", 3, "unauthorized"),
        (402, "funds", 6, "insufficient_funds"),
        (403, "forbidden", 3, "forbidden"),
        (404, "not-found", 4, "not_found"),
        (409, "conflict", 5, "conflict"),
        (410, "session-gone", 5, "conflict"),
        (413, "", 2, "validation"),
        (422, "invalid", 2, "validation"),
        (429, "limit", 10, "rate_limited"),
        (500, "", 10, "provider"),
        (502, "provider", 10, "provider"),
        (503, "no-capacity", 6, "no_capacity"),
        (503, "store-unavailable", 10, "transport"),
    ],
)
def test_each_refusal_has_its_exit_code(fake: Fake, atlas: Atlas, status: int, slug: str, code: int, kind: str) -> None:
    fake.refuse("GET /v1/sessions/s-1", status, f"because {KEY} and {TOKENS['token']}", slug)
    done = atlas("session", "show", "s-1", "--json")
    assert (done.code, done.json["error"]["kind"]) == (code, kind)
    assert "because [secret] and [secret]" in done.json["error"]["message"]
    if status in (429, 503):
        assert done.json["error"]["retry_after"] == 7


def test_every_failure_of_a_spec_is_told_with_its_path(fake: Fake, atlas: Atlas) -> None:
    errors = [
        {"path": "spec.ports[0]", "message": "is no port", "hint": "8000/http"},
        {"path": "owner", "message": "long"},
    ]
    fake.refuse("POST /v1/sessions", 422, "two things", "invalid", errors=errors)
    done = atlas("session", "open", "--template", "studio")
    assert done.code == 2
    assert "spec.ports[0]: is no port (8000/http)" in done.err
    assert "owner: long" in done.err


def test_what_is_no_companion_is_not_believed(fake: Fake, atlas: Atlas) -> None:
    done = atlas("session", "show", "s-1", "--json")  # a web server's own 404
    assert (done.code, done.json["error"]["kind"]) == (10, "provider")
    fake.answer("GET /v1/sessions/s-1", b"<h1>welcome</h1>", 200, "text/html")
    assert atlas("session", "show", "s-1").code == 10


def test_where_nobody_listens_it_says_how_to_start_one(atlas: Atlas, unused_url: str) -> None:
    done = atlas("session", "list", "--url", unused_url, "--key", "x")
    assert done.code == 10
    assert f"no companion answers at {unused_url}" in done.err
    assert "atlas runtime serve" in done.err


@pytest.fixture
def unused_url() -> str:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_address[1]}"


# -- keys


def test_a_key_comes_from_the_option_a_file_or_the_environment(
    fake: Fake, atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answer("GET /v1/sessions/s-1", READY)
    (tmp_path / "key").write_text("from-file\n")
    atlas("session", "show", "s-1", "--key", "from-option", "--key-file", str(tmp_path / "key"))
    atlas("session", "show", "s-1", "--key-file", str(tmp_path / "key"))
    atlas("session", "show", "s-1")
    (tmp_path / "s.db.admin-key").write_text("from-store\n")
    atlas("session", "show", "s-1", "--store", f"sqlite:///{tmp_path}/s.db")
    monkeypatch.delenv("ATLAS_COMPANION_KEY")
    monkeypatch.setenv("ATLAS_RUNTIME_STORE", f"sqlite:///{tmp_path}/s.db")
    atlas("session", "show", "s-1")
    sent = [one.headers["Authorization"].removeprefix("Bearer ") for one in fake.asked]
    assert sent == ["from-option", "from-file", KEY, "from-store", "from-store"]


def test_the_admin_key_of_this_machine_is_shown_to_no_other(
    atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.db.admin-key").write_text("from-store\n")
    monkeypatch.setenv("ATLAS_RUNTIME_STORE", f"sqlite:///{tmp_path}/s.db")
    done = atlas("session", "list", "--url", "https://sessions.example")
    assert done.code == 3
    assert "ATLAS_COMPANION_KEY" in done.err


def test_the_file_of_the_admin_key_is_the_one_that_the_companion_makes() -> None:
    from pulumi_atlas.cli import _runtime_place
    from pulumi_atlas.runtime.http.first_key import FIRST_KEY

    assert _runtime_place.FIRST_KEY == FIRST_KEY


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--url", "http://sessions.example", "--key", "x"), "the key would travel in clear"),
        (("--url", "ftp://x", "--key", "x"), "is no address of a companion"),
        (("--url", "https://u:p@x.example", "--key", "x"), "is no address of a companion"),
        (("--key", "a b"), "the key for the companion is none"),
        (("--key-file", "nowhere"), "cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_refused(atlas: Atlas, words: tuple[str, ...], text: str) -> None:
    done = atlas("session", "list", *words)
    assert done.code == 2
    assert text in done.err


def test_the_listening_address_says_where_this_machines_companion_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from pulumi_atlas.cli import _runtime_place

    for listen, url in {"0.0.0.0:80": "http://127.0.0.1:80", "[::1]:9": "http://[::1]:9"}.items():
        monkeypatch.setenv("ATLAS_RUNTIME_LISTEN", listen)
        assert _runtime_place.own_url() == url
    assert os.environ["ATLAS_RUNTIME_LISTEN"]


# -- events


def stream(*events: tuple[int, str, Any]) -> bytes:
    rows = [f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for number, kind, data in events]
    return "".join(["id: 9\nretry: 3000\n\n", ": \n\n", *rows]).encode()


def test_kept_events_are_shown_up_to_the_newest(fake: Fake, atlas: Atlas) -> None:
    other = READY | {"id": "s-2"}
    fake.answer("GET /v1/events", stream(), kind="text/event-stream")
    fake.answer("GET /v1/events", stream((8, "status", READY), (9, "warning", other)), kind="text/event-stream")
    done = atlas("runtime", "events", "--last", "2", "--json")
    assert [(row["id"], row["event"], row["data"]["id"]) for row in done.json] == [
        ("8", "status", "s-1"),
        ("9", "warning", "s-2"),
    ]
    assert "Last-Event-ID" not in fake.asked[0].headers
    assert fake.asked[1].headers["Last-Event-ID"] == "7"
    assert [row["id"] for row in atlas("runtime", "events", "s-2", "--json").json] == ["9"]


def test_the_events_of_a_session_that_ends_are_followed_to_their_end(fake: Fake, atlas: Atlas) -> None:
    final = READY | {"state": "terminated", "status": "terminated"}
    fake.answer("GET /v1/events", b"id: 0\nretry: 1\n\n", kind="text/event-stream")
    fake.answer(
        "GET /v1/sessions/s-1/events", stream((1, "status", READY), (2, "status", final)), kind="text/event-stream"
    )
    done = atlas("runtime", "events", "s-1", "--follow", "--json")
    assert done.code == 0
    assert [row["data"]["state"] for row in done.lines] == ["ready", "terminated"]


def test_a_stream_that_breaks_off_is_taken_up_where_it_was() -> None:
    from contextlib import contextmanager

    from pulumi_atlas.errors import Conflict, TransportError

    asked: list[str | None] = []
    pauses: list[float] = []

    class Broken:
        @contextmanager
        def stream(self, path: str, *, after: str | None) -> Iterator[Iterator[str]]:
            asked.append(after)
            if len(asked) == 3:
                raise TransportError("nobody")
            if len(asked) == 4:
                raise Conflict("over", status=410)

            def lines() -> Iterator[str]:
                yield from [f"id: {len(asked) + 4}", "event: status", "data: {}", ""]
                raise TransportError("broken off")

            yield lines()

    said: list[str] = []
    found = list(_companion_events.follow(Broken(), "/v1/events", after="4", say=said.append, pause=pauses.append))  # type: ignore[arg-type]
    assert [event["id"] for event in found] == ["5", "6"]
    assert asked == ["4", "5", "6", "6"]
    assert len(pauses) == len(said) == 3


def test_an_event_of_several_lines_is_one() -> None:
    lines = ["data: [1,", "data: 2]", "id: 3", "", ": comment", "", "event: gap", "data: {}", "", "data: half"]
    assert list(_companion_events.parsed(lines)) == [
        {"id": "3", "event": "message", "data": [1, 2]},
        {"id": "", "event": "gap", "data": {}},
    ]


# -- status

CALM: dict[str, Any] = {
    "name": "studio", "deployment_id": "d-1", "version": "0.1.0", "uptime_s": 61.0, "ready": True, "draining": False,
    "sessions": {"ready": 2}, "cost_per_hour": 3.0, "working": 0, "store": {"confirmed": True, "frozen": ""},
    "inspection": {"looked_at": 1000.0, "accounts": 1, "wrong_account": 0, "absent": 0},
    "sweep": {"mode": "dry_run", "orphans": 0, "cost_per_hour": 0.0}, "frozen": ["starting"], "outages": [],
    "kills_last_minute": 1, "max_kills_per_minute": 120, "waiting": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({}, 0, "studio (0.1.0), up 1m 1s"),
        ({}, 0, "cost per hour  3.00"),
        ({"frozen": ["store not confirmed"]}, 7, "frozen         store not confirmed"),
        (
            {"outages": [{"provider": "mock", "account": "a", "since": 0.0, "error": "no answer"}]},
            7,
            "mock a since 1970",
        ),
        ({"sessions": {"irrevocable": 1}}, 7, "1 irrevocable"),
        ({"sweep": {"mode": "off", "orphans": 2, "cost_per_hour": 1.5}}, 7, "2, 1.50 per hour"),
        ({"inspection": {"wrong_account": 3}}, 7, "3 made in an account"),
        ({"store": {"confirmed": False, "frozen": "a copy"}}, 0, "not confirmed: a copy"),
        ({"draining": True}, 0, "no, it is stopping"),
        ({"waiting": 4}, 0, "4 past their deadline"),
    ],
)
def test_a_status_says_whether_a_person_is_needed(
    fake: Fake, atlas: Atlas, change: dict[str, Any], code: int, words: str
) -> None:
    fake.answer("GET /v1/status", CALM | change)
    done = atlas("runtime", "status")
    assert done.code == code
    assert words in done.out


def test_a_plan_says_what_holds_it_back(fake: Fake, atlas: Atlas) -> None:
    row = {"id": "s-1", "owner": "ada", "act": "terminate", "deadline": "idle", "overdue_s": 65.0, "held": "frozen"}
    fake.answer("POST /v1/reap", {"now": 1.0, "frozen": ["clock jumped"], "outages": [], "rows": [row]})
    lines = atlas("runtime", "reap", "--dry-run").out.splitlines()
    assert lines[0] == "kills are frozen: clock jumped"
    assert lines[2].split() == ["s-1", "ada", "terminate", "idle", "1m", "5s", "frozen"]

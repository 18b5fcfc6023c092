"""The job API as a stranger sees it: who gets in, what is refused, and RunPod's shapes."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # real processes; not part of `make check`


@pytest.fixture(scope="module")
def world(shared_world: Any) -> Any:
    """One world for all of these tests: most of them only knock at one endpoint's door."""
    return shared_world


@pytest.fixture(scope="module")
def made(world: Any) -> Any:
    return world.create("handlers:add")


def base(made: Any) -> str:
    return f"/v2/{made.id}"


@pytest.mark.parametrize("key", [None, "wrong", "ключ"])
def test_without_the_key_nothing_is_answered(world: Any, made: Any, key: str | None) -> None:
    header = None if key is None else {"Authorization": f"Bearer {key}".encode().decode("latin-1")}
    for path, body in (("/run", {"input": 1}), ("/health", None), ("/status/x", None), ("/purge-queue", {})):
        status, told = world.ask(made, base(made) + path, body, key=None, headers=header)
        assert status == 401 and "key" in told["error"]
    assert world.health(made).jobs["inQueue"] == 0


def test_the_bare_key_opens_too(world: Any, made: Any) -> None:
    status, _ = world.ask(made, base(made) + "/health", key=None, headers={"Authorization": made.key})
    assert status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}", ""]
)
def test_a_foreign_host_name_is_refused_whatever_the_key(world: Any, made: Any, host: str) -> None:
    told = {"Host": host.format(port=made.raw["port"])}
    status, _ = world.ask(made, base(made) + "/health", headers=told)
    assert status == 421


def test_localhost_is_a_good_name(world: Any, made: Any) -> None:
    assert world.ask(made, base(made) + "/health", headers={"Host": f"localhost:{made.raw['port']}"})[0] == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_what_a_web_page_can_send_without_asking_is_refused(world: Any, made: Any, kind: str) -> None:
    status, told = world.ask(made, base(made) + "/run", b'{"input": 1}', headers={"Content-Type": kind})
    assert status == 415 and "application/json" in told["error"]


def test_no_page_is_invited(world: Any, made: Any) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    status, _ = world.ask(made, base(made) + "/run", method="OPTIONS", headers=headers)
    assert status in (401, 405)


def test_the_keys_of_provider_job_api_and_workers_do_not_open_each_others_doors(world: Any, made: Any) -> None:
    record = world.provider._store.read("endpoints", made.id)
    assert world.ask(made, f"/control/{made.id}/state")[0] == 401
    assert world.ask(made, base(made) + "/health", key=record["control_key"])[0] == 401
    for key in (record["control_key"], record["key"]):
        assert world.ask(made, f"/worker/{made.id}/job-take/w-1?gpu=none&token={key}", key=key)[0] == 401
    assert world.ask(made, "/", key=record["key"])[0] == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"input": NaN}', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"[]", '"input"'),
        (b'{"inputs": 1}', '"input"'),
        (b'{"input": 1, "policy": 3}', "policy"),
        (b'{"input": 1, "policy": {"ttl": -1}}', "policy.ttl"),
        (b'{"input": 1, "policy": {"executionTimeout": "5"}}', "policy.executionTimeout"),
        (b'{"input": 1, "policy": {"executionTimeout": true}}', "policy.executionTimeout"),
        (b'{"input": 1, "webhook": "file:///etc/passwd"}', "webhook"),
        (b'{"input": 1, "webhook": "http://[::1"}', "webhook"),
        (b'{"input": 1, "webhook": 7}', "webhook"),
    ],
)
def test_a_bad_body_is_refused_with_a_sentence(world: Any, made: Any, body: bytes, words: str) -> None:
    for action in ("/run", "/runsync"):
        status, told = world.ask(made, base(made) + action, body, headers={"Content-Type": "application/json"})
        assert status == 400 and words in told["error"], told
    assert world.health(made).jobs["inQueue"] == 0


@pytest.mark.parametrize("wait", ["0", "300001", "soon", "-1", "1.5", "9" * 30])
def test_a_bad_wait_is_refused(world: Any, made: Any, wait: str) -> None:
    assert world.ask(made, base(made) + f"/runsync?wait={wait}", {"input": [1]})[0] == 400


def test_a_body_past_the_limit_is_refused(world: Any, made: Any) -> None:
    big = json.dumps({"input": "x" * 10_000_000}).encode()
    headers = {"Content-Type": "application/json"}
    assert world.ask(made, base(made) + "/run", big, headers=headers)[0] == 413


def test_answers_have_runpods_shapes(world: Any) -> None:
    made = world.create("handlers:add")
    status, queued = world.ask(made, base(made) + "/run", {"input": [1, 2]})
    assert status == 200 and queued == {"id": queued["id"], "status": "IN_QUEUE"}
    world.wait_until(lambda: world.ask(made, base(made) + f"/status/{queued['id']}")[1]["status"] == "COMPLETED")
    done = world.ask(made, base(made) + f"/status/{queued['id']}")[1]
    assert set(done) == {"id", "status", "delayTime", "executionTime", "output", "workerId"}
    sync = world.ask(made, base(made) + "/runsync", {"input": [4]})[1]
    assert sync["status"] == "COMPLETED" and sync["id"].startswith("sync-") and sync["output"] == {"sum": 4}
    health = world.ask(made, base(made) + "/health")[1]
    assert set(health["jobs"]) == {"completed", "failed", "inProgress", "inQueue", "retried"}
    assert set(health["workers"]) == {"idle", "initializing", "ready", "running", "throttled", "unhealthy"}
    assert health["jobs"]["completed"] == 2


def test_runsync_answers_with_the_running_job_when_its_wait_ends(world: Any) -> None:
    made = world.create("handlers:gate")
    gate = world.code / "gate"
    told = world.ask(made, base(made) + "/runsync?wait=200", {"input": str(gate)})[1]
    assert told["status"] in ("IN_QUEUE", "IN_PROGRESS") and told["id"].startswith("sync-")
    gate.touch()
    ended = world.ask(made, base(made) + f"/status/{told['id']}?wait=20000")[1]
    assert ended["status"] == "COMPLETED"


def test_a_stream_without_a_position_gives_each_chunk_once(world: Any) -> None:
    made = world.create("handlers:count")
    job = world.ask(made, base(made) + "/run", {"input": 3})[1]["id"]
    world.ask(made, base(made) + f"/status/{job}?wait=20000")
    first = world.ask(made, base(made) + f"/stream/{job}")[1]
    assert first["status"] == "COMPLETED" and first["stream"] == [{"output": n} for n in range(3)]
    assert world.ask(made, base(made) + f"/stream/{job}", {})[1]["stream"] == []
    assert len(world.ask(made, base(made) + f"/stream/{job}?from=1")[1]["stream"]) == 2


def test_only_what_failed_is_retried(world: Any) -> None:
    made = world.create("handlers:explode")
    job = world.ask(made, base(made) + "/runsync", {"input": {}})[1]["id"]
    assert world.ask(made, base(made) + f"/retry/{job}", {})[1] == {"id": job, "status": "IN_QUEUE"}
    world.ask(made, base(made) + f"/status/{job}?wait=20000")
    world.update(made, world.spec("handlers:echo"), restart=True)
    world.ask(made, base(made) + f"/retry/{job}", {})
    ended = world.ask(made, base(made) + f"/status/{job}?wait=20000")[1]
    assert (ended["status"], ended["output"]) == ("COMPLETED", {})
    assert world.ask(made, base(made) + f"/retry/{job}", {})[0] == 409
    assert world.ask(made, base(made) + "/retry/unknown", {})[0] == 404


def test_purging_cancels_what_waits_and_leaves_what_runs(world: Any) -> None:
    made = world.create("handlers:gate")
    gate = world.code / "gate of the purge"
    jobs = [world.queue(made, str(gate)) for _ in range(3)]
    world.wait_until(lambda: world.job(made, jobs[0]).status == "in_progress")
    assert world.ask(made, base(made) + "/purge-queue", method="POST")[1] == {"removed": 2, "status": "completed"}
    assert world.job(made, jobs[1]).status == "cancelled"
    gate.touch()
    world.wait_until(lambda: world.job(made, jobs[0]).status == "completed")


@pytest.fixture
def listener() -> Iterator[tuple[str, list[Any], list[int]]]:
    """A place for webhooks: its URL, what has arrived, and the statuses that it is to answer with (200 when empty)."""
    heard: list[Any] = []
    answers: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", heard, answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_hears_of_the_end_and_is_tried_three_times(world: Any, listener: Any) -> None:
    url, heard, answers = listener
    answers += [500, 302]
    made = world.create(provider_options={"webhook_delay_s": 0.05})
    job = world.queue(made, [1, 2], webhook=url)
    world.wait_until(lambda: len(heard) == 3)
    assert all(told["id"] == job and told["status"] == "COMPLETED" for told in heard)
    assert heard[0]["output"] == {"sum": 3}
    other = world.queue(made, [5], webhook=url)
    world.wait_until(lambda: len(heard) == 4)
    assert heard[3]["id"] == other


def test_a_stranger_with_a_workers_route_gets_nothing(world: Any, made: Any) -> None:
    world.sync(made, [1])
    worker = world.job(made, world.queue(made, [1])).worker_id or "w-0"
    for path in (f"job-take/{worker}?token=", f"job-stop/{worker}", f"ping/{worker}?token=x", "job-take/w-none?token="):
        assert world.ask(made, f"/worker/{made.id}/{path}", key=None)[0] == 401
    assert world.ask(made, f"/worker/{made.id}/job-done/{worker}/x", {"output": 1}, key=None)[0] == 401

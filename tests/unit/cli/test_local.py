"""`atlas` as a process of its own over real local pods: what another process started is found, read and ended."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.usefixtures("local"), pytest.mark.slow]

Atlas = Callable[..., Any]

COUNT = "import time\nfor n in range(3):\n print('line', n, flush=True)\n time.sleep(0.3)\n"
SLEEP = "import time;print('up', flush=True);time.sleep(1000)"


def spawned(shell: Atlas, code: str, *words: str) -> str:
    done = shell("compute", "spawn", "--provider", "local", "--json", *words, "--", sys.executable, "-u", "-c", code)
    assert (done.code, done.err) == (0, ""), done
    return str(done.json["id"])


def status(shell: Atlas, ident: str) -> str:
    return str(shell("compute", "get", ident, "--json").json["status"])


def test_a_pods_whole_life(shell: Atlas) -> None:
    ident = spawned(shell, SLEEP, "--name", "web", "--port", "8000", "--env", "PASS=hunter2")
    listed = shell("compute", "list", "--provider", "local", "--json")
    [row] = listed.json
    assert (row["id"], row["name"], row["status"], listed.err) == (ident, "web", "running", "")
    assert row["urls"]["8000"].startswith("http://127.0.0.1:")
    assert "hunter2" not in listed.out
    assert shell("compute", "stop", ident).code == 0
    assert status(shell, ident) == "stopped"
    assert shell("compute", "start", ident).out == f"pod {ident} started\n"
    assert status(shell, ident) == "running"
    done = shell("compute", "terminate", ident, "--yes", "--json")
    assert done.json == {"results": [{"id": ident, "ok": True}]}
    assert shell("compute", "list", "--json").json == []
    gone = shell("compute", "get", ident, "--json")
    assert (gone.code, gone.json["error"]["kind"]) == (4, "not_found")


def test_logs_are_followed_until_the_command_ends(shell: Atlas) -> None:
    ident = spawned(shell, COUNT)
    followed = shell("compute", "logs", ident, "--follow", "--json")
    assert followed.code == 0
    assert [line["line"] for line in followed.lines] == ["line 0", "line 1", "line 2"]
    assert shell("compute", "logs", ident).out == "line 0\nline 1\nline 2\n"
    assert shell("compute", "terminate", ident, "--yes").code == 0


def test_a_command_that_fails_while_it_is_waited_for_is_told_with_its_log_and_removed(shell: Atlas) -> None:
    code = "import sys;print('the disk is on fire');sys.exit(3)"
    done = shell("compute", "spawn", "--wait", "--json", "--", sys.executable, "-c", code)
    assert done.code == 10
    assert "the disk is on fire" in done.json["error"]["message"]
    assert shell("compute", "list", "--json").json == []


def test_a_command_that_does_not_exist_is_wrong_input(shell: Atlas) -> None:
    done = shell("compute", "spawn", "--json", "--", "no-such-command-at-all")
    assert (done.code, done.json["error"]["failures"][0]["path"]) == (2, "command")


def test_jobs_go_through_a_local_endpoint(shell: Atlas, tmp_path: Path) -> None:
    worker = """
        def work(job):
            if job["input"] == "bad":
                raise ValueError("no good")
            yield {"got": job["input"]}
            yield {"and": "more"}
    """
    (tmp_path / "cli_worker.py").write_text(textwrap.dedent(worker))
    made = shell("endpoints", "create", "--handler", "cli_worker:work", "-w", str(tmp_path), "--min", "1", "--json")
    assert made.code == 0, made
    endpoint = made.json["id"]
    try:
        assert made.json["key"] in ("***", None)
        good = shell("jobs", "run", endpoint, "--provider", "local", "--input", '{"n": 1}', "--wait", "--json")
        assert (good.code, good.json["status"]) == (0, "completed"), good
        streamed = shell("jobs", "stream", endpoint, good.json["id"], "--json")
        assert streamed.lines == [{"got": {"n": 1}}, {"and": "more"}]
        bad = shell("jobs", "run", endpoint, "--input", '"bad"', "--wait", "--json")
        assert (bad.code, bad.json["status"]) == (12, "failed")
        assert shell("endpoints", "health", endpoint, "--json").json["jobs"]["completed"] == 1
        unknown = shell("jobs", "get", endpoint, "nope", "--json")
        assert (unknown.code, unknown.json["error"]["kind"]) == (4, "not_found")
    finally:
        assert shell("endpoints", "delete", endpoint, "--yes").code == 0
    assert shell("endpoints", "list", "--json").json == []

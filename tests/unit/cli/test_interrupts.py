"""Ctrl-C: a real SIGINT to a real process ends it soon, with code 8 and a sentence about what is left."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.providers.mock import World

pytestmark = pytest.mark.slow  # real processes; not part of `make check`

Atlas = Callable[..., Any]

ENDS_WITHIN_S = 20  # the aim is 3; a loaded machine gets more


def intents(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "atlas" / "state" / "intents").glob("*.json"))


def ended(process: Any) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=ENDS_WITHIN_S)
    return process.returncode, out, err


def test_a_spawn_interrupted_while_it_waits_tells_the_pods_id(
    begun: Atlas, world: World, until: Callable[..., None], tmp_path: Path
) -> None:
    process = begun("compute", "spawn", "--wait", "--", "x", ATLAS_MOCK_PROVISION_S="1000")
    until(lambda: any(json.loads(file.read_text())["thing_id"] for file in intents(tmp_path)))
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    [pod] = world.pods
    assert (code, out) == (8, "")
    assert err.startswith("stopped: ") and err.count("\n") == 1
    assert f"atlas compute terminate {pod} --provider mock" in err
    assert not intents(tmp_path), "its owner was told the id, so nothing may reap it"


def test_with_json_what_is_left_is_in_the_document(
    begun: Atlas, world: World, until: Callable[..., None], tmp_path: Path
) -> None:
    process = begun("compute", "spawn", "--wait", "--json", "--", "x", ATLAS_MOCK_PROVISION_S="1000")
    until(lambda: any(json.loads(file.read_text())["thing_id"] for file in intents(tmp_path)))
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    [pod] = world.pods
    document = json.loads(out)
    assert (code, err, document["error"]["kind"]) == (8, "", "interrupted")
    assert document["left"] == [{"kind": "pod", "id": pod, "provider": "mock"}]


def test_when_nobody_knows_whether_it_was_rented_the_intent_stays_open_and_the_way_out_is_named(
    begun: Atlas, world: World, until: Callable[..., None], tmp_path: Path
) -> None:
    world.fail_next("create_compute", "unknown_outcome")
    world.configure(listing_complete=False)
    process = begun("compute", "spawn", "--", "x")
    until(lambda: intents(tmp_path) and world.calls("list_compute"))
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (8, "")
    assert "atlas doctor --recover" in err
    assert len(intents(tmp_path)) == 1


def test_an_interrupted_wait_for_a_job_says_that_the_job_runs_on(
    begun: Atlas, atlas: Atlas, world: World, until: Callable[..., None]
) -> None:
    endpoint = atlas("endpoints", "create", "--handler", "m:f", "--json").json["id"]
    world.configure(jobs_advance=False)
    process = begun("jobs", "run", endpoint, "--input", "1", "--wait", "--json")
    until(lambda: world.calls("get_job"))
    process.send_signal(signal.SIGINT)
    code, out, _ = ended(process)
    [job] = world.jobs
    document = json.loads(out)
    assert code == 8
    assert f"atlas jobs get {endpoint} {job}" in document["error"]["hint"]
    assert document["left"] == [{"kind": "job", "id": job, "endpoint": endpoint}]


@pytest.mark.usefixtures("local")
def test_following_a_log_ends_at_once_and_the_pod_runs_on(begun: Atlas, shell: Atlas) -> None:
    code = "import time\nwhile True:\n print('tick', flush=True)\n time.sleep(0.1)"
    ident = shell("compute", "spawn", "--json", "--", sys.executable, "-c", code).json["id"]
    process = begun("compute", "logs", ident, "--follow", "--json")
    assert json.loads(process.stdout.readline()) == {"line": "tick"}
    process.send_signal(signal.SIGINT)
    code_, out, err = ended(process)
    *_, last = out.splitlines()
    assert (code_, err) == (8, "")
    assert json.loads(last)["error"]["kind"] == "interrupted"
    assert shell("compute", "get", ident, "--json").json["status"] == "running"
    assert shell("compute", "terminate", ident, "--yes").code == 0


def test_a_termination_signal_counts_as_ctrl_c(
    begun: Atlas, world: World, until: Callable[..., None], tmp_path: Path
) -> None:
    process = begun("compute", "spawn", "--wait", "--", "x", ATLAS_MOCK_PROVISION_S="1000")
    until(lambda: any(json.loads(file.read_text())["thing_id"] for file in intents(tmp_path)))
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 8

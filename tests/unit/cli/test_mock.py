"""Each command over a mock world: what it does, what it prints, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atlas_session.tokens import hash_token
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import World

Atlas = Callable[..., Any]


def spawned(atlas: Atlas, *words: str) -> str:
    done = atlas("compute", "spawn", "--json", *words, "--", "sleep", "9")
    assert done.code == 0, done
    return str(done.json["id"])


def endpoint(atlas: Atlas, *words: str) -> str:
    done = atlas("endpoints", "create", "--handler", "m:f", "--json", *words)
    assert done.code == 0, done
    return str(done.json["id"])


# -- compute ---------------------------------------------------------------------------------------------------------


def test_spawn_hands_every_option_on(atlas: Atlas, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "from here")
    volume = atlas("volumes", "create", "--size-gb", "5", "--json").json["id"]
    words = [
        *("--name", "trainer", "--image", "img:1", "--gpu", "h100", "--gpu", "a100_80g", "--gpu-count", "2"),
        *("--port", "8888/http", "--port", "22/tcp", "-e", "A=b=c", "-e", "MINE", "--volume", f"/data={volume}"),
        *("--region", "eu", "--region", "us", "--cloud-type", "secure", "--spot", "--max-cost-per-hour", "9.5"),
        *("--working-dir", "/w", "--on-exit", "stop", "--max-lifetime", "2h", "--option", "exit_code=3"),
        *("--container-disk-gb", "20", "--volume-gb", "30"),
    ]
    ident = spawned(atlas, *words)
    pod = world.pods[ident]
    assert pod.spec == ComputeSpec(
        name="trainer",
        command=("sleep", "9"),
        image="img:1",
        gpu=("h100", "a100_80g"),
        gpu_count=2,
        ports=("8888/http", "22/tcp"),
        env={"A": "b=c", "MINE": "from here"},
        volumes={"/data": volume},
        regions=("eu", "us"),
        cloud_type="secure",
        spot=True,
        max_cost_per_hour=9.5,
        working_dir="/w",
        on_exit="stop",
        max_lifetime_s=7200,
        provider_options={"exit_code": 3},
        container_disk_gb=20,
        volume_gb=30,
    )
    assert pod.owner is not None and pod.owner.kind == "manual"


def test_what_follows_the_command_belongs_to_it(atlas: Atlas, world: World) -> None:
    assert atlas("compute", "spawn", "python", "-m", "http.server", "--json").code == 0
    assert atlas("compute", "spawn", "--", "sh", "-c", "echo --yes").code == 0
    commands = [pod.spec.command for pod in world.pods.values() if pod.spec]
    assert commands == [("python", "-m", "http.server", "--json"), ("sh", "-c", "echo --yes")]


def test_spawn_with_auth_prints_the_token_once(atlas: Atlas, world: World) -> None:
    made = atlas("compute", "spawn", "--json", "--auth", "signed_url", "--", "sleep", "9").json
    token = made["auth"]["token"]
    assert made["auth"]["header"] == {"Authorization": f"Bearer {token}"}
    assert made["auth"]["signing_key"] and set(made["spec"]["env"].values()) == {"***"}
    spec = world.pods[made["id"]].spec
    assert spec is not None and spec.env["ATLAS_TOKEN_HASHES"] == hash_token(token)
    again = atlas("compute", "get", made["id"], "--json", "--show-secrets")
    assert token not in again.out and again.json["auth"] is None
    shown = atlas("compute", "spawn", "--auth", "bearer", "--", "sleep", "9").out
    assert len([line for line in shown.splitlines() if line.startswith("token ")]) == 1
    assert "signing key" not in shown


def test_a_wrong_kind_of_auth_is_refused(atlas: Atlas, world: World) -> None:
    done = atlas("compute", "spawn", "--auth", "basic", "--", "sleep", "9")
    assert done.code != 0 and "auth: is none of the possible values" in done.err
    assert not world.pods


def test_spawn_leaves_no_intent(atlas: Atlas, world: World, tmp_path: Path) -> None:
    spawned(atlas)
    spawned(atlas, "--wait")
    assert not list((tmp_path / "atlas" / "state" / "intents").glob("*.json"))


def test_list_is_a_json_list_with_ids_names_and_states(atlas: Atlas, world: World) -> None:
    assert atlas("compute", "list", "--json").json == []
    ident = spawned(atlas, "--name", "one")
    [row] = atlas("compute", "list", "--json").json
    assert (row["id"], row["name"], row["status"]) == (ident, "one", "running")


def test_list_filters(atlas: Atlas, world: World) -> None:
    one, two = spawned(atlas, "--name", "one", "--gpu", "h100"), spawned(atlas, "--name", "two")
    world.set_status(two, "stopped")

    def ids(*words: str) -> list[str]:
        return [row["id"] for row in atlas("compute", "list", "--json", *words).json]

    assert ids("--name", "one") == [one]
    assert ids("--status", "stopped") == [two]
    assert ids("--gpu", "h100") == [one]
    assert ids("--gpu", "h100", "--status", "stopped") == []
    wrong = atlas("compute", "list", "--json", "--status", "sleeping")
    assert wrong.code == 2
    assert wrong.json["error"]["failures"][0]["path"] == "status"


def test_a_list_for_people_is_plain_in_a_pipe(atlas: Atlas, world: World) -> None:
    empty = atlas("compute", "list")
    assert (empty.code, empty.out, empty.err) == (0, "", "no pods\n")
    ident = spawned(atlas, "--name", "one")
    done = atlas("compute", "list")
    head, row = done.out.splitlines()
    assert head.split() == ["ID", "NAME", "STATUS", "REGION", "$/H", "AGE"]
    assert row.split()[:3] == [ident, "one", "running"]
    assert "\x1b" not in done.out
    assert done.err == ""


def test_secrets_are_printed_only_when_asked_for(atlas: Atlas, world: World) -> None:
    spawn = ("compute", "spawn", "-e", "PASS=hunter2")
    assert "hunter2" not in atlas(*spawn, "--json", "--", "x").out
    assert "hunter2" not in atlas(*spawn, "--", "x").out
    ident = atlas("compute", "list", "--json").json[0]["id"]
    for words in (("list",), ("get", ident)):
        assert "hunter2" not in atlas("compute", *words, "--json").out
        assert "hunter2" not in atlas("compute", *words).out
        assert "hunter2" in atlas("compute", *words, "--json", "--show-secrets").out
    assert "hunter2" in atlas("compute", "get", ident, "--show-secrets").out


def test_stop_start_and_terminate_take_several_ids(atlas: Atlas, world: World) -> None:
    one, two = spawned(atlas), spawned(atlas)
    assert atlas("compute", "stop", one, two).out == f"pod {one} stopped\npod {two} stopped\n"
    assert {pod.status for pod in world.pods.values()} == {"stopped"}
    started = atlas("compute", "start", one, two, "--json").json
    assert started == {"results": [{"id": one, "ok": True}, {"id": two, "ok": True}]}
    assert atlas("compute", "terminate", one, two, one, "--yes").code == 0
    assert not world.pods


def test_after_a_failure_the_others_are_done_all_the_same(atlas: Atlas, world: World) -> None:
    one, two = spawned(atlas), spawned(atlas)
    done = atlas("compute", "terminate", one, "nope", two, "--yes", "--json")
    assert done.code == 4
    assert [row["ok"] for row in done.json["results"]] == [True, False, True]
    assert done.json["results"][1]["error"]["kind"] == done.json["error"]["kind"] == "not_found"
    assert not world.pods
    human = atlas("compute", "terminate", "a", "b", "--yes")
    assert human.code == 4
    assert human.out == ""
    assert "error: a: " in human.err and "error: b: " in human.err


def test_logs_are_lines_and_with_json_one_document(atlas: Atlas, world: World) -> None:
    ident = spawned(atlas)
    world.log(ident, "one", "two", "three")
    assert atlas("compute", "logs", ident).out.endswith("\none\ntwo\nthree\n")
    assert atlas("compute", "logs", ident, "--tail", "1").out == "three\n"
    document = atlas("compute", "logs", ident, "--json").json
    assert (document["id"], document["lines"][-3:]) == (ident, ["one", "two", "three"])


def test_followed_logs_end_with_the_command_and_are_lines_of_json(atlas: Atlas, world: World) -> None:
    ident = spawned(atlas)
    world.log(ident, "one")
    world.finish(ident)
    lines = atlas("compute", "logs", ident, "--follow").out.splitlines()
    assert "one" in lines
    assert atlas("compute", "logs", ident, "--follow", "--json").lines == [{"line": line} for line in lines]
    missing = atlas("compute", "logs", "nope", "--follow", "--json")
    assert missing.code == 4
    assert [line["error"]["kind"] for line in missing.lines] == ["not_found"]


# -- volumes ---------------------------------------------------------------------------------------------------------


def test_volumes_are_made_shown_and_deleted(atlas: Atlas, world: World) -> None:
    assert atlas("volumes", "list", "--json").json == []
    made = atlas("volumes", "create", "--size-gb", "7", "--name", "data", "--region", "eu", "--json").json
    assert (made["name"], made["size_gb"], made["region"]) == ("data", 7, "eu")
    assert "7 GB" in atlas("volumes", "get", made["id"]).out
    assert atlas("volumes", "list").out.splitlines()[1].split()[:4] == [made["id"], "data", "ready", "7"]
    assert atlas("volumes", "delete", made["id"], "--yes").out == f"volume {made['id']} deleted\n"
    assert not world.volumes


def test_a_mounted_volume_is_not_deleted(atlas: Atlas, world: World) -> None:
    volume = atlas("volumes", "create", "--size-gb", "1", "--json").json["id"]
    pod = spawned(atlas, "--volume", f"/data={volume}")
    done = atlas("volumes", "delete", volume, "-y")
    assert done.code == 5
    assert pod in done.err + done.out
    assert pod in atlas("volumes", "list").out


def test_a_volume_needs_a_size(atlas: Atlas, world: World) -> None:
    assert atlas("volumes", "create").code == 2
    assert atlas("volumes", "create", "--size-gb", "-3", "--json").json["error"]["failures"][0]["path"] == "size_gb"
    assert atlas("volumes", "create", "--size-gb", "ten", "--json").json["error"]["kind"] == "validation"


# -- endpoints and jobs ----------------------------------------------------------------------------------------------


def test_endpoints_are_made_shown_and_deleted(atlas: Atlas, world: World) -> None:
    words = [*("--name", "api", "--min", "1", "--max", "3", "--idle-timeout", "2m", "-e", "TOKEN=hunter2")]
    ident = endpoint(atlas, *words, "--execution-timeout", "1h", "--queue-ttl", "2h", "--max-retries", "0")
    spec = world.endpoints[ident].spec
    assert spec is not None
    assert (spec.workers.min, spec.workers.max, spec.workers.idle_timeout_s) == (1, 3, 120)
    assert (spec.execution_timeout_s, spec.queue_ttl_s, spec.max_retries) == (3600, 7200, 0)
    key = world.endpoints[ident].key
    assert key
    for words in (("get", ident), ("list",)):
        for form in ((), ("--json",)):
            text = atlas("endpoints", *words, *form).out
            assert key not in text and "hunter2" not in text and ident in text
    assert key in atlas("endpoints", "get", ident, "--show-secrets").out
    assert atlas("endpoints", "health", ident, "--json").json["workers"]["idle"] == 1
    assert "idle" in atlas("endpoints", "health", ident).out
    assert atlas("endpoints", "delete", ident, "--yes").code == 0
    assert not world.endpoints


def test_an_endpoint_may_run_a_command(atlas: Atlas, world: World) -> None:
    done = atlas("endpoints", "create", "--json", "--", "python", "worker.py", "--fast")
    assert done.json["spec"]["command"] == ["python", "worker.py", "--fast"]
    assert atlas("endpoints", "create", "--json").json["error"]["failures"][0]["path"] == "handler"


def test_a_job_is_queued_waited_for_and_looked_at(atlas: Atlas, world: World) -> None:
    ident = endpoint(atlas)
    queued = atlas("jobs", "run", ident, "--input", '{"n": 1}', "--json").json
    assert queued["status"] == "in_queue"
    ended = atlas("jobs", "run", ident, "--input", '{"n": 1}', "--wait", "--json")
    assert (ended.code, ended.json["status"], ended.json["output"]) == (0, "completed", {"echo": {"n": 1}})
    assert atlas("jobs", "get", ident, ended.json["id"], "--json").json == ended.json
    assert '{"echo": {"n": 1}}' in atlas("jobs", "get", ident, ended.json["id"]).out


def test_a_job_that_did_not_complete_gives_its_own_exit_code(atlas: Atlas, world: World) -> None:
    ident = endpoint(atlas)
    world.configure(jobs_advance=False)
    job = atlas("jobs", "run", ident, "--input", "1", "--json").json["id"]
    world.finish_job(job, status="failed", error="no good")
    shown = atlas("jobs", "get", ident, job)
    assert (shown.code, "no good" in shown.out) == (0, True)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_waiting_for_a_job_that_times_out_in_its_worker_ends_with_twelve(
    atlas: Atlas, world: World, form: tuple[str, ...]
) -> None:
    ident = endpoint(atlas)
    world.configure(jobs_advance=False)
    run = ("jobs", "run", ident, "--input", "1", "--wait", "--timeout", "30", *form)

    real, seen = world.jobs, []

    def fail_it_later() -> None:
        for job in world.jobs:
            if job not in real and not seen:
                seen.append(job)
                world.finish_job(job, status="failed", error="no good")

    done = _while(fail_it_later, lambda: atlas(*run))
    assert done.code == 12
    assert "no good" in done.out
    if form:
        assert done.json["status"] == "failed"
    else:
        assert "is failed" in done.err


def test_a_wait_that_ends_says_that_the_job_runs_on(atlas: Atlas, world: World) -> None:
    ident = endpoint(atlas)
    world.configure(jobs_advance=False)
    done = atlas("jobs", "run", ident, "--input", "1", "--wait", "--timeout", "0.2", "--json")
    assert done.code == 9
    [job] = world.jobs
    assert done.json["error"]["kind"] == "timeout"
    assert f"atlas jobs cancel {ident} {job}" in done.json["error"]["hint"]
    assert atlas("jobs", "cancel", ident, job, "--json").json["status"] == "cancelled"


def test_a_stream_is_printed_chunk_by_chunk_and_its_failure_after_them(atlas: Atlas, world: World) -> None:
    ident = endpoint(atlas)
    world.configure(jobs_advance=False)
    job = atlas("jobs", "run", ident, "--input", "1", "--json").json["id"]
    world.emit(job, {"n": 1})
    world.emit(job, "text")
    world.finish_job(job, status="failed", error="no good")
    plain = atlas("jobs", "stream", ident, job)
    assert (plain.code, plain.out) == (10, '{"n": 1}\ntext\n')
    assert "no good" in plain.err
    as_json = atlas("jobs", "stream", ident, job, "--json")
    assert as_json.lines[:2] == [{"n": 1}, "text"]
    assert as_json.lines[2]["error"]["kind"] == "provider"


def test_a_jobs_input_comes_from_a_file_or_standard_input(
    atlas: Atlas, world: World, tmp_path: Path, shell: Atlas
) -> None:
    ident = endpoint(atlas)
    (tmp_path / "in.json").write_text('{"from": "file"}')
    atlas("jobs", "run", ident, "--input", "@in.json")
    assert shell("jobs", "run", ident, "--input", "-", stdin="[1, 2]").code == 0
    inputs = [call.arguments["input"] for call in world.calls("run_job")]
    assert inputs == [{"from": "file"}, [1, 2]]
    missing = atlas("jobs", "run", ident, "--input", "@nope.json", "--json")
    assert missing.json["error"]["failures"][0]["path"] == "input"


def test_numbers_that_json_has_not_become_null(atlas: Atlas, world: World) -> None:
    ident = endpoint(atlas)
    world.configure(jobs_advance=False)
    job = atlas("jobs", "run", ident, "--input", "1", "--json").json["id"]
    world.finish_job(job, output={"loss": float("nan"), "rows": [float("inf"), 1.5]})
    done = atlas("jobs", "get", ident, job, "--json")
    assert json.loads(done.out, parse_constant=pytest.fail)["output"] == {"loss": None, "rows": [None, 1.5]}


# -- providers and gpus ----------------------------------------------------------------------------------------------


def test_providers_tell_abilities_and_never_a_key(atlas: Atlas, world: World, tmp_path: Path) -> None:
    (tmp_path / "atlas.yaml").write_text("accounts:\n  team-a: {provider: mock, settings: {file: x.json}}\n")
    rows = atlas("providers", "--json").json
    by_name = {(row["name"], row["account"]): row for row in rows}
    assert {("local", None), ("mock", None), ("mock", "team-a")} <= set(by_name)
    assert "endpoints" in by_name["local", None]["abilities"]
    assert by_name["mock", None]["default"] is True
    assert by_name["mock", None]["needs_key"] is False
    text = atlas("providers").out
    assert "mock, account team-a" in text and "mock (default)" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_provider_that_needs_a_key_says_where_it_was_found(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    from pulumi_atlas.providers.mock import MockProvider

    monkeypatch.setattr(MockProvider, "key_variable", "MOCK_API_KEY")
    [missing] = [row for row in atlas("providers", "--json").json if row["name"] == "mock"]
    assert (missing["needs_key"], missing["key_found"]) == (True, False)
    assert "missing: set MOCK_API_KEY" in atlas("providers").out
    refused = atlas("compute", "list", "--json")
    assert (refused.code, refused.json["error"]["kind"]) == (3, "unauthorized")
    monkeypatch.setenv("MOCK_API_KEY", "hunter2")
    done = atlas("providers", "--json")
    [found] = [row for row in done.json if row["name"] == "mock"]
    assert found["key_source"] == "the environment variable MOCK_API_KEY"
    assert "hunter2" not in done.out + atlas("providers").out


def test_gpus_are_listed_by_their_canonical_names(atlas: Atlas) -> None:
    rows = {row["name"]: row for row in atlas("gpus", "--json").json}
    assert rows["h100"]["memory_gb"] == 80
    assert rows["h100"]["native"]["runpod"]["*"].startswith("NVIDIA H100")
    assert atlas("gpus", "--provider", "runpod").out.splitlines()[0].split()[0] == "GPU"
    assert max(len(line) for line in atlas("gpus").out.splitlines()) <= 80
    none = atlas("gpus", "--provider", "local", "--json")
    assert (none.code, none.json) == (0, [])
    assert "rents no GPUs" in atlas("gpus", "--provider", "local").err
    assert atlas("gpus", "--provider", "nope").code == 2


def test_live_offers_have_prices(atlas: Atlas, world: World) -> None:
    world.configure(prices={"h100": 2.5}, capacity={"h100": 0})
    [row] = [row for row in atlas("gpus", "--live", "--json").json if row["canonical"] == "h100"]
    assert (row["lowest_price_per_hour"], row["stock"]) == (2.5, "unavailable")
    assert "2.50" in atlas("gpus", "--live").out
    unable = atlas("gpus", "--live", "--provider", "local", "--json")
    assert (unable.code, unable.json["error"]["kind"]) == (11, "unsupported")


def test_an_account_brings_its_provider_with_it(
    atlas: Atlas, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATLAS_PROVIDER")
    (tmp_path / "atlas.yaml").write_text("accounts:\n  team-a: {provider: mock}\n")
    done = atlas("compute", "spawn", "--account", "team-a", "--json", "--", "x")
    assert done.json["account"] == "mock:team-a"
    assert atlas("compute", "list", "--provider", "mock", "--json").json == []
    assert atlas("compute", "list", "--account", "team-b", "--json").code == 2


def _while(act: Callable[[], None], work: Callable[[], Any]) -> Any:
    """Do `act` again and again beside `work`, until that has ended."""
    import threading

    over = threading.Event()

    def again() -> None:
        while not over.wait(0.05):
            act()

    helper = threading.Thread(target=again)
    helper.start()
    try:
        return work()
    finally:
        over.set()
        helper.join()


def test_a_list_that_is_not_complete_says_so_and_exits_10(atlas: Atlas, world: World) -> None:
    spawned(atlas)
    world.configure(listing_complete=False)
    for group in ("compute", "volumes", "endpoints"):
        ran = atlas(group, "list", "--json")
        assert ran.code == 10
        assert isinstance(ran.json, list)
        assert "not complete" in ran.err

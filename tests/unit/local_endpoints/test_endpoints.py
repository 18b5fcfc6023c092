"""Endpoints: made, seen, changed and deleted; what is left when something dies."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import processes
from pulumi_atlas.errors import InvalidSpec, NotFound, ProviderFailure, TransportError
from pulumi_atlas.ids import EndpointId
from pulumi_atlas.models import JobSpec, Workers

pytestmark = pytest.mark.slow  # real processes; not part of `make check`


def test_an_endpoint_is_made_seen_and_deleted(world: Any) -> None:
    made = world.create(name="adder", workers=Workers(min=1, max=2))
    assert made.status == "ready" and made.name == "adder" and made.cost_per_hour == 0
    assert made.birth == world.births[0] and made.owner.id == "tester"
    assert made.url == world.provider.endpoint_url(EndpointId(made.id))
    assert world.get(made) == made
    listing = world.run(world.provider.list_endpoints())
    assert listing.complete and [each.id for each in listing] == [made.id]
    assert world.health(made).workers["ready"] == 1
    world.delete(made)
    with pytest.raises(NotFound):
        world.get(made)
    with pytest.raises(NotFound):
        world.delete(made)
    assert not world.pids()


def test_the_url_follows_from_the_id_alone(world: Any) -> None:
    url = world.provider.endpoint_url(EndpointId("ep-0123456789ab-15001"))
    assert url == "http://127.0.0.1:15001/v2/ep-0123456789ab-15001"
    for foreign in ("", "ep-0123456789ab", "ep-0123456789ab-0", "ep-0123456789ab-70000", "pod-0123456789ab-1", "../x"):
        with pytest.raises(ValueError, match="not an endpoint"):
            world.provider.endpoint_url(EndpointId(foreign))


def test_keys_are_secret(world: Any) -> None:
    made = world.create()
    assert made.key not in repr(made) and made.key not in str(made.raw)
    for path in world.folder(made).rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        if path.name.endswith(".log"):
            assert made.key not in path.read_text()
    supervisor = world.supervisor(made)
    assert made.key not in str(processes.environment_of(supervisor.pid))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"handler": None}, "handler"),
        ({"command": ("true",)}, "handler"),
        ({"gpu": ("h100",)}, "gpu"),
        ({"env": {"RUNPOD_WEBHOOK_GET_JOB": "x"}}, "env.RUNPOD_WEBHOOK_GET_JOB"),
        ({"env": {"ATLAS_BIRTH": "x"}}, "env.ATLAS_BIRTH"),
        ({"provider_options": {"stop_grace": 1}}, "provider_options.stop_grace"),
        ({"provider_options": {"stop_grace_s": "long"}}, "provider_options.stop_grace_s"),
        ({"handler": "nowhere:f"}, "handler"),
        ({"handler": "handlers:nothing"}, "handler"),
        ({"handler": "broken:f"}, "handler"),
        ({"handler": None, "command": ("no-such-program-here",)}, "command"),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing(world: Any, fields: dict[str, Any], path: str) -> None:
    world.module("broken", "def f(:\n")
    spec = world.spec(**{"handler": "handlers:add", **fields})
    with pytest.raises(InvalidSpec) as caught:
        world.run(world.provider.create_endpoint(spec, world.tag()))
    assert path in [failure.path for failure in caught.value.failures]
    assert all(failure.hint for failure in caught.value.failures)
    assert not world.run(world.provider.list_endpoints()).items
    assert not list((world.root / "ports").glob("*"))


def test_a_missing_working_folder_is_refused(world: Any) -> None:
    spec = world.spec().model_copy(update={"working_dir": str(world.code / "nowhere")})
    with pytest.raises(InvalidSpec, match="no folder"):
        world.run(world.provider.create_endpoint(spec, world.tag()))


def test_looking_a_handler_up_does_not_run_its_module(world: Any) -> None:
    world.module("heavy", "from pathlib import Path\nPath('was-run').touch()\ndef f(job): return 1\n")
    made = world.create("heavy:f")
    assert not (world.code / "was-run").exists()
    assert world.sync(made, {}).output == 1


def test_a_first_worker_that_dies_fails_the_create_with_its_last_words(world: Any) -> None:
    world.module("sour", "raise RuntimeError('the milk is sour')\ndef f(job): return 1\n")
    with pytest.raises(ProviderFailure, match="the milk is sour"):
        world.create("sour:f", workers=Workers(min=1, max=1))
    assert not world.pids()
    assert not world.run(world.provider.list_endpoints()).items


def test_workers_that_cannot_start_show_in_the_status_and_jobs_wait(world: Any) -> None:
    world.module("sour", "import os\nif os.path.exists('sour'): raise RuntimeError('sour')\ndef f(job): return 1\n")
    (world.code / "sour").touch()
    made = world.create("sour:f")
    job = world.queue(made, {})
    failed = world.wait_until(lambda: (seen := world.get(made)).status == "failed" and seen)
    assert "RuntimeError: sour" in failed.reason
    assert world.health(made).workers["unhealthy"] >= 1
    assert world.job(made, job).status == "in_queue"
    (world.code / "sour").unlink()
    world.wait_until(lambda: world.job(made, job).status == "completed")
    assert world.get(made).status == "ready"


def test_the_command_of_an_endpoint_may_be_any_worker(world: Any) -> None:
    made = world.create(None, command=("sh", "-c", "echo no worker at all; exit 4"))
    world.queue(made, {})
    failed = world.wait_until(lambda: (seen := world.get(made)).status == "failed" and seen)
    assert "exit code 4" in failed.reason and "no worker at all" in failed.reason


def test_workers_come_with_the_jobs_and_go_when_idle(world: Any) -> None:
    made = world.create("handlers:gate", workers=Workers(min=0, max=2, idle_timeout_s=0.3))
    assert sum(world.health(made).workers.values()) == 0
    gates = [str(world.code / f"gate-{number}") for number in range(3)]
    jobs = [world.queue(made, gate) for gate in gates]
    world.wait_until(lambda: world.health(made).jobs["inProgress"] == 2)
    health = world.health(made)
    assert health.jobs["inQueue"] == 1 and health.workers["running"] == 2
    for gate in gates:
        (world.code / gate).touch()
    world.wait_until(lambda: all(world.job(made, job).status == "completed" for job in jobs))
    world.wait_until(lambda: sum(world.health(made).workers.values()) == 0)


def test_limits_change_in_place(world: Any) -> None:
    made = world.create("handlers:add")
    before = world.supervisor(made)
    world.sync(made, [1])
    changed = world.update(made, world.spec(name="other", workers=Workers(min=2, max=3)), restart=False)
    assert changed.name == "other" and changed.spec.workers.min == 2
    world.wait_until(lambda: world.health(made).workers["ready"] == 2)
    assert world.supervisor(made) == before
    world.update(made, world.spec(workers=Workers(min=0, max=1)), restart=False)
    world.wait_until(lambda: world.health(made).workers["ready"] <= 1)


def test_a_restart_changes_the_worker_and_keeps_url_key_and_queue(world: Any) -> None:
    gate = world.code / "gate"
    made = world.create("handlers:gate", provider_options={"stop_grace_s": 0.2})
    running, waiting = world.queue(made, str(gate)), world.queue(made, str(gate))
    world.wait_until(lambda: world.job(made, running).status == "in_progress")
    before = world.supervisor(made)
    changed = world.update(made, world.spec("handlers:echo"), restart=True)
    assert (changed.id, changed.url, changed.key) == (made.id, made.url, made.key)
    assert world.supervisor(made) != before and not before.is_alive()
    for job in (running, waiting):
        ended = world.wait_until(lambda job=job: (seen := world.job(made, job)).is_final and seen)
        assert (ended.status, ended.output, ended.retries) == ("completed", str(gate), 0)


def test_a_killed_supervisor_takes_its_workers_with_it_and_an_update_brings_all_back(world: Any) -> None:
    gate = world.code / "gate"
    made = world.create("handlers:gate")
    running, waiting = world.queue(made, str(gate)), world.queue(made, str(gate))
    world.wait_until(lambda: world.job(made, running).status == "in_progress")
    processes.send_signal(world.supervisor(made), signal.SIGKILL)
    world.wait_until(lambda: not world.pids())
    dead = world.get(made)
    assert dead.status == "failed" and "ended" in dead.reason
    with pytest.raises(TransportError) as caught:
        world.queue(made, "x")
    assert caught.value.hint
    alive = world.update(made, made.spec, restart=False)
    assert alive.status == "ready" and alive.key == made.key
    gate.touch()
    assert world.wait_until(lambda: (seen := world.job(made, running)).is_final and seen).retries == 1
    assert world.wait_until(lambda: (seen := world.job(made, waiting)).is_final and seen).retries == 0


def test_results_survive_a_restart(world: Any) -> None:
    made = world.create("handlers:count")
    job = world.queue(made, 3)
    world.wait_until(lambda: world.job(made, job).is_final)
    before = world.health(made).jobs
    world.update(made, made.spec, restart=True)
    assert world.job(made, job).output == [0, 1, 2]
    chunks: list[Any] = []
    world.stream(made, job, chunks)
    assert chunks == [0, 1, 2]
    assert world.health(made).jobs == before


def test_deleting_ends_what_workers_left_elsewhere_too(world: Any) -> None:
    made = world.create("handlers:breed")
    child = world.sync(made, {}).output
    found = processes.identify(child)
    assert found is not None and found.is_alive()
    world.delete(made)
    assert not found.is_alive()


def test_deleting_answers_those_who_wait(world: Any) -> None:
    made = world.create("handlers:gate")

    async def race() -> Any:
        waiting = asyncio.ensure_future(
            world.provider.run_job(JobSpec(endpoint=made.id, input=str(world.code / "gate"), mode="sync"))
        )
        await asyncio.to_thread(world.wait_until, (world.code / "gate.begun").exists)
        await world.provider.delete_endpoint(EndpointId(made.id))
        return await waiting

    assert world.run(race()).status == "cancelled"


def test_the_record_of_a_killed_creator_is_seen_and_can_be_deleted(world: Any) -> None:
    made = world.create()
    supervisor = world.supervisor(made)
    record = world.provider._store.read("endpoints", made.id)
    nobody = {**record["writer"], "pid": 1, "started": 0}
    world.provider._store.write("endpoints", made.id, {**record, "process": None, "writer": nobody})
    again = world.get(made)
    assert again.status == "ready" and again.raw["pid"] == supervisor.pid  # it named itself in its folder
    processes.send_signal(supervisor, signal.SIGKILL)
    world.wait_until(lambda: not world.pids())
    assert world.get(made).status == "failed"
    assert "interrupted" in world.get(made).reason
    world.delete(made)


CREATOR = """
import asyncio, os, sys
from pulumi_atlas.ids import Birth, Owner, Tag
from pulumi_atlas.models import EndpointSpec
from pulumi_atlas.providers.contract import Access
from pulumi_atlas.providers.local import LocalProvider

provider = LocalProvider(Access(provider="local", environ=dict(os.environ)))
spec = EndpointSpec(handler="handlers:add", working_dir=sys.argv[1])
asyncio.run(provider.create_endpoint(spec, Tag(Birth(sys.argv[2]), Owner("manual", "tester"))))
"""


@pytest.mark.parametrize(("step", "status"), [("create.3", "failed"), ("create.4", "ready")])
def test_a_creator_killed_in_between_leaves_what_can_be_found_by_its_birth(
    world: Any, tmp_path: Path, step: str, status: str
) -> None:
    birth = world.tag().birth
    (tmp_path / "points").mkdir()
    env = {
        **os.environ,
        "ATLAS_LOCAL_DIR": str(world.root),
        "ATLAS_FAILPOINT": step,
        "ATLAS_FAILPOINT_DIR": str(tmp_path / "points"),
    }
    with subprocess.Popen([sys.executable, "-c", CREATOR, str(world.code), birth], env=env) as creator:
        world.wait_until(lambda: list((tmp_path / "points").glob(f"{step}.*")))
        (seen,) = world.run(world.provider.list_endpoints())
        assert seen.birth == birth and seen.status in ("starting", "ready")
        creator.kill()
    (left,) = world.run(world.provider.list_endpoints())
    world.wait_until(lambda: world.get(left).status == status)
    repaired = world.update(left, left.spec, restart=False)
    assert repaired.status == "ready" and world.sync(repaired, [1]).output == {"sum": 1}
    world.delete(left)
    assert not world.pids()


def test_an_interrupted_create_leaves_nothing(world: Any) -> None:
    world.module("slow", "import time\ntime.sleep(60)\ndef f(job): return 1\n")

    async def give_up() -> None:
        spec = world.spec("slow:f", workers=Workers(min=1, max=1))
        creating = asyncio.ensure_future(world.provider.create_endpoint(spec, world.tag()))
        await asyncio.to_thread(world.wait_until, lambda: len(world.pids()) > 2)  # supervisor, warden, worker
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating

    world.run(give_up())
    assert not world.pids()
    assert not world.run(world.provider.list_endpoints()).items


def test_an_endpoint_whose_folder_is_removed_ends_itself(world: Any) -> None:
    made = world.create(workers=Workers(min=1, max=1))
    world.folder(made).rename(world.code / "moved")
    world.wait_until(lambda: not world.pids())


def test_many_endpoints_at_once_get_ports_of_their_own(world: Any) -> None:
    async def three() -> Any:
        return await asyncio.gather(*(world.provider.create_endpoint(world.spec(), world.tag()) for _ in range(3)))

    made = world.run(three())
    assert len({each.raw["port"] for each in made}) == 3
    assert [world.sync(each, [1, 2]).output["sum"] for each in made] == [3, 3, 3]

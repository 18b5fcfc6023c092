"""Local pods: stop, start and update."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.errors import Conflict, InvalidSpec, NotFound
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.local import LocalProvider

FOREVER = ("sleep", "1000")


def update(world: Any, pod: Any, *, restart: bool, **fields: Any) -> Any:
    assert pod.spec
    spec = ComputeSpec.model_validate({**pod.spec.model_dump(), **fields})
    return world.run(world.provider.update_compute(pod.id, spec, restart=restart))


def test_a_stopped_pod_keeps_its_id_ports_files_and_logs(world: Any) -> None:
    pod = world.create("sh", "-c", "echo run; touch kept; sleep 1000", ports=("80",))
    world.says(pod, "run")
    world.stop(pod)
    seen = world.get(pod)
    assert (seen.status, seen.ports, seen.raw["pid"]) == ("stopped", pod.ports, None)
    assert world.members(pod) == []
    assert (Path(pod.raw["working_dir"]) / "kept").exists()
    world.start(pod)
    again = world.get(pod)
    assert (again.status, again.ports, again.birth) == ("running", pod.ports, pod.birth)
    assert again.raw["pid"] != pod.raw["pid"]
    world.says(pod, "run")
    assert world.logs(pod) == ["run", "run"]


def test_stopping_what_is_stopped_and_starting_what_runs_is_done(world: Any) -> None:
    pod = world.create(*FOREVER)
    world.start(pod)
    assert world.get(pod).raw["pid"] == pod.raw["pid"]
    world.stop(pod)
    world.stop(pod)
    assert world.get(pod).status == "stopped"


def test_stop_kills_what_does_not_listen_once_its_grace_is_over(world: Any) -> None:
    deaf = "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);print('ready');time.sleep(1000)"
    pod = world.python(deaf, provider_options={"grace_s": 0.2})
    world.says(pod, "ready")
    world.stop(pod)
    seen = world.get(pod)
    assert (seen.status, world.members(pod)) == ("stopped", [])
    assert seen.exit_code in (None, -9)  # the process above it may be killed before it can note the end


def test_stop_ends_children_that_made_a_session_of_their_own(world: Any) -> None:
    pod = world.create("sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000")
    world.says(pod, "ready")
    world.stop(pod)
    assert world.members(pod) == []


def test_a_stopped_pod_with_on_exit_restart_stays_stopped(world: Any) -> None:
    pod = world.create(*FOREVER, on_exit="restart")
    world.stop(pod)
    assert world.get(pod).status == "stopped"
    assert world.members(pod) == []


@pytest.mark.parametrize("code", [0, 3])
def test_an_ended_pod_can_be_started_and_stopped(world: Any, code: int) -> None:
    pod = world.python(f"print('ran'); raise SystemExit({code})")
    world.becomes(pod, "failed" if code else "finished")
    world.start(pod)
    world.becomes(pod, "failed" if code else "finished")
    assert world.logs(pod) == ["ran", "ran"]
    world.stop(pod)
    seen = world.get(pod)
    assert (seen.status, seen.exit_code) == ("stopped", code)


def test_a_pod_whose_processes_were_killed_can_be_started(world: Any, until: Any) -> None:
    pod = world.create("sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000")
    world.says(pod, "ready")
    os.kill(pod.raw["shim_pid"], signal.SIGKILL)
    world.becomes(pod, "failed")
    world.start(pod)
    assert world.get(pod).status == "running"
    until(lambda: len(world.members(pod)) == 4)  # the leftover of the first run is gone


def test_start_refuses_when_the_command_has_vanished_and_the_pod_stays(world: Any, tmp_path: Path) -> None:
    script = tmp_path / "app"
    script.write_text("#!/bin/sh\nsleep 1000\n")
    script.chmod(0o755)
    pod = world.create(str(script))
    world.stop(pod)
    script.unlink()
    with pytest.raises(Conflict, match="does not exist"):
        world.start(pod)
    assert world.get(pod).status == "stopped"


def test_a_program_that_the_system_refuses_at_start_makes_the_pod_failed(world: Any, tmp_path: Path) -> None:
    script = tmp_path / "app"
    script.write_text("#!/bin/sh\nsleep 1000\n")
    script.chmod(0o755)
    pod = world.create(str(script))
    world.stop(pod)
    script.write_bytes(b"\x7fELF nonsense")
    with pytest.raises(Exception, match="could not be started"):
        world.start(pod)
    seen = world.get(pod)
    assert seen.status == "failed"
    assert "could not be executed" in seen.reason
    assert world.members(pod) == []


def test_the_lifetime_counts_from_the_start(world: Any) -> None:
    pod = world.create(*FOREVER, max_lifetime_s=0.3)
    world.becomes(pod, "finished")
    world.start(pod)
    assert world.get(pod).status == "running"
    world.becomes(pod, "finished")


def test_an_update_in_place_does_not_touch_the_process(world: Any) -> None:
    pod = world.create(*FOREVER, name="one")
    seen = update(world, pod, restart=False, name="two", provider_options={"grace_s": 1})
    assert (seen.name, seen.raw["pid"], seen.status) == ("two", pod.raw["pid"], "running")
    assert world.get(pod).name == "two"


def test_a_changed_grace_rules_at_once(world: Any) -> None:
    deaf = "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);print('ready');time.sleep(1000)"
    pod = world.python(deaf, provider_options={"grace_s": 3000})
    world.says(pod, "ready")
    update(world, pod, restart=False, provider_options={"grace_s": 0.1})
    world.stop(pod)
    assert world.get(pod).status == "stopped"


def test_a_restart_runs_the_new_spec(world: Any) -> None:
    pod = world.create("sh", "-c", "echo $WORD; sleep 1000", env={"WORD": "old"}, ports=("80",))
    world.says(pod, "old")
    seen = update(world, pod, restart=True, env={"WORD": "new"})
    assert (seen.status, seen.ports) == ("running", pod.ports)
    assert seen.raw["pid"] != pod.raw["pid"]
    world.says(pod, "new")


def test_a_stopped_pod_takes_a_new_spec_without_starting(world: Any) -> None:
    pod = world.create("sh", "-c", "echo $WORD; sleep 1000", env={"WORD": "old"})
    world.stop(pod)
    assert update(world, pod, restart=True, env={"WORD": "new"}).status == "stopped"
    world.start(pod)
    world.says(pod, "new")


def test_a_bad_update_leaves_the_pod_as_it_was(world: Any) -> None:
    pod = world.create(*FOREVER)
    with pytest.raises(InvalidSpec, match="does not exist"):
        update(world, pod, restart=True, command=("no-such-program-at-all",))
    assert world.get(pod) == pod
    with pytest.raises(Conflict, match="ports"):
        update(world, pod, restart=True, ports=("80",))
    assert world.get(pod) == pod
    assert "ports" not in LocalProvider.compute_changes


def test_updating_what_is_not_there_is_not_found(world: Any) -> None:
    pod = world.create(*FOREVER)
    world.terminate(pod)
    with pytest.raises(NotFound):
        update(world, pod, restart=True)


def test_a_pod_is_never_shown_as_ended_while_it_is_restarted(world: Any) -> None:
    import asyncio

    pod = world.create("sh", "-c", "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done")
    spec = pod.spec.model_copy(update={"env": {"A": "1"}})

    async def watch() -> set[str]:
        work = asyncio.ensure_future(world.provider.update_compute(pod.id, spec, restart=True))
        seen = set()
        while not work.done():
            seen.add((await world.provider.get_compute(pod.id)).status)
        await work
        return seen

    assert world.run(watch()) <= {"running", "provisioning"}

"""Local pods: create, get, list, terminate, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import processes
from pulumi_atlas.errors import InvalidSpec, NotFound, ProviderFailure
from pulumi_atlas.models import ComputeSpec, Port
from pulumi_atlas.providers.local import LocalProvider

FOREVER = ("sleep", "1000")


def failures_of(world: Any, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidSpec) as raised:
        world.run(world.provider.create_compute(ComputeSpec(**fields), world.tag()))
    assert world.rubbish() == []
    return {failure.path: str(failure) for failure in raised.value.failures}


def test_a_created_pod_runs_and_says_what_it_is(world: Any) -> None:
    pod = world.create(*FOREVER, name="web", ports=("8080", "22/tcp"))
    assert pod.status == "running"
    assert pod.name == "web"
    assert pod.birth == world.births[0]
    assert str(pod.owner) == "manual:tester"
    assert pod.spec and pod.spec.command == FOREVER
    assert pod.cost_per_hour == 0.0
    assert pod.account == world.run(world.provider.identity())
    assert processes.identify(pod.raw["pid"])
    assert processes.identify(pod.raw["shim_pid"])
    assert set(pod.raw["host_ports"]) == {"8080", "22"}
    assert world.get(pod) == pod
    assert world.list() == [pod]


def test_urls_follow_from_the_id_alone(world: Any) -> None:
    pod = world.create(*FOREVER, ports=("8080", "22/tcp"))
    first, second = pod.raw["host_ports"].values()
    assert pod.id.endswith(f"-{first}-{second}")
    assert pod.urls == {"8080": f"http://127.0.0.1:{first}", "22": f"tcp://127.0.0.1:{second}"}
    assert LocalProvider.pod_urls(pod.id, (Port(number=8080), Port(number=22, protocol="tcp"))) == pod.urls


@pytest.mark.parametrize("foreign", ["", "pod-1", "vol-3f9a2c11d0aa-4100", "pod-3f9a2c11d0aa", "pod-3f9a2c11d0aa-1-2"])
def test_urls_of_a_foreign_id_are_refused(foreign: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        LocalProvider.pod_urls(foreign, (Port(number=80),))  # type: ignore[arg-type]


def test_a_server_answers_on_the_port_it_is_told(world: Any, until: Any) -> None:
    code = "import os,http.server as h;h.test(h.SimpleHTTPRequestHandler,port=int(os.environ['PORT']),bind='127.0.0.1')"
    pod = world.python(code, ports=("8080",))

    def answers() -> bool:
        try:
            with urllib.request.urlopen(pod.urls["8080"], timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    until(answers)


def test_the_command_gets_its_environment_and_none_of_our_keys(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNPOD_API_KEY", "FLY_API_TOKEN", "VAST_API_KEY", "PULUMI_CONFIG_PASSPHRASE", "ATLAS_SECRET", "PORT"):
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    pod = world.python(
        "import os,json;print(json.dumps(dict(os.environ)))",
        env={"MINE": "ü €", "HOME": "/mine"},
        ports=("80", "90/tcp"),
    )
    world.becomes(pod, "finished")
    told = json.loads(world.logs(pod)[0])
    assert "planted" not in told.values()
    ports = pod.raw["host_ports"]
    assert (told["PORT"], told["PORT_80"], told["PORT_90"]) == (str(ports["80"]), str(ports["80"]), str(ports["90"]))
    assert told["ATLAS_POD_ID"] == pod.id
    assert told["ATLAS_BIRTH"] == pod.birth
    assert json.loads(told["ATLAS_VOLUMES"]) == {}
    assert (told["MINE"], told["HOME"], told["PYTHONPATH"]) == ("ü €", "/mine", "/somewhere")
    assert told["PATH"] == os.environ["PATH"]


def test_no_shell_reads_the_command(world: Any) -> None:
    pod = world.create("echo", "$HOME", "; exit 3", "*")
    world.becomes(pod, "finished")
    assert world.logs(pod) == ["$HOME ; exit 3 *"]


def test_the_command_is_a_session_apart(world: Any) -> None:
    pod = world.create(*FOREVER)
    assert os.getsid(pod.raw["pid"]) == os.getpgid(pod.raw["pid"]) == pod.raw["shim_pid"] != os.getsid(0)


def test_without_working_dir_it_runs_in_a_private_folder(world: Any) -> None:
    pod = world.create("pwd")
    world.becomes(pod, "finished")
    assert world.logs(pod) == [f"{pod.raw['folder']}/work"]
    assert stat.S_IMODE(Path(pod.raw["folder"]).stat().st_mode) == 0o700
    assert stat.S_IMODE((Path(pod.raw["folder"]) / "work").stat().st_mode) == 0o700


def test_a_relative_working_dir_starts_from_here(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path)
    pod = world.create("pwd", working_dir="app")
    world.becomes(pod, "finished")
    assert world.logs(pod) == [str(tmp_path / "app")]


def test_a_command_may_be_a_file_of_the_working_dir(world: Any, tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    pod = world.create("./run.sh", working_dir=str(tmp_path))
    world.becomes(pod, "finished")
    assert world.logs(pod) == ["hello"]


def test_files_with_secrets_are_private(world: Any) -> None:
    pod = world.create(*FOREVER, env={"TOKEN": "hush"})
    files = [path for path in Path(pod.raw["folder"]).rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert "hush" not in json.dumps(pod.raw)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_pod_needs_a_command(world: Any) -> None:
    assert "runs a command" in failures_of(world)["command"]


def test_every_failure_is_told_at_once_with_its_path(world: Any, tmp_path: Path) -> None:
    found = failures_of(
        world,
        command=("no-such-program-at-all",),
        gpu=("h100",),
        image="debian",
        spot=True,
        ports=("80", "80/tcp"),
        env={"PORT": "1", "PORT_80": "1", "ATLAS_BIRTH": "x"},
        volumes={"/data": "vol-000000000000", "/./": "vol-1", "/a/../b": "vol-2"},
        provider_options={"grace": 3},
    )
    assert set(found) >= {"command", "gpu", "image", "spot", "ports[1]", "env.PORT", "env.PORT_80", "env.ATLAS_BIRTH"}
    assert set(found) >= {"volumes./data", "volumes././", "volumes./a/../b", "provider_options.grace"}
    assert "does not exist" in found["command"]
    assert "GPUs are not rented out" in found["gpu"]


@pytest.mark.parametrize("value", [-1, True, "10", float("nan"), 1e9])
def test_a_grace_that_is_no_time_is_refused(world: Any, value: object) -> None:
    assert "provider_options.grace_s" in failures_of(world, command=FOREVER, provider_options={"grace_s": value})


def test_a_missing_working_dir_is_refused(world: Any) -> None:
    assert "there is no folder" in failures_of(world, command=FOREVER, working_dir="/no/such/place")["working_dir"]


def test_a_command_that_is_no_program_is_refused(world: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "not executable" in failures_of(world, command=("./notes.txt",), working_dir=str(tmp_path))["command"]
    assert "not executable" in failures_of(world, command=("/tmp",))["command"]


def test_a_command_is_searched_on_the_pods_own_path(world: Any, tmp_path: Path) -> None:
    assert "does not exist" in failures_of(world, command=("sleep", "1"), env={"PATH": str(tmp_path)})["command"]


def test_a_program_that_the_system_refuses_leaves_nothing(world: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with pytest.raises(ProviderFailure, match="could not be started"):
        world.create(str(broken))
    assert world.rubbish() == []


# -- ends -------------------------------------------------------------------------------------------------------------


def test_a_command_that_ends_well_is_finished(world: Any) -> None:
    pod = world.becomes(world.create("true"), "finished")
    assert (pod.exit_code, pod.reason, pod.raw["pid"]) == (0, "", None)


def test_a_command_that_ends_badly_is_failed_with_its_code(world: Any) -> None:
    pod = world.becomes(world.python("raise SystemExit(7)"), "failed")
    assert pod.exit_code == 7
    assert "exit code 7" in pod.reason


def test_a_command_killed_behind_our_back_is_failed_with_its_signal(world: Any) -> None:
    pod = world.create(*FOREVER)
    os.kill(pod.raw["pid"], signal.SIGKILL)
    pod = world.becomes(pod, "failed")
    assert pod.exit_code == -9
    assert "SIGKILL" in pod.reason


def test_a_group_killed_behind_our_back_is_failed(world: Any) -> None:
    pod = world.create(*FOREVER)
    os.killpg(pod.raw["shim_pid"], signal.SIGKILL)
    pod = world.becomes(pod, "failed")
    assert (pod.exit_code, pod.reason) == (None, "its processes were killed")


@pytest.mark.parametrize("end", ["by itself", "stop"])
def test_a_pod_that_was_started_by_another_pods_command_outlives_it(world: Any, end: str) -> None:
    """A runner that is itself a local pod rents pods for others."""
    code = f"""
import sys, time
from pulumi_atlas import Atlas
made = Atlas("local", environ={{"ATLAS_LOCAL_DIR": {str(world.root)!r}, "HOME": "/nonexistent"}}).spawn_compute(
    command=["sleep", "1000"])
print("made", flush=True)
{"" if end == "by itself" else "time.sleep(1000)"}
"""
    runner = world.python(code)
    world.says(runner, "made")
    if end == "stop":
        world.stop(runner)
    world.becomes(runner, "finished" if end == "by itself" else "stopped")
    (inner,) = [pod for pod in world.list() if pod.id != runner.id]
    world.births.append(inner.birth)
    assert inner.status == "running"


def test_a_command_does_not_outlive_the_process_above_it(world: Any, until: Any) -> None:
    pod = world.create(*FOREVER)
    os.kill(pod.raw["shim_pid"], signal.SIGKILL)
    until(lambda: not world.members(pod))
    assert world.get(pod).status == "failed"


def test_what_a_command_leaves_behind_ends_with_it(world: Any, until: Any) -> None:
    pod = world.create("sh", "-c", "setsid sleep 1000 & sleep 1000 & trap '' TERM; exit 0")
    world.becomes(pod, "finished")
    until(lambda: not world.members(pod))


def test_a_pod_of_another_boot_is_failed(world: Any) -> None:
    pod = world.create(*FOREVER)
    path = Path(pod.raw["folder"]) / "record.json"
    record = json.loads(path.read_text())
    record["process"]["boot"] = record["writer"]["boot"] = "another-boot"
    path.write_text(json.dumps(record))
    seen = world.get(pod)
    assert (seen.status, seen.reason) == ("failed", "the machine restarted")
    world.terminate(pod)
    assert world.members(pod) == []


def test_on_exit_stop_shows_an_ended_pod_as_stopped(world: Any) -> None:
    pod = world.becomes(world.python("raise SystemExit(4)", on_exit="stop"), "stopped")
    assert pod.exit_code == 4


def test_on_exit_terminate_removes_an_ended_pod(world: Any, until: Any) -> None:
    pod = world.create("true", on_exit="terminate", ports=("80",))
    until(lambda: world.is_gone(pod))
    assert world.list() == []
    assert world.rubbish() == []


def test_on_exit_restart_starts_the_command_again(world: Any, until: Any) -> None:
    pod = world.python("print('again')", on_exit="restart")
    until(lambda: world.logs(pod).count("again") >= 2)
    assert world.get(pod).status == "running"
    world.terminate(pod)
    assert world.members(pod) == []


@pytest.mark.parametrize("on_exit", ["keep", "stop"])
def test_max_lifetime_finishes_a_pod(world: Any, on_exit: str) -> None:
    """With `on_exit="stop"` too: a pod that shows itself as stopped would be started again."""
    pod = world.becomes(world.create(*FOREVER, max_lifetime_s=0.2, on_exit=on_exit), "finished")
    assert "max_lifetime_s" in pod.reason
    assert world.members(pod) == []


def test_max_lifetime_ends_a_command_that_will_not(world: Any) -> None:
    code = "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);print('deaf');time.sleep(1000)"
    pod = world.python(code, max_lifetime_s=0.5, provider_options={"grace_s": 0.1}, on_exit="restart")
    assert "max_lifetime_s" in world.becomes(pod, "finished").reason


# -- terminate --------------------------------------------------------------------------------------------------------


def test_a_terminated_pod_leaves_nothing(world: Any) -> None:
    pod = world.create("sh", "-c", "setsid sleep 1000 & sleep 1000", ports=("80",))
    world.terminate(pod)
    assert world.members(pod) == []
    assert world.rubbish() == []
    assert world.is_gone(pod)
    with pytest.raises(NotFound):
        world.terminate(pod)


def test_terminate_gives_time_to_end_well_and_then_kills(world: Any, tmp_path: Path) -> None:
    kind = "import signal,sys,time\ndef bye(*_):\n open(sys.argv[1],'w').write('bye');sys.exit()\n"
    kind += "signal.signal(signal.SIGTERM,bye);print('ready')\ntime.sleep(1000)"
    pod = world.create("python3", "-u", "-c", kind, str(tmp_path / "said"))
    world.says(pod, "ready")
    world.terminate(pod)
    assert (tmp_path / "said").read_text() == "bye"
    deaf = "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);print('ready');time.sleep(1000)"
    pod = world.python(deaf, provider_options={"grace_s": 0.1})
    world.says(pod, "ready")
    world.terminate(pod)
    assert world.members(pod) == []


def test_a_command_hears_term_once(world: Any, tmp_path: Path) -> None:
    code = "import signal,time\nheard=[]\nsignal.signal(signal.SIGTERM,lambda *_:(heard.append(1),print('term')))\n"
    pod = world.python(code + "print('ready')\nwhile not heard: time.sleep(.01)\ntime.sleep(.3)")
    world.says(pod, "ready")
    world.stop(pod)
    assert world.logs(pod).count("term") == 1


def test_folders_that_may_not_be_written_are_removed_too(world: Any) -> None:
    pod = world.create("sh", "-c", "mkdir -p a/b; touch a/b/c; chmod 500 a/b a; echo done; sleep 1000")
    world.says(pod, "done")
    world.terminate(pod)
    assert world.rubbish() == []


@pytest.mark.parametrize("strange", ["", "..", "pod-0123456789ab", "../pods", "a/b", "pod-\x00"])
def test_a_pod_that_is_not_there_is_not_found(world: Any, strange: str) -> None:
    for verb in (world.provider.get_compute, world.provider.terminate, world.provider.stop, world.provider.start):
        with pytest.raises(NotFound) as raised:
            world.run(verb(strange))
        assert raised.value.provider == "local"
    assert world.rubbish() == []


def test_a_foreign_process_with_the_same_pid_is_never_touched(world: Any, until: Any) -> None:
    pod, stranger = world.create(*FOREVER), world.create(*FOREVER)
    path = Path(pod.raw["folder"]) / "record.json"
    record = json.loads(path.read_text())
    os.killpg(pod.raw["shim_pid"], signal.SIGKILL)
    until(lambda: not world.members(pod))
    record["process"] = processes.identify(stranger.raw["shim_pid"]).as_json()  # type: ignore[union-attr]
    path.write_text(json.dumps(record))
    world.terminate(pod)
    assert world.get(stranger).status == "running"


# -- many -------------------------------------------------------------------------------------------------------------


def test_a_list_is_filtered(world: Any) -> None:
    one, two = world.create(*FOREVER, name="one"), world.create("true", name="two")
    world.becomes(two, "finished")
    assert [pod.id for pod in world.list(name="one")] == [one.id]
    assert [pod.id for pod in world.list(status="finished")] == [two.id]
    assert world.list(gpu="h100") == []


@pytest.mark.slow
def test_sixty_four_pods_are_created_at_once_without_a_port_twice(world: Any) -> None:
    async def many() -> list[Any]:
        spec = ComputeSpec(command=FOREVER, ports=("80",))
        return await asyncio.gather(*(world.provider.create_compute(spec, world.tag()) for _ in range(64)))

    pods = world.run(many())
    assert {pod.status for pod in pods} == {"running"}
    assert len({pod.raw["host_ports"]["80"] for pod in pods}) == 64
    assert len(world.list()) == 64

    async def none() -> None:
        await asyncio.gather(*(world.provider.terminate(pod.id) for pod in pods))

    world.run(none())
    assert world.rubbish() == []


def test_the_event_loop_is_not_blocked_while_pods_are_created(world: Any) -> None:
    async def measure() -> float:
        spec = ComputeSpec(command=FOREVER)
        work = asyncio.gather(*(world.provider.create_compute(spec, world.tag()) for _ in range(8)))
        longest = 0.0
        while not work.done():
            before = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - before)
        await work
        return longest

    assert world.run(measure()) < 2.0


def test_identity_is_the_same_for_the_same_folder_and_needs_none(world: Any, tmp_path: Path) -> None:
    first = world.run(world.provider.identity())
    assert not world.root.exists()
    world.root.mkdir()
    assert world.run(world.another().identity()) == first
    link = tmp_path / "link"
    link.symlink_to(world.root)
    world.root = link
    assert world.run(world.another().identity()) == first
    world.root = tmp_path / "other"
    assert world.run(world.another().identity()) != first


def test_a_damaged_record_is_named_and_nothing_is_dropped(world: Any) -> None:
    pod = world.create(*FOREVER)
    path = Path(pod.raw["folder"]) / "record.json"
    whole = path.read_text()
    for broken in (whole[:40], "[]", "{}"):
        path.write_text(broken)
        with pytest.raises(ProviderFailure, match=r"record"):
            world.list()
    path.write_text(whole)
    assert [found.id for found in world.list()] == [pod.id]


def test_a_stranger_on_a_wanted_port_is_named_at_start(world: Any) -> None:
    pod = world.create(*FOREVER, ports=("80",))
    world.stop(pod)
    port = pod.raw["host_ports"]["80"]
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with pytest.raises(Exception, match=f"port {port}") as raised:
            world.start(pod)
        assert raised.value.kind == "conflict"  # type: ignore[attr-defined]
    assert world.get(pod).status == "stopped"
    world.start(pod)
    assert world.get(pod).raw["host_ports"] == {"80": port}


def test_the_command_has_the_creators_umask(world: Any) -> None:
    before = os.umask(0o027)
    try:
        pod = world.becomes(world.create("sh", "-c", "umask"), "finished")
    finally:
        os.umask(before)
    assert world.logs(pod) == ["0027"]


def test_two_hundred_pods_are_listed_with_few_reads(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = world.becomes(world.create("true"), "finished")
    record = json.loads((Path(pod.raw["folder"]) / "record.json").read_text())
    for number in range(200):
        copy = record | {"id": f"pod-{number:012x}"}
        world.provider._store.write("pods", copy["id"], copy)
    looks = []
    real = processes.identify
    monkeypatch.setattr(processes, "identify", lambda pid: looks.append(pid) or real(pid))
    assert len(world.list()) == 201
    assert len(looks) <= 3 * 201


def test_it_keeps_the_contract() -> None:
    from pulumi_atlas.providers import contract

    able = contract.abilities(LocalProvider)
    assert {"stop", "update", "on_exit", "provider_ttl", "stable_urls", "volumes", "logs"} <= set(able)
    provider = LocalProvider(contract.Access("local"))
    assert isinstance(provider, contract.Provider)
    assert all(isinstance(provider, protocol) for name, (protocol, _) in contract.ABILITIES.items() if name in able)
    assert not set(LocalProvider.reasons) & LocalProvider.accepts

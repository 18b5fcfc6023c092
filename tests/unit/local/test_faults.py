"""Killed writers, full disks, and several processes in one folder."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import files, processes
from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.ids import new_birth
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.local import _spawn

FOREVER = ("sleep", "1000")

WRITER = """
import asyncio, sys
from pulumi_atlas.ids import Owner, Tag
from pulumi_atlas.models import ComputeSpec, VolumeSpec
from pulumi_atlas.providers.contract import Access
from pulumi_atlas.providers.local import LocalProvider
provider = LocalProvider(Access("local", environ={"ATLAS_LOCAL_DIR": sys.argv[1]}))
tag = Tag(sys.argv[2], Owner("manual", "tester"))
"""

CREATE = """
asyncio.run(provider.create_compute(ComputeSpec(command=("sleep", "1000"), ports=("80",)), tag))
"""


@contextmanager
def writer(
    world: Any, tmp_path: Path, code: str, *, failpoint: str = ""
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process that uses the provider, held at a failpoint. Killed at the end if it is still there."""
    birth = new_birth()
    world.births.append(birth)
    marks = tmp_path / "marks"
    marks.mkdir(exist_ok=True)
    env = {**os.environ, "ATLAS_FAILPOINT": failpoint, "ATLAS_FAILPOINT_DIR": str(marks)}
    script = textwrap.dedent(WRITER + code)
    with subprocess.Popen([sys.executable, "-c", script, str(world.root), birth], env=env) as process:
        try:
            yield process, marks / f"{failpoint}.{process.pid}"
        finally:
            process.kill()


def kill_at(world: Any, tmp_path: Path, until: Any, failpoint: str) -> None:
    with writer(world, tmp_path, CREATE, failpoint=failpoint) as (process, mark):
        until(mark.exists)
        assert [pod.status for pod in world.list()] == ["provisioning" if failpoint == "create.3" else "running"]
        process.kill()
        process.wait()


def test_a_writer_killed_before_the_spawn_leaves_a_failed_pod_without_processes(
    world: Any, tmp_path: Path, until: Any
) -> None:
    kill_at(world, tmp_path, until, "create.3")
    (pod,) = world.list()
    assert (pod.status, pod.reason, pod.birth) == ("failed", "its start was interrupted", world.births[0])
    assert world.members(pod) == []
    world.start(pod)
    assert world.get(pod).status == "running"
    world.terminate(pod)
    assert world.rubbish() == []


def test_a_writer_killed_after_the_spawn_leaves_a_running_pod_that_is_found(
    world: Any, tmp_path: Path, until: Any
) -> None:
    kill_at(world, tmp_path, until, "create.4")
    (pod,) = world.list()
    assert (pod.status, pod.birth) == ("running", world.births[0])
    assert processes.identify(pod.raw["pid"])
    world.stop(pod)
    assert world.members(pod) == []
    world.start(pod)
    world.terminate(pod)
    assert world.rubbish() == []


def test_a_pod_whose_writer_and_processes_were_killed_is_failed(world: Any, tmp_path: Path, until: Any) -> None:
    kill_at(world, tmp_path, until, "create.4")
    (pod,) = world.list()
    os.killpg(pod.raw["shim_pid"], signal.SIGKILL)
    until(lambda: not world.members(pod))
    seen = world.get(pod)
    assert (seen.status, seen.reason) == ("failed", "its processes were killed")
    world.terminate(pod)
    assert world.rubbish() == []


def test_a_start_that_was_called_off_never_happens(world: Any, until: Any) -> None:
    pod = world.create(*FOREVER)
    world.stop(pod)
    record = json.loads((Path(pod.raw["folder"]) / "record.json").read_text())
    record |= {"run": 7, "phase": "starting", "process": None}
    (Path(pod.raw["folder"]) / "claim-7.json").touch()
    with pytest.raises(ProviderFailure, match="called off"):
        _spawn.spawn(record, Path(pod.raw["folder"]), executable=Path("/bin/sleep"), env={})
    until(lambda: not world.members(pod))  # what was to start it is still going; the command would stay


def test_a_starter_that_dies_before_it_has_said_all_starts_nothing(world: Any, until: Any) -> None:
    pod = world.create(*FOREVER)
    world.stop(pod)
    command = [sys.executable, "-I", "-S", str(Path(_spawn.__file__).with_name("_shim.py"))]
    env = {"ATLAS_BIRTH": pod.birth}
    subprocess.run(command, input=b'{"run": 2, "folder": "', env=env, check=False, stdout=subprocess.DEVNULL)
    until(lambda: not world.members(pod))


def test_what_killed_processes_left_is_swept_by_the_next_list(world: Any, tmp_path: Path) -> None:
    pod = world.create(*FOREVER, ports=("80",))
    half = world.root / "pods" / "pod-0123456789ab-20000" / "work"
    half.mkdir(parents=True)
    (world.root / "volumes" / "vol-0123456789ab" / "data").mkdir(parents=True)
    dead = processes.ProcessIdentity(2**22 - 3, processes.boot_id(), 1, processes.host_name())
    (world.root / "ports" / "20000").write_text(json.dumps(dead.as_json()))
    (world.root / "ports" / "20001").write_text(json.dumps(dead.as_json()))
    (world.root / "ports" / "20002").write_text(json.dumps(processes.me().as_json()))
    assert [found.id for found in world.list()] == [pod.id]
    assert list(world.run(world.provider.list_volumes())) == []
    assert [p.name for p in (world.root / "pods").iterdir()] == [pod.id]
    assert not (world.root / "volumes" / "vol-0123456789ab").exists()
    held = str(pod.raw["host_ports"]["80"])
    assert sorted(p.name for p in (world.root / "ports").iterdir()) == sorted([held, "20002"])


def test_a_terminate_that_was_killed_in_the_middle_can_be_repeated(world: Any, until: Any) -> None:
    pod = world.create(*FOREVER, ports=("80",))
    os.killpg(pod.raw["shim_pid"], signal.SIGKILL)  # as far as the processes, and no farther
    until(lambda: not world.members(pod))
    world.terminate(pod)
    assert world.rubbish() == []
    pod = world.create(*FOREVER, ports=("80",))
    os.killpg(pod.raw["shim_pid"], signal.SIGKILL)
    until(lambda: not world.members(pod))
    (Path(pod.raw["folder"]) / "record.json").unlink()  # as far as the record, and no farther
    assert world.is_gone(pod)
    assert world.list() == []
    assert world.rubbish() == []


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_at_create_is_an_error_and_leaves_no_process(
    world: Any, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".tmp":
            calls.append(1)
            if len(calls) == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ProviderFailure, match="no space left"):
        world.create(*FOREVER, ports=("80",))
    assert len(calls) == failing
    assert list(processes.processes_with("ATLAS_BIRTH", world.births[-1])) == []
    assert world.rubbish() == []


def test_a_full_disk_at_stop_and_update_changes_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = world.create(*FOREVER)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    spec = ComputeSpec(command=("sleep", "5"))
    for work in (world.provider.stop(pod.id), world.provider.update_compute(pod.id, spec, restart=True)):
        with pytest.raises(ProviderFailure, match="no space left"):
            world.run(work)
    monkeypatch.undo()
    assert world.get(pod) == pod


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk to fill it")
def test_on_a_disk_that_is_really_full_nothing_is_lost(world: Any, tmp_path: Path) -> None:
    world.root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(world.root)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        pod = world.create(*FOREVER, ports=("80",))
        (world.root / "filler").write_bytes(b"")
        with (world.root / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(ProviderFailure):
            world.create(*FOREVER, ports=("80",))
        assert list(processes.processes_with("ATLAS_BIRTH", world.births[-1])) == []
        os.kill(pod.raw["pid"], signal.SIGKILL)
        assert world.becomes(pod, "failed").exit_code == -9  # how it ended was noted all the same
        assert [found.id for found in world.list()] == [pod.id]
        world.terminate(pod)
        (world.root / "filler").unlink()
        assert world.rubbish() == []
    finally:
        world.close()
        subprocess.run(["umount", "-l", str(world.root)], check=False)


STRESS = """
async def one(n):
    spec = ComputeSpec(command=("sleep", "1000"), ports=("80", "90"), volumes={"/data": sys.argv[3]})
    mine = Tag(sys.argv[2][:-1] + str(n), tag.owner)
    pod = await provider.create_compute(spec, mine)
    listing = await provider.list_compute(ComputeFilter())
    assert pod.id in {p.id for p in listing}, "a pod that was created is not listed"
    assert all(p.status == "running" for p in listing if p.id == pod.id), listing
    if n % 3 == 0:
        await provider.stop(pod.id)
        await provider.start(pod.id)
    if n % 2:
        await provider.terminate(pod.id)
        return None
    return pod.id

async def main():
    return [id for id in await asyncio.gather(*(one(n) for n in range(8))) if id]

from pulumi_atlas.models import ComputeFilter
print("\\n".join(asyncio.run(main())))
"""


@pytest.mark.slow
def test_three_processes_in_one_folder_lose_and_leave_nothing(world: Any) -> None:
    from pulumi_atlas.models import VolumeSpec

    data = world.run(world.provider.create_volume(VolumeSpec(size_gb=1), world.tag()))
    births = [new_birth() for _ in range(3)]
    world.births += [f"{birth[:-1]}{n}" for birth in births for n in range(8)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER + STRESS, str(world.root), birth, data.id], stdout=subprocess.PIPE
        )
        for birth in births
    ]
    said = []
    for process in started:
        with process:
            said += process.communicate(timeout=120)[0].decode().split()
    assert [process.returncode for process in started] == [0, 0, 0]
    pods = world.list()
    assert sorted(pod.id for pod in pods) == sorted(said)
    assert len(said) == 12
    assert {pod.status for pod in pods} == {"running"}
    ports = [port for pod in pods for port in pod.raw["host_ports"].values()]
    assert len(set(ports)) == len(ports) == 24
    assert set(world.run(world.provider.get_volume(data.id)).attached_to) == set(said)
    assert sorted(int(p.name) for p in (world.root / "ports").iterdir()) == sorted(ports)

    async def end() -> None:
        await asyncio.gather(*(world.provider.terminate(pod.id) for pod in pods))

    world.run(end())
    world.run(world.provider.delete_volume(data.id))
    assert world.rubbish() == []
    assert not any(list(processes.processes_with("ATLAS_BIRTH", birth)) for birth in world.births)


def test_one_pod_wanted_differently_by_several_at_once_ends_in_one_state(world: Any) -> None:
    pod = world.create(*FOREVER)

    async def quarrel() -> list[Any]:
        verbs = [world.another().stop, world.another().start] * 4
        return await asyncio.gather(*(verb(pod.id) for verb in verbs))

    world.run(quarrel())
    seen = world.get(pod)
    assert (len(world.members(pod)) > 0) == (seen.status == "running")

    async def all_end() -> list[Any]:
        work = [world.another().terminate(pod.id) for _ in range(4)]
        return await asyncio.gather(*work, return_exceptions=True)

    answers = world.run(all_end())
    assert answers.count(None) == 1
    assert {type(answer).__name__ for answer in answers} == {"NoneType", "NotFound"}
    assert world.rubbish() == []


def test_a_cancelled_create_leaves_a_whole_pod_or_none(world: Any) -> None:
    async def cancel() -> None:
        work = asyncio.ensure_future(world.provider.create_compute(ComputeSpec(command=FOREVER), world.tag()))
        await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    world.run(cancel())
    for pod in world.list():
        assert pod.status == "running"
        world.terminate(pod)
    assert world.rubbish() == []

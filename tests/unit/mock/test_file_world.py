"""A mock world in a file: shared by processes and threads, replaced in one step, and never half read."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mock_kit import in_file, job, pod, run, tag

from pulumi_atlas.access import Access
from pulumi_atlas.errors import NoCapacity, NotFound, ProviderFailure, UnknownOutcome
from pulumi_atlas.models import ComputeFilter, EndpointSpec
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.providers.mock._store import FileStore

ALL = ComputeFilter()

CHILD = """
import asyncio, sys
from pulumi_atlas.access import Access
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import MockProvider
async def main():
    p = MockProvider(Access("mock", environ={"ATLAS_MOCK_FILE": sys.argv[1]}))
    for n in range(int(sys.argv[2])):
        pod = await p.create_compute(ComputeSpec(name=f"n{n}"), Tag(new_birth(), Owner("manual", "me")))
        print(pod.id, flush=True)
        if n % 2:
            await p.terminate(pod.id)
asyncio.run(main())
"""


def another(path: Path) -> MockProvider:
    """A provider that shares nothing with others but the file, as one in another process."""
    return MockProvider(Access("mock"), world=World(FileStore(path)))


def child(path: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(path), str(count)], stdout=subprocess.PIPE, text=True)


def test_what_one_process_writes_the_other_reads(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "world.json"
    a, b = in_file(file), another(file)
    made = run(a.create_compute(pod(name="x", gpu=("h100",), env={"A": "b"}, ports=("80",)), tag()))
    assert run(b.get_compute(made.id)) == made
    run(b.stop(made.id))
    assert run(a.get_compute(made.id)).status == "stopped"
    run(a.terminate(made.id))
    with pytest.raises(NotFound):
        run(b.get_compute(made.id))


def test_all_parts_of_the_world_are_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    a, b = in_file(file), another(file)
    a.world.configure(capacity={"h100": 0}, jobs_advance=False)
    a.world.fail_next("create_compute", after_effect=True)
    with pytest.raises(UnknownOutcome):
        run(b.create_compute(pod(), tag()))
    run(a.create_compute(pod(), tag()))
    with pytest.raises(NoCapacity):
        run(b.create_compute(pod(gpu=("h100",)), tag()))
    e = run(a.create_endpoint(EndpointSpec(handler="a:b"), tag()))
    ident = run(a.run_job(job(e.id))).id
    b.world.finish_job(ident, output="done")
    assert run(a.get_job(e.id, ident)).output == "done"
    assert [c.operation for c in b.world.calls()] == [c.operation for c in a.world.calls()]
    assert len(a.world.calls("create_compute")) == 3
    b.world.reset()
    assert (a.world.pods, a.world.endpoints, a.world.calls()) == ({}, {}, [])


def test_the_file_is_json_private_and_has_no_leftovers(tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    run(in_file(file).create_compute(pod(name="x"), tag()))
    content = json.loads(file.read_text())
    assert [row[0] for row in content["rows"]] == ["pods", "logs"]
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} <= {"world.json", "world.json.lock", "world.json.calls"}


def test_a_file_that_a_person_has_edited_is_still_read(tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    p = in_file(file)
    made = run(p.create_compute(pod(name="x"), tag()))
    content = json.loads(file.read_text())
    content["rows"][0][2]["spec"]["name"] = "edited"
    file.write_text(json.dumps(content, indent=2))
    assert run(p.get_compute(made.id)).name == "edited"
    run(p.stop(made.id))
    assert run(another(file).get_compute(made.id)).status == "stopped"


def test_a_removed_file_is_an_empty_world(tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    p = in_file(file)
    run(p.create_compute(pod(), tag()))
    file.unlink()
    assert p.world.pods == {}
    run(p.create_compute(pod(), tag()))
    assert len(another(file).world.pods) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": "x"}', "\x00\x01"])
def test_a_damaged_file_is_a_clear_error_and_stays(tmp_path: Path, content: str) -> None:
    file = tmp_path / "world.json"
    file.write_text(content)
    with pytest.raises(ProviderFailure, match="damaged") as caught:
        run(in_file(file).list_compute(ALL))
    assert str(file) in caught.value.message
    with pytest.raises(ProviderFailure):
        run(in_file(file).create_compute(pod(), tag()))
    assert file.read_text() == content


def test_a_full_disk_is_an_error_that_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "world.json"
    p = in_file(file)
    made = run(p.create_compute(pod(), tag()))

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(ProviderFailure, match="No space left"):
            run(p.stop(made.id))
        assert run(p.get_compute(made.id)).status == "running"
    run(p.stop(made.id))
    assert run(p.get_compute(made.id)).status == "stopped"
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_folder_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProviderFailure, match="cannot use"):
        run(in_file(tmp_path / "file" / "world.json").list_compute(ALL))


def test_a_pod_becomes_running_by_the_real_clock_without_anybody_waiting(tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    slow = in_file(file, ATLAS_MOCK_PROVISION_S="3600")
    made = run(slow.create_compute(pod(), tag()))
    assert run(another(file).get_compute(made.id)).status == "provisioning"
    slow.world.advance(3600)
    assert run(another(file).get_compute(made.id)).status == "running"


def test_settings_of_the_account_choose_the_file_too(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    p = MockProvider(Access("mock", settings={"file": str(file), "provision_s": 9}, environ={"ATLAS_MOCK_FILE": "/no"}))
    assert run(p.create_compute(pod(), tag())).status == "provisioning"
    assert len(World.open(file).pods) == 1


def test_sixty_four_threads_lose_nothing(tmp_path: Path) -> None:
    p = in_file(tmp_path / "world.json")

    def work(n: int) -> str:
        async def story() -> str:
            made = await p.create_compute(pod(name=f"n{n}"), tag())
            await p.stop(made.id)
            await p.start(made.id)
            return (await p.get_compute(made.id)).id

        return asyncio.run(story())

    with ThreadPoolExecutor(64) as pool:
        ids = list(pool.map(work, range(128)))
    assert len(set(ids)) == 128
    assert set(another(tmp_path / "world.json").world.pods) == set(ids)
    assert len(p.world.calls()) == 128 * 4


def test_several_processes_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    children = [child(file, 20) for _ in range(3)]
    ids = [line for c in children for line in c.communicate(timeout=60)[0].split()]
    assert [c.returncode for c in children] == [0, 0, 0]
    assert len(set(ids)) == 60
    assert len(another(file).world.pods) == 30
    assert len(World.open(file).calls()) == 90


def test_a_killed_writer_leaves_a_readable_world(tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    reader = another(file)
    for round_ in range(3):
        writer = child(file, 100_000)
        assert writer.stdout is not None
        seen = [writer.stdout.readline().strip() for _ in range(3 + round_)]
        os.kill(writer.pid, 9)
        writer.communicate(timeout=60)
        assert seen[0] in reader.world.pods
        run(reader.create_compute(pod(), tag()))

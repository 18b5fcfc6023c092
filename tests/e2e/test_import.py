"""`atlas import` with the real engine: what is taken is taken whole, its secrets stay secret, and a preview finds nothing."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pulumi_atlas import Atlas, EndpointSpec, processes
from pulumi_atlas.client import Intent, IntentBook
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import World
from tests.e2e.command import PROGRAM, atlas
from tests.e2e.project import Project
from tests.e2e.test_secrets import files_with

pytestmark = pytest.mark.e2e

SECRET = "hf_PLANTED_0123456789"
WORKER = "def handler(job):\n    return job['input']\n"


@pytest.fixture
def started(project: Project) -> Project:
    project.program("")
    project.start()
    return project


@pytest.fixture
def mocked(new_project: Callable[..., Project], tmp_path: Path) -> Iterator[tuple[Project, World]]:
    file = tmp_path / "mock.json"
    made = new_project("mocked", ATLAS_MOCK_FILE=str(file), ATLAS_PROVIDER="mock")
    made.program("")
    made.start()
    yield made, World.open(file)


def nothing_changes(project: Project, code: str) -> None:
    """The printed lines, pasted, are what is there: for a preview, a refresh and an update."""
    project.program(code)
    project.preview("--expect-no-changes").ok()
    project.up("--expect-no-changes").ok()
    project.drift().ok()


def nowhere_in_clear(project: Project, secret: str) -> None:
    for folder in (project.state, project.home, project.folder, Path(project.environ["ATLAS_STATE_DIR"])):
        assert files_with(folder, secret) == [], folder


def cloud(project: Project) -> Atlas:
    return Atlas("mock", environ=project.environ, cwd=project.folder)


def test_a_pod_made_by_hand_with_its_secrets(started: Project) -> None:
    pod = started.atlas.spawn_compute(
        name="trainer", command=["sleep", "600"], ports=["8000"], env={"HF": SECRET, "RUN": "7"}, on_exit="stop"
    )
    done = atlas(started, "import", "pod", pod.id, "--provider", "local").ok()
    assert SECRET not in done.out + done.err
    nowhere_in_clear(started, SECRET)
    row = started.resources()["trainer"]
    assert (row["id"], row["inputs"]["birth"]) == (pod.id, pod.birth)
    live = started.atlas.get_compute(pod.id)
    assert live.owner == Owner("stack", started.resources()["atlas"]["id"], "atlas:Pod::trainer")
    assert (live.birth, live.raw["pid"]) == (pod.birth, pod.raw["pid"])
    nothing_changes(started, done.out + 'pulumi.export("env", trainer.env)\n')
    nowhere_in_clear(started, SECRET)
    assert started.outputs(secrets=True)["env"] == {"HF": SECRET, "RUN": "7"}
    started.destroy().ok()
    assert started.rented() == []
    nowhere_in_clear(started, SECRET)


def test_a_guarded_pod_gets_a_new_token_with_the_first_update(mocked: tuple[Project, World]) -> None:
    project, _ = mocked
    with cloud(project) as client:
        pod = client.spawn_compute(name="web", image="i", env={"HF": SECRET}, auth="signed_url")
    done = atlas(project, "import", "pod", pod.id).ok()
    assert "mints another" in done.out + done.err
    assert pod.auth is not None and pod.auth.signing_key
    nowhere_in_clear(project, pod.auth.signing_key)
    project.program(done.out + '\npulumi.export("token", web.token)\n')
    assert "ATLAS_URL_KEYS" not in done.out
    project.up().ok()
    token = project.outputs(secrets=True)["token"]
    assert token and token != pod.auth.token
    project.up("--expect-no-changes").ok()
    project.drift().ok()
    nowhere_in_clear(project, token)


def test_a_volume_and_the_pod_that_mounts_it(started: Project) -> None:
    volume = started.atlas.create_volume(name="data", size_gb=3)
    started.atlas.spawn_compute(name="data", command=["sleep", "600"], volumes={"/data": volume.id})
    code = atlas(started, "import", "--all", "--provider", "local", "--yes", "--json").ok().json["code"]
    assert 'volumes={"/data": data.id}' in code
    nothing_changes(started, code)
    started.destroy().ok()  # the pod before its volume: the program has said that it needs it
    assert started.rented() == started.rented("volumes") == []


def test_an_endpoint_with_its_key_and_environment(started: Project) -> None:
    started.file("echo.py", WORKER)
    spec = EndpointSpec(name="infer", handler="echo:handler", working_dir=str(started.folder), env={"HF": SECRET})
    endpoint = started.atlas.create_endpoint(spec)
    assert endpoint.key is not None
    done = atlas(started, "import", "endpoint", endpoint.id, "--provider", "local").ok()
    for secret in (SECRET, endpoint.key):
        nowhere_in_clear(started, secret)
        assert secret not in done.out + done.err
    nothing_changes(started, done.out)
    nowhere_in_clear(started, endpoint.key)
    nowhere_in_clear(started, SECRET)
    assert started.atlas.run_job(endpoint=endpoint.id, input=1, mode="sync", timeout_s=30).output == 1


def test_another_name_is_given_to_the_thing_as_well_and_a_stopped_pod_stays_stopped(started: Project) -> None:
    pod = started.atlas.spawn_compute(name="old", command=["sleep", "600"])
    started.atlas.stop(pod.id)
    done = atlas(started, "import", "pod", pod.id, "--provider", "local", "--name", "new").ok()
    assert 'desired_status="stopped"' in done.out
    nothing_changes(started, done.out)
    assert (started.atlas.get_compute(pod.id).name, started.atlas.get_compute(pod.id).status) == ("new", "stopped")


def test_every_kind_on_the_mock_cloud(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    with cloud(project) as client:
        volume = client.create_volume(name="data", size_gb=7, region="eu-1")
        pod = client.spawn_compute(
            name="trainer", image="img:1", gpu=["h100", "a100_80g"], gpu_count=2, spot=True, regions=["eu-1"],
            cloud_type="secure", max_cost_per_hour=99, ports=["8888/http", "22/tcp"], env={"HF": SECRET},
            volumes={"/data": volume.id}, container_disk_gb=20, max_lifetime_s=7200, provider_options={"exit_code": 3},
        )  # fmt: skip
        endpoint = client.create_endpoint(
            name="infer", image="w:1", gpu=["l40s"], env={"HF": SECRET}, workers={"max": 3}, max_retries=5
        )
    done = atlas(project, "import", "--all", "--yes").ok()
    assert {row["id"] for name, row in project.resources().items() if name != "atlas"} == {
        volume.id, pod.id, endpoint.id
    }  # fmt: skip
    assert SECRET not in done.out + done.err
    nothing_changes(project, done.out)
    nowhere_in_clear(project, SECRET)
    owners = [thing.owner for thing in (world.volumes[volume.id], world.pods[pod.id], world.endpoints[endpoint.id])]
    assert all(owner is not None and owner.kind == "stack" for owner in owners)
    assert not any(call.operation.startswith(("update_", "stop", "start")) for call in world.calls())


def test_what_nobody_of_ours_made_gets_a_birth_and_an_owner(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    pod = world.plant(ComputeSpec(name="found", image="img:1"))
    done = atlas(project, "import", "pod", pod.id).ok()
    nothing_changes(project, done.out)
    seen = world.pods[pod.id]
    assert seen.birth is not None and seen.birth == project.resources()["found"]["inputs"]["birth"]
    assert seen.owner is not None and seen.owner.path == "atlas:Pod::found"
    project.destroy().ok()
    assert pod.id not in world.pods


def test_fifty_at_once(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    with cloud(project) as client:
        for number in range(50):
            client.spawn_compute(name=f"n{number}", image="img:1", env={"HF": f"{SECRET}-{number}"})
    project.pulumi("stack", "select", "dev").ok()
    code = atlas(project, "import", "--all", "--yes", "--json").ok().json["code"]
    assert len(project.resources()) == 51
    nothing_changes(project, code)
    nowhere_in_clear(project, SECRET)
    assert all(pod.owner is not None and pod.owner.kind == "stack" for pod in world.pods.values())


def test_importing_again_finds_it_taken_and_prints_the_same_lines(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    with cloud(project) as client:
        pod = client.spawn_compute(name="web", image="img:1", env={"HF": SECRET})
    world.fail_next("retag", "transport")
    half = atlas(project, "import", "pod", pod.id)
    assert half.code == 10 and "run the same command again" in half.err
    assert world.pods[pod.id].owner == pod.owner
    before = project.export()["deployment"]["resources"]
    again = atlas(project, "import", "pod", pod.id).ok()
    assert again.out == half.out
    assert project.export()["deployment"]["resources"] == before
    assert world.pods[pod.id].owner != pod.owner
    nothing_changes(project, again.out)


def test_a_note_of_its_creation_is_heeded_while_its_writer_lives_and_closed_once_the_stack_knows(
    mocked: tuple[Project, World],
) -> None:
    project, world = mocked
    birth, owner = new_birth(), Owner("manual", "me")
    pod = world.plant(ComputeSpec(name="web", image="i"), tag=Tag(birth, owner))
    book = IntentBook(Path(project.environ["ATLAS_STATE_DIR"]))
    note = Intent(birth, owner, "pod", "mock", None, "mock:default", "web", "0", processes.me())
    book.open(note)
    refused = atlas(project, "import", "pod", pod.id)
    assert refused.code == 5 and "being made now" in refused.err
    book.open(replace(note, writer=replace(note.writer, started=1)))
    atlas(project, "import", "pod", pod.id).ok()
    assert not book.is_noted(birth)


def test_a_preview_changes_nothing(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    with cloud(project) as client:
        pod = client.spawn_compute(name="web", image="img:1", env={"HF": SECRET})
    before = {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}
    world.clear_calls()
    done = atlas(project, "import", "pod", pod.id, "--preview", "--json").ok()
    assert (done.json["done"], done.json["steps"][0]["name"]) == (False, "web")
    assert SECRET not in done.out
    assert {call.operation for call in world.calls()} <= {"identity", "get_compute"}
    assert {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()} == before
    assert project.resources() == {}


def test_what_cannot_be_taken_is_refused_and_nothing_is_changed(mocked: tuple[Project, World]) -> None:
    project, world = mocked
    foreign, session = Owner("stack", "feedfacefeedface", "atlas:Pod::x"), Owner("deployment", "d1", "s1")
    theirs = world.plant(ComputeSpec(name="theirs", image="i"), tag=Tag(new_birth(), foreign))
    visit = world.plant(ComputeSpec(name="visit", image="i"), tag=Tag(new_birth(), session))
    mine = world.plant(ComputeSpec(name="mine", image="i"))
    before = world.pods
    other_stack = atlas(project, "import", "pod", theirs.id)
    assert other_stack.code == 5 and "feedfacefeedface" in other_stack.err and "--force" in other_stack.err
    assert atlas(project, "import", "pod", visit.id).code == 5
    both = atlas(project, "import", "pod", mine.id, theirs.id)
    assert both.code == 5, "all or nothing"
    gone = atlas(project, "import", "pod", "mock-0-p999")
    assert gone.code == 4 and "mock:default" in gone.err
    assert atlas(project, "import", "volume", mine.id).code == 4
    world.switch_account("other")
    wrong = atlas(project, "import", "pod", mine.id)
    assert wrong.code == 4 and "mock:other" in wrong.err
    world.switch_account(None)
    with world.outage():
        assert atlas(project, "import", "pod", mine.id).code == 10
        assert atlas(project, "import", "--all", "--yes").code == 10
    world.configure(listing_complete=False)
    assert atlas(project, "import", "--all", "--yes").code == 10
    world.configure(listing_complete=True)
    assert atlas(project, "import", "--all").code == 2, "nobody can be asked"
    assert world.pods == before
    assert project.resources() == {}
    every = atlas(project, "import", "--all", "--yes", "--json").ok().json
    assert [row["id"] for row in every["steps"]] == [mine.id]
    assert {row["id"] for row in every["left"]} == {theirs.id, visit.id}
    forced = atlas(project, "import", "pod", theirs.id, "--force", "--yes").ok()
    assert "may still hold it" in forced.err
    owner = world.pods[theirs.id].owner
    assert owner is not None and owner.id == project.resources()["atlas"]["id"]


def test_an_interrupted_import_leaves_no_file(mocked: tuple[Project, World], tmp_path: Path) -> None:
    project, _ = mocked
    place = tmp_path / "tmp"
    place.mkdir()
    environ = {**project.environ, "TMPDIR": str(place)}
    ids = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with cloud(project) as client:
            ids.append(client.spawn_compute(name=number.name, image="i", env={"HF": SECRET}).id)
        running = subprocess.Popen(
            [*PROGRAM, "import", "pod", ids[-1]],
            cwd=project.folder,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        engine = child_that_imports(running)
        assert files_with(place, SECRET) == []
        running.send_signal(number)
        said = running.communicate(timeout=60)[1].decode()
        assert running.returncode == (8 if number == signal.SIGINT else -number)
        assert ("run the same command again" in said) == (number == signal.SIGINT)
        psutil.wait_procs([engine], timeout=60)
        assert files_with(place, SECRET) == []
    nowhere_in_clear(project, SECRET)
    code = atlas(project, "import", "pod", *ids, "--json").ok().json["code"]
    nothing_changes(project, code)
    nowhere_in_clear(project, SECRET)


def child_that_imports(running: subprocess.Popen[bytes]) -> psutil.Process:
    """The engine's process, once it imports; its command line and environment hold no secret."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        with contextlib.suppress(psutil.Error):  # one of them has just ended
            for child in psutil.Process(running.pid).children():
                words = child.cmdline()
                if "import" in words:
                    assert SECRET not in " ".join(words) + str(child.environ())
                    return child
        time.sleep(0.01)
    raise AssertionError(f"it ended with {running.returncode} and never imported")

"""The verbs, through both faces, on the mock cloud."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import pulumi_atlas
from pulumi_atlas import AsyncAtlas, Atlas, ComputeSpec, JobSpec
from pulumi_atlas.errors import ConfigError, InvalidSpec, NotFound, ProviderFailure, Unsupported
from pulumi_atlas.models import Ready

VERBS = [
    "spawn_compute",
    "get_compute",
    "list_compute",
    "stop",
    "start",
    "terminate",
    "run_job",
    "get_job",
    "cancel_job",
    "stream_job",
    "list_gpu_types",
    "capabilities",
]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"ATLAS_MOCK_FILE": str(tmp_path / "world.json"), "ATLAS_STATE_DIR": str(tmp_path / "state")}


@pytest.fixture
def atlas(environ: dict[str, str], tmp_path: Path) -> Iterator[Atlas]:
    with Atlas("mock", environ=environ, cwd=tmp_path) as made:
        yield made


def test_both_faces_have_the_same_verbs() -> None:
    def public(face: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(face, callable) if not name.startswith("_")}

    assert set(VERBS) <= public(Atlas)
    assert public(AsyncAtlas) - {"aclose"} == public(Atlas) - {"close"}


def test_a_pod_is_spawned_found_stopped_started_and_terminated(atlas: Atlas) -> None:
    pod = atlas.spawn_compute(image="i", gpu=["h100"], ports=["80"], name="web")
    assert atlas.get_compute(pod.id).name == "web"
    assert [one.id for one in atlas.list_compute(name="web")] == [pod.id]
    atlas.stop(pod.id)
    assert atlas.get_compute(pod.id).status == "stopped"
    assert [one.id for one in atlas.list_compute(status="running")] == []
    atlas.start(pod.id)
    atlas.terminate(pod.id)
    with pytest.raises(NotFound):
        atlas.get_compute(pod.id)


def test_a_ready_made_spec_is_taken_and_fields_beside_it_win(atlas: Atlas) -> None:
    pod = atlas.spawn_compute(ComputeSpec(image="i", name="a"), name="b")
    assert pod.name == "b"


def test_what_is_spawned_is_manual_and_leaves_no_open_intent(atlas: Atlas, tmp_path: Path) -> None:
    pod = atlas.spawn_compute(image="i")
    assert pod.owner is not None and pod.owner.kind == "manual"
    assert list((tmp_path / "state" / "intents").glob("*.json")) == []


def test_unknown_options_name_the_nearest_known_one(atlas: Atlas) -> None:
    with pytest.raises(InvalidSpec, match="did you mean 'gpu'"):
        atlas.spawn_compute(image="i", gpus=["h100"])
    with pytest.raises(InvalidSpec, match="did you mean 'status'"):
        atlas.list_compute(state="running")
    with pytest.raises(InvalidSpec, match="endpoint"):
        atlas.spawn_compute(image="i", endpoint="e")
    with pytest.raises(InvalidSpec, match="is not an option"):
        atlas.run_job(endpoint="e", input={}, gpu="h100")


def test_a_lacking_ability_is_refused_before_any_request(tmp_path: Path, environ: dict[str, str]) -> None:
    local = Atlas("local", environ={**environ, "ATLAS_LOCAL_DIR": str(tmp_path / "local")}, cwd=tmp_path)
    with pytest.raises(Unsupported, match="offers"):
        local.list_gpu_types()
    with pytest.raises(InvalidSpec, match="spot"):
        local.spawn_compute(command=["true"], spot=True)
    assert not (tmp_path / "local").exists()


def test_the_provider_is_chosen_or_its_absence_explained(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Atlas(environ=environ, cwd=tmp_path).list_compute()
    assert "ATLAS_PROVIDER" in caught.value.hint and "atlas.yaml" in caught.value.hint
    assert Atlas(environ={**environ, "ATLAS_PROVIDER": "mock"}, cwd=tmp_path).list_compute() == []
    with pytest.raises(ConfigError, match="no provider 'moc'"):
        Atlas("moc", environ=environ, cwd=tmp_path).list_compute()


def test_capabilities_are_derived(atlas: Atlas) -> None:
    assert {"stop", "volumes", "jobs"} <= set(atlas.capabilities())
    assert "offers" not in atlas.capabilities("local")


def test_jobs_are_run_read_streamed_and_cancelled(atlas: Atlas) -> None:
    endpoint = atlas.create_endpoint(name="e", handler="m:f")
    job = atlas.run_job(JobSpec(endpoint=endpoint.id, input={"a": 1}))
    assert list(atlas.stream_job(job.id, endpoint=endpoint.id))
    assert atlas.get_job(job.id, endpoint=endpoint.id).status == "completed"
    assert atlas.cancel_job(job.id, endpoint=endpoint.id).status == "completed"
    with pytest.raises(NotFound):
        atlas.get_job("no-such-job", endpoint=endpoint.id)


def test_a_stream_that_is_left_early_is_closed(atlas: Atlas) -> None:
    endpoint = atlas.create_endpoint(name="e", handler="m:f")
    job = atlas.run_job(endpoint=endpoint.id, input={"a": 1})
    for _ in atlas.stream_job(job.id, endpoint=endpoint.id):
        break


def test_gpu_types_come_with_canonical_names(atlas: Atlas) -> None:
    assert any(offer.canonical == "h100" for offer in atlas.list_gpu_types())


def test_a_spawn_that_waits_and_fails_leaves_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    local = Atlas("local", environ={**environ, "ATLAS_LOCAL_DIR": str(tmp_path / "local")}, cwd=tmp_path)
    with pytest.raises(ProviderFailure, match="nothing to serve"):
        local.spawn_compute(
            command=["sh", "-c", "echo nothing to serve; exit 1"], ports=["80"], wait=Ready(timeout_s=20)
        )
    assert local.list_compute() == []


def test_the_asynchronous_face_runs_in_the_callers_loop(environ: dict[str, str], tmp_path: Path) -> None:
    async def work() -> int:
        async with AsyncAtlas("mock", environ=environ, cwd=tmp_path) as atlas:
            pods = await asyncio.gather(*(atlas.spawn_compute(image="i", name=f"p{n}") for n in range(10)))
            return len({pod.id for pod in pods})

    assert asyncio.run(work()) == 10


def test_lazy_names_are_the_documented_ones() -> None:
    for name in pulumi_atlas.__all__:
        assert getattr(pulumi_atlas, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = pulumi_atlas.Nothing

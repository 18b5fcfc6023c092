"""Volumes, endpoints and jobs of the mock cloud."""

from __future__ import annotations

from typing import Any

import pytest
from mock_kit import cloud, job, pod, run, tag

from pulumi_atlas.errors import Conflict, InvalidSpec, NotFound, ProviderFailure, TimedOut
from pulumi_atlas.models import EndpointSpec, VolumeSpec, Workers
from pulumi_atlas.providers.mock import MockProvider

HANDLER = EndpointSpec(handler="app:work")


def endpoint(p: MockProvider, **fields: Any) -> str:
    return run(p.create_endpoint(HANDLER.model_copy(update=fields), tag())).id


async def chunks(p: MockProvider, endpoint_id: str, job_id: str) -> list[Any]:
    return [chunk async for chunk in p.stream_job(endpoint_id, job_id)]


def test_a_volume_is_made_grown_and_deleted() -> None:
    p, mark = cloud(), tag()
    made = run(p.create_volume(VolumeSpec(name="data", size_gb=10, region="r1"), mark))
    assert (made.size_gb, made.region, made.birth, made.owner, made.attached_to) == (
        10,
        "r1",
        mark.birth,
        mark.owner,
        (),
    )
    assert made.cost_per_hour and made.cost_per_hour > 0
    assert list(run(p.list_volumes())) == [made]
    grown = run(p.update_volume(made.id, VolumeSpec(name="data", size_gb=20, region="r1")))
    assert run(p.get_volume(made.id)) == grown
    assert grown.size_gb == 20
    with pytest.raises(InvalidSpec, match="cannot shrink"):
        run(p.update_volume(made.id, VolumeSpec(size_gb=5, region="r1")))
    with pytest.raises(Conflict, match="another region"):
        run(p.update_volume(made.id, VolumeSpec(size_gb=20, region="r2")))
    run(p.delete_volume(made.id))
    for act in (p.get_volume, p.delete_volume):
        with pytest.raises(NotFound, match="volume"):
            run(act(made.id))


def test_a_mounted_volume_cannot_be_deleted_until_its_pods_are_gone() -> None:
    p = cloud()
    volume = run(p.create_volume(VolumeSpec(size_gb=1, region="r7"), tag())).id
    user = run(p.create_compute(pod(volumes={"/data": volume}), tag()))
    assert user.region == "r7"
    run(p.stop(user.id))
    assert run(p.get_volume(volume)).attached_to == (user.id,)
    with pytest.raises(Conflict, match=user.id):
        run(p.delete_volume(volume))
    with pytest.raises(InvalidSpec, match="different regions"):
        run(p.create_compute(pod(volumes={"/data": volume}, regions=("r1",)), tag()))
    run(p.terminate(user.id))
    run(p.delete_volume(volume))


def test_an_endpoint_is_made_changed_and_deleted() -> None:
    p, mark = cloud(ATLAS_MOCK_PROVISION_S="2"), tag()
    spec = EndpointSpec(handler="app:work", gpu=("l4",), workers=Workers(min=2, max=3))
    made = run(p.create_endpoint(spec, mark))
    assert (made.status, made.birth, made.spec) == ("starting", mark.birth, spec)
    assert made.url == MockProvider.endpoint_url(made.id) == f"https://mock.local/v2/{made.id}"
    assert made.key and made.key not in repr(made) and made.key not in repr(made.raw)
    p.world.advance(2)
    assert run(p.get_endpoint(made.id)).status == "ready"
    assert run(p.endpoint_health(made.id)).workers == {"idle": 2, "initializing": 0, "running": 0}
    fewer = spec.model_copy(update={"workers": Workers(max=1)})
    assert run(p.update_endpoint(made.id, fewer, restart=False)).status == "ready"
    assert run(p.update_endpoint(made.id, fewer, restart=True)).status == "starting"
    with pytest.raises(Conflict, match="GPUs"):
        run(p.update_endpoint(made.id, spec.model_copy(update={"gpu": ("h100",)}), restart=False))
    assert [e.id for e in run(p.list_endpoints())] == [made.id]
    run(p.delete_endpoint(made.id))
    for act in (p.get_endpoint, p.delete_endpoint, p.endpoint_health):
        with pytest.raises(NotFound, match="endpoint"):
            run(act(made.id))
    with pytest.raises(ValueError, match="not an id"):
        MockProvider.endpoint_url("mock-0-p1")


def test_each_look_at_a_job_moves_it_on() -> None:
    p = cloud()
    e = endpoint(p)
    queued = run(p.run_job(job(e)))
    assert (queued.status, queued.output) == ("in_queue", None)
    assert run(p.get_job(e, queued.id)).status == "in_progress"
    assert run(p.endpoint_health(e)).jobs["inProgress"] == 1
    done = run(p.get_job(e, queued.id))
    assert (done.status, done.output) == ("completed", {"echo": {"a": 1}})
    assert run(p.get_job(e, queued.id)) == done
    assert run(p.endpoint_health(e)).jobs["completed"] == 1


def test_a_sync_job_is_waited_for() -> None:
    p = cloud()
    done = run(p.run_job(job(endpoint(p), mode="sync")))
    assert (done.status, done.output) == ("completed", {"echo": {"a": 1}})


def test_a_sync_wait_ends_and_the_job_runs_on() -> None:
    p = cloud()
    p.world.configure(jobs_advance=False)
    e = endpoint(p)
    with pytest.raises(TimedOut) as caught:
        run(p.run_job(job(e, mode="sync", timeout_s=0.02)))
    (waiting,) = p.world.jobs.values()
    assert waiting.id in caught.value.message
    assert waiting.status == "in_queue"
    p.world.finish_job(waiting.id, output=7)
    assert run(p.get_job(e, waiting.id)).output == 7


def test_a_failed_job_is_a_value() -> None:
    p = cloud()
    p.world.configure(jobs_advance=False)
    e = endpoint(p)
    ident = run(p.run_job(job(e))).id
    p.world.finish_job(ident, status="failed", error="no luck")
    failed = run(p.get_job(e, ident))
    assert (failed.status, failed.error) == ("failed", "no luck")
    assert run(p.endpoint_health(e)).jobs["failed"] == 1


def test_cancel_ends_what_runs_and_leaves_what_has_ended() -> None:
    p = cloud()
    e = endpoint(p)
    waiting, ended = run(p.run_job(job(e))).id, run(p.run_job(job(e, mode="sync"))).id
    assert run(p.cancel_job(e, waiting)).status == "cancelled"
    assert run(p.get_job(e, waiting)).status == "cancelled"
    assert run(p.cancel_job(e, ended)).status == "completed"


def test_a_stream_yields_the_output_in_pieces() -> None:
    p = cloud()
    e = endpoint(p)
    assert run(chunks(p, e, run(p.run_job(job(e))).id)) == [{"echo": {"a": 1}}]
    p.world.configure(jobs_advance=False)
    ident = run(p.run_job(job(e))).id
    p.world.finish_job(ident, output=[1, 2, 3])
    assert run(chunks(p, e, ident)) == [1, 2, 3]


def test_a_stream_yields_each_chunk_as_soon_as_it_is_there() -> None:
    p = cloud()
    p.world.configure(jobs_advance=False)
    e = endpoint(p)
    ident = run(p.run_job(job(e))).id
    p.world.emit(ident, "a")

    async def watch() -> list[Any]:
        seen = []
        async for chunk in p.stream_job(e, ident):
            seen.append(chunk)
            if chunk == "a":
                p.world.emit(ident, "b")
            else:
                p.world.finish_job(ident)
        return seen

    assert run(watch()) == ["a", "b"]
    assert run(p.get_job(e, ident)).output == ["a", "b"]


@pytest.mark.parametrize("status", ["failed", "cancelled", "timed_out"])
def test_a_stream_of_a_job_that_ends_badly_fails_after_its_chunks(status: Any) -> None:
    p = cloud()
    p.world.configure(jobs_advance=False)
    e = endpoint(p)
    ident = run(p.run_job(job(e))).id
    p.world.emit(ident, 1)
    p.world.finish_job(ident, status=status, error="why")
    seen: list[Any] = []

    async def watch() -> None:
        async for chunk in p.stream_job(e, ident):
            seen.append(chunk)

    with pytest.raises(ProviderFailure, match=status):
        run(watch())
    assert seen == [1]


def test_a_job_that_runs_too_long_is_timed_out_and_an_old_one_is_forgotten() -> None:
    p = cloud()
    e = endpoint(p)
    ident = run(p.run_job(job(e, execution_timeout_s=10, ttl_s=100))).id
    run(p.get_job(e, ident))
    p.world.advance(11)
    late = run(p.get_job(e, ident))
    assert (late.status, late.execution_time_ms) == ("timed_out", 10_000)
    p.world.advance(100)
    assert p.world.jobs == {}
    with pytest.raises(NotFound, match="expired"):
        run(p.get_job(e, ident))


def test_a_job_belongs_to_its_endpoint() -> None:
    p = cloud()
    one, two = endpoint(p), endpoint(p)
    ident = run(p.run_job(job(one))).id
    for act in (p.get_job, p.cancel_job):
        with pytest.raises(NotFound):
            run(act(two, ident))
        with pytest.raises(NotFound):
            run(act(one, "mock-0-j99"))
    with pytest.raises(NotFound):
        run(chunks(p, two, ident))
    with pytest.raises(NotFound, match="endpoint"):
        run(p.run_job(job("mock-0-e99")))


def test_deleting_an_endpoint_cancels_what_is_unfinished() -> None:
    p = cloud()
    e = endpoint(p)
    waiting, ended = run(p.run_job(job(e))).id, run(p.run_job(job(e, mode="sync"))).id
    run(p.delete_endpoint(e))
    assert {i: j.status for i, j in p.world.jobs.items()} == {waiting: "cancelled", ended: "completed"}
    with pytest.raises(NotFound):
        run(p.get_job(e, waiting))


def test_unknown_options_and_input_that_is_no_json_are_refused() -> None:
    p = cloud()
    e = endpoint(p)
    with pytest.raises(InvalidSpec, match=r"provider_options\.x"):
        run(p.run_job(job(e, provider_options={"x": 1})))
    with pytest.raises(InvalidSpec, match=r"provider_options\.x"):
        run(p.create_volume(VolumeSpec(size_gb=1, provider_options={"x": 1}), tag()))
    with pytest.raises(InvalidSpec, match=r"provider_options\.x"):
        run(p.create_endpoint(HANDLER.model_copy(update={"provider_options": {"x": 1}}), tag()))
    with pytest.raises(InvalidSpec, match=r"gpu\[0\]"):
        run(p.create_endpoint(HANDLER.model_copy(update={"gpu": ("h10",)}), tag()))
    with pytest.raises(InvalidSpec, match="JSON"):
        run(p.run_job(job(e, {"x": object()})))

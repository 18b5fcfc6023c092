"""Jobs: run, wait, stream, cancel, and what is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pulumi_atlas.errors import AtlasError, NotFound, ProviderFailure, TimedOut
from pulumi_atlas.models import EndpointHealth, Job, JobSpec, ObservedEndpoint
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["JobConformance"]


class JobConformance(Suite):
    """The ability `jobs`."""

    @story
    async def test_a_job_is_queued_at_once_and_completes_with_what_the_worker_returns(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("echo")
        given = {"text": "äöü", "number": 7, "list": [1, None, True], "nested": {"a": 1.5}}
        job = await stage.job(endpoint, "echo", given)
        assert (job.endpoint, job.provider) == (endpoint.id, stage.harness.name)
        done = await _end(stage, endpoint, job)
        assert (done.id, done.status, done.output, done.is_final) == (job.id, "completed", {"echo": given}, True)

    @story
    async def test_with_mode_sync_the_answer_is_the_result(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("echo")
        job = await stage.provider.run_job(
            JobSpec(endpoint=endpoint.id, input={"n": 1}, mode="sync", timeout_s=stage.harness.patience_s)
        )
        assert (job.status, job.output) == ("completed", {"echo": {"n": 1}})

    @story
    async def test_a_sync_job_that_takes_too_long_raises_timed_out_with_its_id_and_runs_on(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("slow")
        stage.need("jobs")
        with pytest.raises(TimedOut) as caught:
            await stage.provider.run_job(JobSpec(endpoint=endpoint.id, input={}, mode="sync", timeout_s=0.3))
        words = caught.value.message.replace("'", " ").replace(",", " ").split()
        found = [job for word in words if (job := await _known(stage, endpoint, word)) is not None]
        assert [job.is_final for job in found] == [False]

    @story
    async def test_a_job_that_fails_is_a_value_with_its_error(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("fail")
        job = await stage.job(endpoint, "fail", {"why": "the cat sat on it"})
        done = await _end(stage, endpoint, job)
        assert done.status == "failed"
        assert "the cat sat on it" in str(done.error)

    @story
    async def test_a_stream_gives_every_chunk_in_order_and_ends_with_the_job(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("stream")
        chunks = [{"n": n} for n in range(5)]
        job = await stage.job(endpoint, "stream", {"chunks": chunks}, mode="stream")
        assert await _stream(stage, endpoint, job) == chunks
        assert (await stage.provider.get_job(endpoint.id, job.id)).status == "completed"

    @story
    async def test_a_stream_of_a_failed_job_raises_after_the_chunks_before(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("fail")
        job = await stage.job(endpoint, "fail", {"why": "no reason"})
        with pytest.raises(ProviderFailure):
            await _stream(stage, endpoint, job)

    @story
    async def test_a_cancelled_job_is_cancelled_and_stays_so(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("slow")
        job = await stage.job(endpoint, "slow", {})
        await stage.provider.cancel_job(endpoint.id, job.id)
        assert (await _end(stage, endpoint, job)).status == "cancelled"
        assert (await stage.provider.cancel_job(endpoint.id, job.id)).status == "cancelled"
        with pytest.raises(ProviderFailure):
            await _stream(stage, endpoint, job)

    @story
    async def test_cancelling_what_has_ended_leaves_it_as_it_is(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("echo")
        job = await stage.job(endpoint, "echo", 1)
        done = await _end(stage, endpoint, job)
        cancelled = await stage.provider.cancel_job(endpoint.id, job.id)
        assert (cancelled.status, cancelled.output) == (done.status, done.output) == ("completed", {"echo": 1})

    @story
    async def test_health_counts_jobs_and_workers(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("echo")
        for given in (1, 2, 3):
            await _end(stage, endpoint, await stage.job(endpoint, "echo", given))
        health: EndpointHealth = await stage.provider.endpoint_health(endpoint.id)
        assert health.jobs["completed"] == 3
        assert health.jobs["inQueue"] == health.jobs["inProgress"] == health.jobs["failed"] == 0
        assert all(count >= 0 for count in health.workers.values())

    @story
    async def test_a_waiting_job_is_counted_as_waiting_or_running(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("slow")
        await stage.job(endpoint, "slow", {})
        health = await stage.provider.endpoint_health(endpoint.id)
        assert health.jobs["inQueue"] + health.jobs["inProgress"] == 1

    @story
    async def test_many_jobs_at_once_each_get_their_own_answer(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("echo")
        jobs = await asyncio.gather(*(stage.job(endpoint, "echo", n) for n in range(10)))
        assert len({job.id for job in jobs}) == 10
        done = await asyncio.gather(*(_end(stage, endpoint, job) for job in jobs))
        assert [job.output for job in done] == [{"echo": n} for n in range(10)]

    @story
    async def test_unknown_jobs_and_endpoints_raise_not_found(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("echo")
        stage.need("jobs")
        provider, missing = stage.provider, stage.harness.missing_id
        for call in (
            lambda: provider.get_job(endpoint.id, missing),
            lambda: provider.cancel_job(endpoint.id, missing),
            lambda: anext(provider.stream_job(endpoint.id, missing), None),
            lambda: provider.get_job(missing, missing),
            lambda: provider.run_job(JobSpec(endpoint=missing, input=1)),
            lambda: provider.endpoint_health(missing),
        ):
            with pytest.raises(NotFound) as caught:
                await call()
            assert caught.value.provider == stage.harness.name
            assert caught.value.operation

    @story
    async def test_deleting_an_endpoint_ends_its_jobs(self, stage: Stage) -> None:
        endpoint = await stage.endpoint("slow")
        job = await stage.job(endpoint, "slow", {})
        await stage.provider.delete_endpoint(endpoint.id)
        with pytest.raises(NotFound):
            await stage.provider.get_job(endpoint.id, job.id)


async def _end(stage: Stage, endpoint: ObservedEndpoint, job: Job) -> Job:
    async def look() -> Job:
        seen: Job = await stage.provider.get_job(endpoint.id, job.id)
        return seen

    return await stage.until(look, lambda seen: seen.is_final, f"job {job.id} ends")


async def _stream(stage: Stage, endpoint: ObservedEndpoint, job: Job) -> list[Any]:
    return [chunk async for chunk in stage.provider.stream_job(endpoint.id, job.id)]


async def _known(stage: Stage, endpoint: ObservedEndpoint, job_id: str) -> Job | None:
    try:
        job: Job = await stage.provider.get_job(endpoint.id, job_id)
    except AtlasError:
        return None
    return job

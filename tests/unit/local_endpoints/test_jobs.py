"""Jobs through the provider: results, streams, time-outs, cancelling, and workers that die."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import processes
from pulumi_atlas.errors import InvalidSpec, NotFound, ProviderFailure, TimedOut
from pulumi_atlas.ids import EndpointId, JobId
from pulumi_atlas.models import Workers

pytestmark = pytest.mark.slow  # real processes; not part of `make check`


@pytest.mark.parametrize(
    ("handler", "input", "output"),
    [
        ("handlers:add", [1, 2, 3], {"sum": 6}),
        ("handlers:nap", 0.01, "rested"),
        ("handlers:count", 3, [0, 1, 2]),
        ("handlers:count_later", 2, [0, 1]),
        ("handlers:echo", {"größe": "✓", "n": None, "big": 2**60}, {"größe": "✓", "n": None, "big": 2**60}),
    ],
)
def test_each_kind_of_function_serves(world: Any, handler: str, input: Any, output: Any) -> None:
    job = world.sync(world.create(handler), input)
    assert (job.status, job.output, job.error) == ("completed", output, None)
    assert job.id.startswith("sync-") and job.worker_id and job.execution_time_ms is not None


def test_a_queued_job_is_followed_to_its_end(world: Any) -> None:
    made = world.create("handlers:gate")
    gate = world.code / "gate"
    job = world.queue(made, str(gate))
    world.wait_until(lambda: world.job(made, job).status == "in_progress")
    gate.touch()
    ended = world.wait_until(lambda: (seen := world.job(made, job)).is_final and seen)
    assert ended.output == "through" and ended.delay_time_ms is not None


def test_an_exception_fails_the_job_with_type_message_and_trace(world: Any) -> None:
    made = world.create("handlers:explode", env={"PLANTED": "s3cret-value"})
    job = world.sync(made, {})
    assert job.status == "failed"
    for part in ("ValueError", "told to", "in explode"):
        assert part in job.error
    assert "s3cret-value" not in job.error


def test_a_returned_error_fails_the_job_and_keeps_the_rest(world: Any) -> None:
    job = world.sync(world.create("handlers:complain"), 5)
    assert (job.status, job.error, job.output) == ("failed", "I do not like it", {"seen": 5})


def test_an_output_that_is_no_json_fails_the_job(world: Any) -> None:
    made = world.create("handlers:unspeakable")
    assert "JSON" in world.sync(made, {}).error
    assert world.health(made).workers["ready"] == 1  # its worker goes on


def test_the_worker_sees_its_own_surroundings_and_no_others(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "cloud-key")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "phrase")
    made = world.create("handlers:surroundings", env={"MODE": "fast"})
    seen = world.sync(made, {"a": 1}).output
    env = seen["env"]
    assert seen["cwd"] == str(world.code) and seen["job"]["input"] == {"a": 1}
    assert env["MODE"] == "fast" and env["RUNPOD_ENDPOINT_ID"] == made.id and env["ATLAS_BIRTH"] == world.births[0]
    assert "RUNPOD_API_KEY" not in env and "PULUMI_CONFIG_PASSPHRASE" not in env
    assert made.key not in str(env)


def test_chunks_are_streamed_as_soon_as_they_are_there(world: Any) -> None:
    world.module(
        "steps",
        """
        import time
        from pathlib import Path
        def go(job):
            yield "first"
            while not Path(job["input"]).exists():
                time.sleep(0.01)
            yield "second"
        """,
    )
    made = world.create("steps:go")
    gate = world.code / "gate"
    job = world.queue(made, str(gate))

    async def read() -> list[Any]:
        seen = []
        async for chunk in world.provider.stream_job(EndpointId(made.id), job):
            seen.append(chunk)
            gate.touch()  # the second comes only after the first was read
        return seen

    assert world.run(read()) == ["first", "second"]
    assert world.run(read()) == ["first", "second"]  # every reader gets all


def test_a_stream_ends_with_the_error_of_its_job_after_the_chunks(world: Any) -> None:
    made = world.create("handlers:count_then_fail")
    chunks: list[Any] = []
    with pytest.raises(ProviderFailure, match="no more"):
        world.stream(made, world.queue(made, {}), chunks)
    assert chunks == [1]


def test_the_wait_for_a_sync_job_ends_while_the_job_runs_on(world: Any) -> None:
    made = world.create("handlers:gate")
    gate = world.code / "gate"
    with pytest.raises(TimedOut) as caught:
        world.sync(made, str(gate), timeout_s=0.3)
    job = JobId(next(word for word in str(caught.value).split() if word.startswith("sync-")))
    assert job in caught.value.hint
    gate.touch()
    world.wait_until(lambda: world.job(made, job).status == "completed")


@pytest.mark.parametrize("handler", ["handlers:gate", "handlers:nap"])
def test_a_cancelled_job_ends_at_once_and_its_worker_is_free_again(world: Any, handler: str) -> None:
    made = world.create(handler, provider_options={"stop_grace_s": 3})
    job = world.queue(made, str(world.code / "gate") if handler == "handlers:gate" else 600)
    world.wait_until(lambda: world.job(made, job).status == "in_progress")
    cancelled = world.run(world.provider.cancel_job(EndpointId(made.id), job))
    assert cancelled.status == "cancelled"
    open_gate = world.code / "open"
    open_gate.touch()
    assert world.sync(made, str(open_gate) if handler == "handlers:gate" else 0).status == "completed"
    assert world.job(made, job).status == "cancelled"
    assert world.health(made).workers["unhealthy"] == 0


def test_cancelling_what_has_ended_changes_nothing(world: Any) -> None:
    made = world.create()
    job = world.queue(made, [1])
    world.wait_until(lambda: world.job(made, job).is_final)
    assert world.run(world.provider.cancel_job(EndpointId(made.id), job)).status == "completed"


def test_a_job_that_waits_is_cancelled_without_a_worker(world: Any) -> None:
    made = world.create("handlers:gate")
    first, second = (world.queue(made, str(world.code / "gate")) for _ in range(2))
    world.wait_until(lambda: world.job(made, first).status == "in_progress")
    assert world.run(world.provider.cancel_job(EndpointId(made.id), second)).status == "cancelled"
    assert world.job(made, first).status == "in_progress"


def test_a_job_past_its_execution_time_out_is_stopped_with_its_worker(world: Any) -> None:
    made = world.create("handlers:gate", execution_timeout_s=0.5)
    late = world.sync(made, str(world.code / "gate"))
    assert late.status == "timed_out" and "0.5 s" in late.error
    open_gate = world.code / "open"
    open_gate.touch()
    after = world.sync(made, str(open_gate), execution_timeout_s=60)
    assert after.status == "completed" and after.worker_id != late.worker_id


def test_a_worker_that_does_not_obey_is_killed_after_the_grace(world: Any) -> None:
    deaf = "import signal\nfrom handlers import *\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
    world.module("deaf", deaf)
    made = world.create("deaf:gate", execution_timeout_s=0.3, provider_options={"stop_grace_s": 0.3})
    job = world.queue(made, str(world.code / "gate"))
    world.wait_until(lambda: world.job(made, job).status == "in_progress")
    worker = _worker_of(world, made)
    processes.send_signal(worker, signal.SIGSTOP)  # it hears nothing now
    world.wait_until(lambda: world.job(made, job).status == "timed_out")
    world.wait_until(lambda: not worker.is_alive())


def test_a_job_that_waits_past_its_time_to_live_times_out(world: Any) -> None:
    made = world.create("handlers:gate")
    world.queue(made, str(world.code / "gate"))
    late = world.sync(made, str(world.code / "gate"), ttl_s=0.3)
    assert late.status == "timed_out" and "time to live" in late.error and late.worker_id is None


def test_the_job_of_a_worker_that_died_is_given_to_another(world: Any) -> None:
    made = world.create("handlers:die_once")
    job = world.sync(made, str(world.code / "mark"))
    assert (job.status, job.output, job.retries) == ("completed", "second time", 1)
    assert world.health(made).jobs["retried"] == 1


def test_a_job_that_kills_every_worker_fails_with_the_reason(world: Any) -> None:
    job = world.sync(world.create("handlers:die", max_retries=1), {})
    assert (job.status, job.retries) == ("failed", 1)
    assert "2 times" in job.error and "exit code 9" in job.error


def test_the_job_of_a_silent_worker_is_given_to_another(world: Any) -> None:
    options = {"worker_lost_s": 1.5, "ping_interval_s": 1}
    made = world.create("handlers:gate", provider_options=options)
    gate = world.code / "gate"
    job = world.queue(made, str(gate))
    world.wait_until(lambda: Path(f"{gate}.begun").exists())
    worker, silent = _worker_of(world, made), world.job(made, job).worker_id
    processes.send_signal(worker, signal.SIGSTOP)
    again = world.wait_until(lambda: (seen := world.job(made, job)).worker_id not in (None, silent) and seen)
    assert again.retries == 1 and not worker.is_alive()
    gate.touch()
    assert world.wait_until(lambda: (seen := world.job(made, job)).is_final and seen).status == "completed"


def test_jobs_are_served_in_their_order_by_one_worker(world: Any) -> None:
    made = world.create("handlers:add", workers=Workers(min=0, max=1))
    jobs = [world.queue(made, [number]) for number in range(10)]
    world.wait_until(lambda: world.job(made, jobs[-1]).is_final)
    assert [world.job(made, job).output["sum"] for job in jobs] == list(range(10))


def test_results_are_forgotten_after_their_time(world: Any) -> None:
    made = world.create(provider_options={"result_retention_s": 0.5})
    job = world.queue(made, [1])
    world.wait_until(lambda: world.job(made, job).is_final)

    def is_forgotten() -> bool:
        try:
            world.job(made, job)
        except NotFound:
            return True
        return False

    world.wait_until(is_forgotten)


def test_unknown_jobs_and_endpoints_are_not_found(world: Any) -> None:
    made = world.create()
    for job in ("nothing", "../health", "a b"):
        with pytest.raises(NotFound):
            world.job(made, JobId(job))
        with pytest.raises(NotFound):
            world.run(world.provider.cancel_job(EndpointId(made.id), JobId(job)))
    for endpoint in ("ep-0123456789ab-15000", "..", ""):
        with pytest.raises(NotFound):
            world.run(world.provider.endpoint_health(EndpointId(endpoint)))


def test_what_a_job_cannot_be_is_refused(world: Any) -> None:
    made = world.create()
    with pytest.raises(InvalidSpec, match="JSON"):
        world.queue(made, object())
    with pytest.raises(InvalidSpec, match="option"):
        world.queue(made, 1, provider_options={"x": 1})
    with pytest.raises(InvalidSpec, match="http"):
        world.queue(made, 1, webhook="ftp://example.invalid/")
    with pytest.raises(InvalidSpec, match="10 MB"):
        world.queue(made, "x" * 10_000_001)
    assert world.health(made).jobs["inQueue"] == 0


def _worker_of(world: Any, made: Any) -> processes.ProcessIdentity:
    pids = [pid for pid in world.pids() if "RUNPOD_POD_ID" in processes.environment_of(pid)]
    assert len(pids) == 1
    found = processes.identify(pids[0])
    assert found is not None
    return found

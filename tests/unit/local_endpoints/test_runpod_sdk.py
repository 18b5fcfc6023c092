"""Worker scripts written with RunPod's own SDK, unmodified, serve jobs here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest

from pulumi_atlas.models import Workers

pytestmark = pytest.mark.slow

SCRIPT = """
import asyncio, time
import runpod

async def handler(job):
    what = job["input"]
    if what.get("fail"):
        raise ValueError("told to")
    if what.get("error"):
        return {"error": "no thanks"}
    await asyncio.sleep(what.get("sleep", 0))
    return {"got": what}

def chunks(job):
    for number in range(job["input"]["count"]):
        yield {"number": number}

def slow(job):
    runpod.serverless.progress_update(job, "half way")
    time.sleep(job["input"]["sleep"])
    return "done"
"""
PLAIN = SCRIPT + "runpod.serverless.start({'handler': handler})\n"
STREAM = SCRIPT + "runpod.serverless.start({'handler': chunks, 'return_aggregate_stream': True})\n"
MANY = SCRIPT + "runpod.serverless.start({'handler': handler, 'concurrency_modifier': lambda now: 3})\n"
SLOW = SCRIPT + "runpod.serverless.start({'handler': slow})\n"
REFRESH = SCRIPT + "runpod.serverless.start({'handler': handler, 'refresh_worker': True})\n"


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that has RunPod's SDK."""
    chosen = os.environ.get("ATLAS_TEST_RUNPOD_PYTHON")
    if chosen:
        subprocess.run([chosen, "-c", "import importlib.metadata as m; m.version('runpod')"], check=True)
        return chosen
    if importlib.util.find_spec("runpod") is None:
        pytest.skip(
            "RunPod's SDK is not installed: run 'make setup', or name a Python that has it in ATLAS_TEST_RUNPOD_PYTHON"
        )
    return sys.executable


def serve(world: Any, python: str, script: str, **fields: Any) -> Any:
    world.module("rp_worker", script)
    fields.setdefault("workers", Workers(min=1, max=1))
    return world.create(None, command=(python, "-u", "rp_worker.py"), **fields)


def test_an_async_handler_serves_and_fails_as_on_runpod(world: Any, python: str) -> None:
    made = serve(world, python, PLAIN)
    assert world.sync(made, {"a": 1}).output == {"got": {"a": 1}}
    failed = world.sync(made, {"fail": True})
    assert failed.status == "failed" and "told to" in failed.error
    refused = world.sync(made, {"error": True})
    assert refused.status == "failed" and refused.error == "no thanks"


def test_a_cancelled_job_is_stopped_and_the_worker_lives_on(world: Any, python: str) -> None:
    made = serve(world, python, PLAIN, provider_options={"stop_grace_s": 20})
    job = world.queue(made, {"sleep": 600})
    world.wait_until(lambda: world.job(made, job).status == "in_progress")
    worker = world.job(made, job).worker_id
    world.ask(made, f"/v2/{made.id}/cancel/{job}", {})
    after = world.sync(made, {"b": 2})
    assert after.output == {"got": {"b": 2}} and after.worker_id == worker
    assert world.job(made, job).status == "cancelled"


def test_a_generator_streams(world: Any, python: str) -> None:
    made = serve(world, python, STREAM)
    job = world.queue(made, {"count": 3})
    chunks: list[Any] = []
    world.stream(made, job, chunks)
    assert chunks == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert world.job(made, job).output == chunks


def test_one_worker_takes_as_many_jobs_as_its_concurrency_allows(world: Any, python: str) -> None:
    made = serve(world, python, MANY)
    jobs = [world.queue(made, {"sleep": 600}) for _ in range(3)]
    world.wait_until(lambda: all(world.job(made, job).status == "in_progress" for job in jobs))
    assert len({world.job(made, job).worker_id for job in jobs}) == 1


def test_progress_shows_and_a_blocked_worker_is_replaced_on_time_out(world: Any, python: str) -> None:
    made = serve(world, python, SLOW, provider_options={"stop_grace_s": 0.5})
    job = world.queue(made, {"sleep": 600}, execution_timeout_s=4)
    world.wait_until(lambda: world.job(made, job).output == "half way")
    worker = world.job(made, job).worker_id
    world.wait_until(lambda: world.job(made, job).status == "timed_out")
    after = world.sync(made, {"sleep": 0})
    assert after.output == "done" and after.worker_id != worker


def test_a_worker_that_wants_to_be_fresh_is_replaced_without_blame(world: Any, python: str) -> None:
    made = serve(world, python, REFRESH)
    first, second = world.sync(made, {}), world.sync(made, {})
    assert first.status == second.status == "completed" and first.worker_id != second.worker_id
    assert world.health(made).workers["unhealthy"] == 0

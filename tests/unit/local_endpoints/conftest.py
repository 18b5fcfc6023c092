"""Endpoints for tests: real supervisors and workers in a folder of the test's own, all ended with the test."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import pytest

from pulumi_atlas import processes
from pulumi_atlas.ids import Birth, EndpointId, JobId, Owner, Tag, new_birth
from pulumi_atlas.models import EndpointSpec, JobSpec, ObservedEndpoint, Workers
from pulumi_atlas.providers.contract import Access
from pulumi_atlas.providers.local import LocalProvider

T = TypeVar("T")

HANDLERS = '''
import asyncio, os, sys, time
from pathlib import Path

def add(job):
    return {"sum": sum(job["input"])}

async def nap(job):
    await asyncio.sleep(job["input"])
    return "rested"

def count(job):
    for number in range(job["input"]):
        yield number

async def count_later(job):
    for number in range(job["input"]):
        await asyncio.sleep(0)
        yield number

def count_then_fail(job):
    yield 1
    raise RuntimeError("no more")

def complain(job):
    return {"error": "I do not like it", "seen": job["input"]}

def explode(job):
    raise ValueError("told to")

def gate(job):
    """Waits for a file; notes that it has begun."""
    Path(job["input"] + ".begun").touch()
    while not Path(job["input"]).exists():
        time.sleep(0.01)
    return "through"

def die(job):
    os._exit(9)

def die_once(job):
    mark = Path(job["input"])
    if not mark.exists():
        mark.touch()
        os._exit(9)
    return "second time"

def unspeakable(job):
    return object()

def echo(job):
    return job["input"]

def surroundings(job):
    return {"env": dict(os.environ), "cwd": os.getcwd(), "python": sys.executable, "job": job}

def breed(job):
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    return child.pid
'''


def run(work: Awaitable[T]) -> T:
    async def main() -> T:
        return await work

    return asyncio.run(main())


def wait_until(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Poll until the condition holds, and give what it gave."""
    until = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def ask(
    endpoint: ObservedEndpoint,
    path: str,
    body: Any = None,
    *,
    method: str | None = None,
    headers: dict[str, str] | None = None,
    key: str | None = "",
) -> tuple[int, Any]:
    """One raw request to the job API: status and JSON. `key` None sends none, empty sends the right one."""
    assert endpoint.url is not None
    host = endpoint.url.split("/")[2]
    sent = {"Content-Type": "application/json"} if body is not None else {}
    if key is not None:
        sent["Authorization"] = f"Bearer {key or endpoint.key}"
    sent.update(headers or {})
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection = HTTPConnection(host, timeout=30)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, content, sent)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


class World:
    """A provider over the test's folder, and short ways to use it."""

    run = staticmethod(run)
    wait_until = staticmethod(wait_until)
    ask = staticmethod(ask)

    def __init__(self, folder: Path) -> None:
        self.root = folder / "local"
        self.code = folder / "code"
        self.code.mkdir()
        (self.code / "handlers.py").write_text(HANDLERS)
        self.provider = LocalProvider(Access(provider="local", environ={"ATLAS_LOCAL_DIR": str(self.root)}))
        self.births: list[Birth] = []

    def module(self, name: str, code: str) -> None:
        (self.code / f"{name}.py").write_text(dedent(code))

    def spec(self, handler: str | None = "handlers:add", **fields: Any) -> EndpointSpec:
        workers = fields.pop("workers", Workers(min=0, max=1))
        if handler is not None:
            fields["handler"] = handler
        return EndpointSpec(workers=workers, working_dir=str(self.code), **fields)

    def tag(self) -> Tag:
        self.births.append(new_birth())
        return Tag(self.births[-1], Owner("manual", "tester"))

    def create(self, handler: str | None = "handlers:add", **fields: Any) -> ObservedEndpoint:
        return run(self.provider.create_endpoint(self.spec(handler, **fields), self.tag()))

    def sync(self, endpoint: ObservedEndpoint, input: Any, **fields: Any) -> Any:
        return run(self.provider.run_job(JobSpec(endpoint=endpoint.id, input=input, mode="sync", **fields)))

    def queue(self, endpoint: ObservedEndpoint, input: Any, **fields: Any) -> JobId:
        return JobId(run(self.provider.run_job(JobSpec(endpoint=endpoint.id, input=input, **fields))).id)

    def job(self, endpoint: ObservedEndpoint, job_id: JobId) -> Any:
        return run(self.provider.get_job(EndpointId(endpoint.id), job_id))

    def health(self, endpoint: ObservedEndpoint) -> Any:
        return run(self.provider.endpoint_health(EndpointId(endpoint.id)))

    def get(self, endpoint: ObservedEndpoint) -> ObservedEndpoint:
        return run(self.provider.get_endpoint(EndpointId(endpoint.id)))

    def update(self, endpoint: ObservedEndpoint, spec: EndpointSpec, *, restart: bool) -> ObservedEndpoint:
        return run(self.provider.update_endpoint(EndpointId(endpoint.id), spec, restart=restart))

    def delete(self, endpoint: ObservedEndpoint) -> None:
        run(self.provider.delete_endpoint(EndpointId(endpoint.id)))

    def stream(self, endpoint: ObservedEndpoint, job_id: JobId, into: list[Any]) -> None:
        async def read() -> None:
            async for chunk in self.provider.stream_job(EndpointId(endpoint.id), job_id):
                into.append(chunk)

        run(read())

    def pids(self) -> list[int]:
        return [p.pid for birth in self.births for p in processes.processes_with("ATLAS_BIRTH", birth)]

    def supervisor(self, endpoint: ObservedEndpoint) -> processes.ProcessIdentity:
        found = processes.identify(self.get(endpoint).raw["pid"])
        assert found is not None
        return found

    def folder(self, endpoint: ObservedEndpoint) -> Path:
        return self.root / "endpoints" / endpoint.id

    def clear(self) -> None:
        for endpoint in run(self.provider.list_endpoints()):
            self.delete(endpoint)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from world_in(tmp_path)


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from world_in(tmp_path_factory.mktemp("endpoints"))


def world_in(folder: Path) -> Iterator[World]:
    """A world that is empty again at the end, or the test fails."""
    world = World(folder)
    yield world
    world.clear()
    left = world.pids()
    assert not left, f"processes were left behind: {left}"
    assert not list((world.root / "endpoints").glob("*")), "folders were left behind"

"""A local provider in a folder of its own; whatever a test leaves running is ended by its pid."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pulumi_atlas import processes
from pulumi_atlas.errors import NotFound
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeFilter, ComputeSpec
from pulumi_atlas.providers.contract import Access
from pulumi_atlas.providers.local import LocalProvider

T = TypeVar("T")
PYTHON = sys.executable


class World:
    """The provider, with verbs that block, and memory of every pod that was made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.provider = self.another()
        self.births: list[str] = []

    def another(self) -> LocalProvider:
        return LocalProvider(Access("local", environ={"ATLAS_LOCAL_DIR": str(self.root)}))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def tag(self) -> Tag:
        tag = Tag(new_birth(), Owner("manual", "tester"))
        self.births.append(tag.birth)
        return tag

    def create(self, *command: str, **fields: Any) -> Compute:
        return self.run(self.provider.create_compute(ComputeSpec(command=command, **fields), self.tag()))

    def python(self, code: str, **fields: Any) -> Compute:
        return self.create(PYTHON, "-u", "-c", code, **fields)

    def get(self, pod: Compute) -> Compute:
        return self.run(self.provider.get_compute(pod.id))

    def list(self, **filters: Any) -> list[Compute]:
        return list(self.run(self.provider.list_compute(ComputeFilter(**filters))))

    def stop(self, pod: Compute) -> None:
        self.run(self.provider.stop(pod.id))

    def start(self, pod: Compute) -> None:
        self.run(self.provider.start(pod.id))

    def terminate(self, pod: Compute) -> None:
        self.run(self.provider.terminate(pod.id))

    def logs(self, pod: Compute, **options: Any) -> list[str]:
        async def read() -> list[str]:
            return [line async for line in self.provider.logs(pod.id, **options)]

        return self.run(read())

    def is_gone(self, pod: Compute) -> bool:
        try:
            self.get(pod)
        except NotFound:
            return True
        return False

    def becomes(self, pod: Compute, status: str) -> Compute:
        wait_until(lambda: self.get(pod).status == status, what=lambda: f"{self.get(pod)}")
        return self.get(pod)

    def says(self, pod: Compute, line: str) -> None:
        wait_until(lambda: line in self.logs(pod), what=lambda: f"{self.logs(pod)}")

    def members(self, pod: Compute) -> list[processes.ProcessIdentity]:
        assert pod.birth
        return list(processes.processes_with("ATLAS_BIRTH", pod.birth))

    def rubbish(self) -> list[str]:
        """Everything below the folder that is no folder, and every folder of a thing."""
        if not self.root.exists():
            return []
        things = [str(p.relative_to(self.root)) for kind in ("pods", "volumes") for p in (self.root / kind).glob("*")]
        return things + [str(p.relative_to(self.root)) for p in self.root.rglob("*") if not p.is_dir()]

    def close(self) -> None:
        for birth in self.births:
            for process in processes.processes_with("ATLAS_BIRTH", birth):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], object], *, timeout: float = 20.0, what: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"it never came true: {what()}"
        time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "local")
    yield made
    made.close()


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until

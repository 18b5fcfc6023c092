"""`local` does what the contract says, with real processes."""

from __future__ import annotations

import contextlib
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from pulumi_atlas import processes
from pulumi_atlas.access import Access
from pulumi_atlas.errors import NotFound
from pulumi_atlas.ids import Owner, PodId, Tag, new_birth
from pulumi_atlas.models import ComputeSpec, EndpointSpec, VolumeSpec
from pulumi_atlas.providers.local import LocalProvider
from pulumi_atlas.testing.conformance import Behaviour, Harness, ProviderConformance
from pulumi_atlas.testing.stateful import machine_for

WORKERS = '''
"""Workers of the suite."""
import asyncio


def echo(job):
    return {"echo": job["input"]}


def stream(job):
    yield from job["input"]["chunks"]


def fail(job):
    raise ValueError(job["input"]["why"])


async def slow(job):
    await asyncio.sleep(600)
'''


class LocalHarness(Harness):
    name: ClassVar[str] = "local"
    patience_s: ClassVar[float] = 60.0
    missing_id: ClassVar[str] = "pod-0123456789ab"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.root = folder / "root"
        self.strangers: list[str] = []

    def provider(self) -> LocalProvider:
        return _in(self.root)

    def other_account(self) -> LocalProvider:
        return _in(self.folder / "other")

    def spec(self, **fields: Any) -> ComputeSpec:
        options = {"grace_s": 2, **fields.pop("provider_options", {})}
        return ComputeSpec(**{"command": ["sleep", "600"], "provider_options": options, **fields})

    def ending_spec(self, code: int, lines: Sequence[str] = ()) -> ComputeSpec:
        says = "".join(f"printf '%s\\n' {shlex.quote(line)}; " for line in lines)
        return self.spec(command=["sh", "-c", f"{says}exit {code}"])

    def endpoint_spec(self, behaviour: Behaviour) -> EndpointSpec:
        (self.folder / "conformance_workers.py").write_text(WORKERS, encoding="utf-8")
        return EndpointSpec(handler=f"conformance_workers:{behaviour}", working_dir=str(self.folder))

    def changed(self, field: str) -> Any:
        if field == "volumes":
            tag = Tag(new_birth(), Owner("manual", "harness"))
            volume = self.do(lambda: self.provider().create_volume(VolumeSpec(size_gb=1), tag))
            return {"/data": volume.id}
        values = {"command": ["sleep", "601"], "provider_options": {"grace_s": 1.5}}
        return values.get(field) or super().changed(field)

    def kill(self, pod_id: str) -> None:
        for process in self._processes(pod_id):
            processes.send_signal(process, signal.SIGKILL)

    def remove(self, pod_id: str) -> None:
        self.do(lambda: self.provider().terminate(PodId(pod_id)))

    def stop(self, pod_id: str) -> None:
        self.do(lambda: self.provider().stop(PodId(pod_id)))

    def exists(self, pod_id: str) -> bool:
        return bool(self._processes(pod_id)) or any(path.name.startswith(pod_id) for path in self.root.rglob("*"))

    def make_foreign(self) -> str:
        tag = Tag(new_birth(), Owner("manual", "stranger"))
        pod = self.do(lambda: self.provider().create_compute(self.spec(), tag))
        self.strangers.append(pod.id)
        return pod.id

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        away = self.root.rename(self.folder / "away") if self.root.exists() else None
        self.root.write_text("a file where the folder was", encoding="utf-8")
        try:
            yield
        finally:
            self.root.unlink()
            if away:
                away.rename(self.root)

    def close(self) -> None:
        for pod_id in self.strangers:
            with contextlib.suppress(NotFound):
                self.remove(pod_id)

    def _processes(self, pod_id: str) -> list[processes.ProcessIdentity]:
        return list(processes.processes_with("ATLAS_POD_ID", pod_id))


def _in(folder: Path) -> LocalProvider:
    return LocalProvider(Access("local", environ={"ATLAS_LOCAL_DIR": str(folder)}))


class TestLocal(ProviderConformance):
    harness_class = LocalHarness


TestLocalWorld = machine_for(LocalHarness, max_examples=4, stateful_step_count=12)

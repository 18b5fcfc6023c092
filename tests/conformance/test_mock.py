"""`mock` does what the contract says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from pulumi_atlas.access import Access
from pulumi_atlas.models import ComputeSpec, EndpointSpec, Job
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.testing.conformance import Behaviour, Harness, ProviderConformance
from pulumi_atlas.testing.stateful import machine_for


class MockHarness(Harness):
    name: ClassVar[str] = "mock"

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self.world = World.fresh()

    def provider(self) -> MockProvider:
        return MockProvider(Access("mock"), world=self.world)

    def other_account(self) -> MockProvider:
        return MockProvider(Access("mock", account="other"), world=self.world)

    def spec(self, **fields: Any) -> ComputeSpec:
        return ComputeSpec(**{"image": "busybox", **fields})

    def ending_spec(self, code: int, lines: Sequence[str] = ()) -> ComputeSpec:
        return self.spec(provider_options={"exit_after_s": 0, "exit_code": code})

    def endpoint_spec(self, behaviour: Behaviour) -> EndpointSpec:
        self.world.configure(jobs_advance=behaviour == "echo")
        return EndpointSpec(image=f"worker:{behaviour}")

    def changed(self, field: str) -> Any:
        values = {"command": ("serve",), "image": "busybox:2", "provider_options": {"exit_code": 1}}
        return values.get(field) or super().changed(field)

    def talk(self, pod_id: str, lines: Sequence[str]) -> None:
        self.world.log(pod_id, *lines)

    def work(self, behaviour: Behaviour, job: Job, given: Any) -> None:
        if behaviour == "stream":
            for chunk in given["chunks"]:
                self.world.emit(job.id, chunk)
            self.world.finish_job(job.id)
        elif behaviour == "fail":
            self.world.finish_job(job.id, status="failed", error=given["why"])

    async def pause(self, seconds: float) -> None:
        self.world.advance(seconds)

    def kill(self, pod_id: str) -> None:
        self.world.set_status(pod_id, "failed", exit_code=-9, reason="it was killed")

    def remove(self, pod_id: str) -> None:
        self.world.remove(pod_id)

    def stop(self, pod_id: str) -> None:
        self.world.set_status(pod_id, "stopped")

    def exists(self, pod_id: str) -> bool:
        pod = self.world.pods.get(pod_id)
        return pod is not None and pod.status != "terminated"

    def make_foreign(self) -> str:
        return self.world.plant(self.spec()).id

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        with self.world.outage():
            yield

    @contextmanager
    def lost_answer(self) -> Iterator[None]:
        self.world.fail_next("create_compute", after_effect=True)
        yield


class FileMockHarness(MockHarness):
    """The same in a file that several processes share."""

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self.world = World.open(folder / "mock.json")


class SlowMockHarness(MockHarness):
    """The same when machines take time to come up and to go, and the listing lags behind."""

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self.world.configure(provision_s=5.0, terminate_lag_s=3.0, listing_lag_s=1.0)


class TestMock(ProviderConformance):
    harness_class = MockHarness


class TestMockInAFile(ProviderConformance):
    harness_class = FileMockHarness


class TestSlowMock(ProviderConformance):
    harness_class = SlowMockHarness


TestMockWorld = machine_for(MockHarness, stateful_step_count=50)
TestSlowMockWorld = machine_for(SlowMockHarness, stateful_step_count=30)

"""A provider against a model: Hypothesis plays any sequence of verbs and accidents, and compares after each step.

The model is a plain dict, pod id → what we believe of it. Whatever happens, nothing is leaked (there and not believed) and
nothing is lost (believed and not there)::

    from pulumi_atlas.testing.stateful import machine_for

    TestAcmeWorld = machine_for(AcmeHarness, max_examples=20, stateful_step_count=15)

What the harness cannot do behind the provider's back, and abilities that the provider lacks, are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from unittest import TestCase

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pulumi_atlas.errors import AtlasError, NotFound
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeFilter, ComputeSpec
from pulumi_atlas.providers.contract import ABILITIES
from pulumi_atlas.testing.conformance import Harness

__all__ = ["Believed", "ProviderMachine", "Sync", "machine_for"]

T = TypeVar("T")

_LOOK_S = 0.05


class Sync:
    """A loop on a thread of its own, for callers that are not async, as the rules of a state machine are."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="atlas-testing", daemon=True)
        self._thread.start()

    def __call__(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to its end; errors pass through."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the thread and the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Believed:
    """What the model says of a pod. `power`: `up` (provisioning or running), `stopped`, or `failed` (it was killed)."""

    birth: str
    spec: ComputeSpec
    power: str = "up"


_SEEN_AS = {"up": ("provisioning", "running"), "stopped": ("stopped",), "failed": ("failed",)}


class ProviderMachine(RuleBasedStateMachine):
    """The rules. `harness_class` is set by `machine_for`."""

    harness_class: ClassVar[type[Harness]]
    most_pods: ClassVar[int] = 6

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="atlas-machine-"))
        self.harness = self.harness_class(self.folder)
        self.run = Sync()
        self.provider = self.harness.provider()
        self.owner = Owner("stack", "0dd0dd0dd0dd0dd0", "atlas:Pod::machine")
        self.model: dict[str, Believed] = {}
        self.foreign: set[str] = set()
        self.cannot: set[str] = set()

    # ---- verbs

    @precondition(lambda self: len(self.model) < self.most_pods)
    @rule(name=st.sampled_from(["one", "two", None]))
    def create(self, name: str | None) -> None:
        spec = self.harness.spec(**({"name": name} if name and "name" in self.provider.accepts else {}))
        tag = Tag(new_birth(), self.owner)
        pod = self.run(self.provider.create_compute(spec, tag))
        assert pod.id not in self.model, "an id was given twice"
        self.model[pod.id] = Believed(tag.birth, spec)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def terminate(self, data: st.DataObject) -> None:
        pod_id = self._draw(data)
        self.run(self.provider.terminate(pod_id))
        del self.model[pod_id]

    @precondition(lambda self: self.model and self._has("stop"))
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        pod_id = self._draw(data)
        self.run(self.provider.stop(pod_id))
        self._believe(pod_id, power="stopped")

    @precondition(lambda self: self.model and self._has("stop"))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        pod_id = self._draw(data)
        self.run(self.provider.start(pod_id))
        self._believe(pod_id, power="up")

    @precondition(lambda self: self.model and self._changes())
    @rule(data=st.data(), value=st.integers(0, 9))
    def update(self, data: st.DataObject, value: int) -> None:
        pod_id = self._draw(data)
        spec = self.model[pod_id].spec.model_copy(update={"env": {"VALUE": str(value)}})
        self.run(self.provider.update_compute(pod_id, spec, restart=True))
        self._believe(pod_id, spec=spec)

    @rule()
    def verbs_on_what_is_not_there(self) -> None:
        names = ["get_compute", "terminate", *(["stop", "start"] if self._has("stop") else [])]
        for name in names:
            with pytest.raises(NotFound):
                self.run(getattr(self.provider, name)(self.harness.missing_id))

    # ---- accidents

    @precondition(lambda self: self.model and "kill" not in self.cannot)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        pod_id = self._draw(data)
        if self.model[pod_id].power == "up":
            self._becomes(pod_id, "running")
            if self._behind("kill", pod_id):
                self._believe(pod_id, power="failed")

    @precondition(lambda self: self.model and "remove" not in self.cannot)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        pod_id = self._draw(data)
        if self._behind("remove", pod_id):
            del self.model[pod_id]

    @precondition(lambda self: self.model and "stop" not in self.cannot and self._has("stop"))
    @rule(data=st.data())
    def stop_in_the_console(self, data: st.DataObject) -> None:
        pod_id = self._draw(data)
        if self._behind("stop", pod_id):
            self._believe(pod_id, power="stopped")

    @precondition(lambda self: len(self.foreign) < 2 and "make_foreign" not in self.cannot)
    @rule()
    def somebody_else_rents(self) -> None:
        try:
            self.foreign.add(self.harness.make_foreign())
        except pytest.skip.Exception:
            self.cannot.add("make_foreign")

    @precondition(lambda self: "unreachable" not in self.cannot)
    @rule()
    def outage(self) -> None:
        try:
            trouble = self.harness.unreachable()
        except pytest.skip.Exception:
            self.cannot.add("unreachable")
            return
        with trouble, pytest.raises(AtlasError) as caught:
            self.run(self.provider.list_compute(ComputeFilter()))
        assert caught.value.kind != "not_found"

    @rule()
    def crash(self) -> None:
        """The process is gone and another one comes: nothing may have been only in its memory."""
        self.run(self.provider.aclose())
        self.provider = self.harness.provider()

    # ---- what must hold

    @invariant()
    def the_inventory_is_what_we_believe(self) -> None:
        found = self._listed()
        ours = {pod.id: pod for pod in found.values() if pod.owner == self.owner}
        leaked, lost = ours.keys() - self.model.keys(), self.model.keys() - ours.keys()
        assert not leaked, f"there, and nobody knows of it: {sorted(leaked)}"
        assert not lost, f"believed, and not there: {sorted(lost)}"
        assert self.foreign <= found.keys(), "a stranger's pod has vanished"
        for pod_id, believed in self.model.items():
            pod = ours[pod_id]
            assert pod.birth == believed.birth
            assert pod.status in _SEEN_AS[believed.power], f"{pod_id} is {pod.status}, believed {believed.power}"
            assert pod.spec is None or pod.spec == believed.spec

    def teardown(self) -> None:
        """Removes every pod of ours, also those that should not be there."""
        try:
            ours = {pod.id for pod in self._listed(settle=False).values() if pod.owner == self.owner}
            for pod_id in sorted(ours | self.model.keys()):
                with contextlib.suppress(NotFound):
                    self.run(self.provider.terminate(pod_id))
            self.run(self.provider.aclose())
        finally:
            self.harness.close()
            self.run.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- how

    def _draw(self, data: st.DataObject) -> str:
        return str(data.draw(st.sampled_from(sorted(self.model)), label="pod"))

    def _has(self, ability: str) -> bool:
        return hasattr(self.provider, ABILITIES[ability][1])

    def _changes(self) -> bool:
        return self._has("update") and self.provider.compute_changes.get("env", "replace") != "replace"

    def _believe(self, pod_id: str, **changes: Any) -> None:
        self.model[pod_id] = replace(self.model[pod_id], **changes)

    def _behind(self, what: str, pod_id: str) -> bool:
        try:
            getattr(self.harness, what)(pod_id)
        except pytest.skip.Exception:
            self.cannot.add(what)
            return False
        return True

    def _becomes(self, pod_id: str, status: str) -> None:
        for _ in range(int(self.harness.patience_s / _LOOK_S)):
            if self.run(self.provider.get_compute(pod_id)).status == status:
                return
            self.run(self.harness.pause(_LOOK_S))
        raise AssertionError(f"{pod_id} never became {status}")

    def _listed(self, *, settle: bool = True) -> dict[str, Compute]:
        """What the listing shows; looks again for a while as long as it differs from the model, since it may lag."""
        for _ in range(int(self.harness.patience_s / _LOOK_S)):
            found = {p.id: p for p in self.run(self.provider.list_compute(ComputeFilter())) if p.status != "terminated"}
            if not settle or self._agrees(found):
                break
            self.run(self.harness.pause(_LOOK_S))
        return found

    def _agrees(self, found: dict[str, Compute]) -> bool:
        ours = {pod.id: pod for pod in found.values() if pod.owner == self.owner}
        return (
            self.foreign <= found.keys()
            and ours.keys() == self.model.keys()
            and all(ours[pod_id].status in _SEEN_AS[believed.power] for pod_id, believed in self.model.items())
        )


def machine_for(harness: type[Harness], **options: Any) -> type[TestCase]:
    """A test case that plays the machine over a harness. `options` are Hypothesis settings, say `stateful_step_count`."""
    machine: Any = type(f"{harness.__name__}Machine", (ProviderMachine,), {"harness_class": harness})
    case: type[TestCase] = machine.TestCase
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    case.settings = settings(**{"deadline": None, "suppress_health_check": slow, **options})  # type: ignore[attr-defined]
    return case

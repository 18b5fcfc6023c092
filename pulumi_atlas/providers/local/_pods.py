"""Pods on this computer: the contract's verbs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Literal

from pulumi_atlas.errors import AtlasError, NotFound
from pulumi_atlas.ids import PodId, Tag
from pulumi_atlas.models import Compute, ComputeFilter, ComputeSpec, Listing, OnExit, Port
from pulumi_atlas.providers.contract import Change
from pulumi_atlas.providers.local import _ending, _ports, _sight, _translate
from pulumi_atlas.providers.local._place import LocalPlace
from pulumi_atlas.providers.local._records import PodRecords, Record
from pulumi_atlas.providers.local._waiting import finish, hold, speaking

__all__ = ["ACCEPTS", "REASONS", "LocalPods"]

_POD_ID = re.compile(r"pod-[0-9a-f]{12}(-\d{1,5})*")
_GLANCES = 5

ACCEPTS = frozenset(
    {"name", "command", "env", "ports", "volumes", "working_dir", "on_exit", "max_lifetime_s", "provider_options"}
)

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "gpu": "this computer's GPUs are not rented out; a local command sees all of them, or choose a cloud provider",
        "gpu_count": "this computer's GPUs are not rented out; a local command sees all of them",
        "image": "local pods are plain processes, not containers; give a command, or choose a cloud provider",
        "template_id": "this computer keeps no templates; give the command itself",
        "cloud_type": "this computer is neither a secure nor a community cloud",
        "spot": "this computer has no spot market; its pods are never reclaimed",
        "regions": "this computer has no regions",
        "region": "this computer has no regions",
        "max_cost_per_hour": "local pods cost nothing, so that there is no price to cap",
        "container_disk_gb": "local pods share this computer's disk; it cannot be divided",
        "volume_gb": "local pods have no disk of their own; mount a volume with volumes={...}",
        "offers": "this computer rents nothing out",
        "templates": "this computer keeps no templates",
        "registry_credentials": "local pods use no images",
    }
)


class LocalPods(LocalPlace):
    """Pods as process groups that survive whoever started them.

    A pod's command runs below a small process of ours (see `_shim`), which is found again by boot, pid and start ticks.
    Before any signal the birth in the process's own environment is compared as well.
    """

    _pods: PodRecords

    compute_changes: ClassVar[Mapping[str, Change]] = MappingProxyType(
        {
            "name": "in_place",
            "provider_options": "in_place",
            "env": "restart",
            "command": "restart",
            "working_dir": "restart",
            "volumes": "restart",
            "on_exit": "restart",
            "max_lifetime_s": "restart",
        }
    )
    on_exit_choices: ClassVar[frozenset[OnExit]] = frozenset({"keep", "stop", "terminate", "restart"})
    enforces_max_lifetime: ClassVar[Literal[True]] = True

    @staticmethod
    def pod_urls(pod_id: PodId, ports: Sequence[Port]) -> dict[str, str]:
        """URLs by port number. The id ends with the host ports, so that this is pure. ValueError on a foreign id."""
        return _translate.pod_urls(pod_id, ports)

    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        """Start a pod. Returns when its command runs. Not idempotent; when it fails, nothing is left behind.

        Raises InvalidSpec (also when the command does not exist), NoCapacity when no port is free, ProviderFailure.
        """
        account = await self.identity()
        with speaking("create_compute"):
            record = await finish(self._pods.create, spec, tag)
            return await finish(self._observed, record, account)

    async def get_compute(self, pod_id: PodId) -> Compute:
        """The pod as it is now. Raises NotFound; an ended pod with `on_exit="terminate"` is not there."""
        account = await self.identity()
        with speaking("get_compute"):
            found = await finish(self._find, pod_id, account)
            if found is None:
                raise _missing(pod_id)
            return found

    async def list_compute(self, filters: ComputeFilter) -> Listing[Compute]:
        """All pods that match. Also sweeps up what killed processes have left in the folder."""
        account = await self.identity()
        with speaking("list_compute"):
            pods = await finish(self._inventory, account)
        return Listing(tuple(pod for pod in pods if filters.matches(pod)), account)

    async def terminate(self, pod_id: PodId) -> None:
        """End the pod's processes, all of them wherever they have moved, and remove its folder. Volumes stay.

        TERM first, KILL after `grace_s`. Raises NotFound. Safe to repeat after a crash in the middle.
        """
        with speaking("terminate"):
            self._known(pod_id)
            async with hold(self._store, "pods", pod_id):
                record = self._known(pod_id)
                await _ending.end_processes(record, self._pods.folder(record), grace_s=_grace(record))
                await finish(self._pods.remove, record)

    async def stop(self, pod_id: PodId) -> None:
        """End the pod's processes (TERM, KILL after `grace_s`); folder, ports and logs stay. Raises NotFound."""
        with speaking("stop"):
            self._known(pod_id)
            async with hold(self._store, "pods", pod_id):
                record = self._known(pod_id)
                sight = await finish(_sight.look, record, self._pods.folder(record))
                if record["desired"] == "stopped" and not sight.alive:
                    return
                record = await finish(self._pods.note, record, desired="stopped")
                await _ending.end_processes(record, self._pods.folder(record), grace_s=_grace(record))

    async def start(self, pod_id: PodId) -> None:
        """Run the command again under the same id and ports. Starting what runs is done.

        Raises NotFound, and Conflict naming a port that another program has taken meanwhile.
        """
        with speaking("start"):
            self._known(pod_id)
            async with hold(self._store, "pods", pod_id):
                record = self._known(pod_id)
                folder = self._pods.folder(record)
                sight = await finish(_sight.look, record, folder)
                if sight.alive and sight.exit is None and record["desired"] == "running":
                    return
                await _ending.end_processes(record, folder, grace_s=_grace(record))
                await finish(self._pods.start, record)

    async def update_compute(self, pod_id: PodId, spec: ComputeSpec, *, restart: bool) -> Compute:
        """Make `spec` the pod's spec; with `restart`, a pod that runs is started anew with it.

        Raises NotFound, InvalidSpec (the pod then runs on as it was), Conflict for other ports.
        """
        account = await self.identity()
        with speaking("update_compute"):
            self._known(pod_id)
            async with hold(self._store, "pods", pod_id):
                record = self._known(pod_id)
                folder = self._pods.folder(record)
                sight = await finish(_sight.look, record, folder)
                again = restart and sight.alive and sight.exit is None and record["desired"] == "running"
                record = await finish(self._pods.change_spec, record, spec, restarting=again)
                if again:
                    await _ending.end_processes(record, folder, grace_s=_grace(record))
                    record = await finish(self._pods.start, record)
                return await finish(self._observed, record, account)

    # -- looking -------------------------------------------------------------------------------------------------------

    def _known(self, pod_id: str) -> Record:
        record = self._store.read("pods", pod_id) if _POD_ID.fullmatch(pod_id) else None
        if record is None:
            raise _missing(pod_id)
        return record

    def _find(self, pod_id: str, account: str) -> Compute | None:
        """The pod as it is. Looks again when its record changed meanwhile, so that no mixture is ever shown."""
        for _ in range(_GLANCES):
            try:
                record = self._known(pod_id)
            except NotFound:
                return None
            folder = self._pods.folder(record)
            sight = _sight.look(record, folder)
            if self._pods.remove_if_over(record, sight):
                return None
            pod = _translate.compute_from(record, sight, account=account, folder=str(folder))
            if pod.status == "running" or self._store.read("pods", pod_id) == record:
                return pod
        return pod

    def _inventory(self, account: str) -> list[Compute]:
        self._store.sweep("pods")
        _ports.sweep(self._store)
        found = (self._find(id, account) for id in self._store.ids("pods"))
        return [pod for pod in found if pod is not None]

    def _observed(self, record: Record, account: str) -> Compute:
        folder = self._pods.folder(record)
        return _translate.compute_from(record, _sight.look(record, folder), account=account, folder=str(folder))


def _missing(pod_id: str) -> AtlasError:
    return NotFound(f"there is no pod '{pod_id}'", hint="see: atlas compute list --provider local")


def _grace(record: Record) -> float:
    return _translate.grace_of(ComputeSpec.model_validate(record["spec"]))

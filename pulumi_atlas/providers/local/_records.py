"""What a pod does to its record and folder, without waiting for its processes. All block shortly."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pulumi_atlas import failpoints, files, processes
from pulumi_atlas.errors import AtlasError, Conflict, Failure, InvalidSpec, ProviderFailure
from pulumi_atlas.ids import Tag
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.local import _ending, _links, _ports, _sight, _spawn
from pulumi_atlas.providers.local._store import Store
from pulumi_atlas.providers.local._translate import (
    Sight,
    check_spec,
    environment_for,
    foreign_fields,
    is_over,
    status_of,
)

__all__ = ["PodRecords", "Record"]

Record = dict[str, Any]


class PodRecords:
    """Makes, starts, changes and removes pods in a store."""

    def __init__(self, store: Store, accepts: frozenset[str], reasons: Mapping[str, str]) -> None:
        self.store = store
        self.accepts = accepts
        self.reasons = reasons

    def folder(self, record: Mapping[str, Any]) -> Path:
        return self.store.folder("pods", record["id"])

    # -- checks --------------------------------------------------------------------------------------------------------

    def check(self, spec: ComputeSpec, *, old: Record | None = None) -> None:
        """Raise InvalidSpec with everything that is wrong with a spec, as this machine is now."""
        failures = [*foreign_fields(spec, self.accepts, self.reasons), *check_spec(spec)]
        failures += self._missing_volumes(spec)
        working_dir = Path(_spawn.working_dir_of(spec, Path("/nonexistent")))
        if spec.working_dir and not working_dir.is_dir():
            failures.append(Failure("working_dir", f"there is no folder {working_dir}", "make it first"))
        elif not any(failure.path.startswith("volumes.") for failure in failures):
            failures += self._taken_places(spec, working_dir, old)
        if spec.command and not any(failure.path in ("command", "working_dir") for failure in failures):
            found = _spawn.find_executable(spec.command[0], {**os.environ, **spec.env}, working_dir)
            failures += [found] if isinstance(found, Failure) else []
        if failures:
            raise InvalidSpec(failures)

    def _taken_places(self, spec: ComputeSpec, working_dir: Path, old: Record | None) -> list[Failure]:
        ours = {note["path"] for note in old["links"]} if old else set()
        found = _links.check_places(working_dir, _links.targets(self.store, spec))
        return [failure for failure in found if not any(failure.message.startswith(f"{path} ") for path in ours)]

    def _missing_volumes(self, spec: ComputeSpec) -> list[Failure]:
        return [
            Failure(f"volumes.{mount}", f"there is no volume '{volume}'", "see: atlas volumes list --provider local")
            for mount, volume in spec.volumes.items()
            if self.store.read("volumes", volume) is None
        ]

    # -- creation ------------------------------------------------------------------------------------------------------

    def create(self, spec: ComputeSpec, tag: Tag) -> Record:
        """Record, start, note the process. When it fails, nothing is left."""
        self.check(spec)
        ports = _ports.reserve(self.store, len(spec.ports))
        pod_id = "-".join(["pod", secrets.token_hex(6), *map(str, ports)])
        try:
            with self.store.locked("pods", pod_id):
                return self._create(pod_id, ports, spec, tag)
        finally:
            if not self.store.folder("pods", pod_id).exists():
                _ports.release(self.store, ports)

    def _create(self, pod_id: str, ports: list[int], spec: ComputeSpec, tag: Tag) -> Record:
        folder = self.store.folder("pods", pod_id)
        working_dir = _spawn.working_dir_of(spec, folder)
        record: Record = {
            "id": pod_id,
            "birth": tag.birth,
            "owner": str(tag.owner),
            "spec": spec.model_dump(mode="json"),
            "created_at": time.time(),
            "host_ports": ports,
            "working_dir": str(working_dir),
            "links": _links.plan(working_dir, _links.targets(self.store, spec)),
            "desired": "running",
            "phase": "starting",
            "writer": processes.me().as_json(),
            "process": None,
            "run": 1,
        }
        try:
            if not spec.working_dir:
                files.make_private_folder(folder)
                files.make_private_folder(working_dir)
            self._write_with_volumes(record, spec)
            failpoints.reach("create.3")
            self._launch(record, spec, failpoint="create.4")
        except BaseException:
            with contextlib.suppress(AtlasError):
                _ending.kill_now(record, folder)
            self.remove(record)
            raise
        return record

    # -- starting ------------------------------------------------------------------------------------------------------

    def start(self, record: Record) -> Record:
        """Start a pod of which no process is left, with the spec in its record. Raises Conflict when it cannot."""
        spec = ComputeSpec.model_validate(record["spec"])
        for port, host in zip(spec.ports, record["host_ports"], strict=True):
            if not _ports.is_free(host):
                raise Conflict(
                    f"port {host} of this computer (port {port.number} of the pod) is taken by another program",
                    hint=f"see who listens on port {host}, end it, and start the pod again",
                )
        try:
            self.check(spec, old=record)
        except InvalidSpec as error:
            raise Conflict(f"the pod cannot start: {error.message}", hint="mend that and start it again") from error
        working_dir = _spawn.working_dir_of(spec, self.folder(record))
        new = record | {
            "working_dir": str(working_dir),
            "links": _links.plan(working_dir, _links.targets(self.store, spec), record["links"]),
            "desired": "running",
            "phase": "starting",
            "writer": processes.me().as_json(),
            "process": None,
            "run": record["run"] + 1,
        }
        kept = {(note["path"], note["target"]) for note in new["links"]}
        self._unlink(record, [note for note in record["links"] if (note["path"], note["target"]) not in kept])
        if not spec.working_dir:
            files.make_private_folder(working_dir)
        self._write_with_volumes(new, spec)
        try:
            self._launch(new, spec)
        except BaseException:
            with contextlib.suppress(AtlasError):
                _ending.kill_now(new, self.folder(new))
            raise
        _forget_run(self.folder(new), record["run"])
        return new

    def _launch(self, record: Record, spec: ComputeSpec, *, failpoint: str = "") -> None:
        folder = self.folder(record)
        _links.link(record["links"])
        env = environment_for(
            os.environ,
            spec,
            root=str(self.store.root),
            pod_id=record["id"],
            birth=record["birth"],
            host_ports=record["host_ports"],
            volumes=json.dumps(_links.targets(self.store, spec)),
        )
        assert spec.command is not None  # `check` refuses a spec without one
        executable = _spawn.find_executable(spec.command[0], env, Path(record["working_dir"]))
        if isinstance(executable, Failure):
            raise InvalidSpec([executable])
        _spawn.spawn(record, folder, executable=executable, env=env)
        if failpoint:
            failpoints.reach(failpoint)
        shim = _sight.shim_of(record, folder)
        if shim is None:
            raise ProviderFailure("the process above the command left no trace", hint="check that the disk has room")
        record |= {"phase": "started", "process": shim.as_json()}
        self.store.write("pods", record["id"], record)

    def _write_with_volumes(self, record: Record, spec: ComputeSpec) -> None:
        """Write the record while none of its volumes can be deleted, and no pod takes a shared link away."""
        with contextlib.ExitStack() as held:
            for volume in sorted(set(spec.volumes.values())):
                held.enter_context(self.store.locked("volumes", volume))
            if missing := self._missing_volumes(spec):
                raise InvalidSpec(missing)
            held.enter_context(self._sharing(record))
            self.store.write("pods", record["id"], record)

    # -- changing and removing -----------------------------------------------------------------------------------------

    def note(self, record: Record, **changes: Any) -> Record:
        """Write the record with changes."""
        new = record | changes
        self.store.write("pods", record["id"], new)
        return new

    def change_spec(self, record: Record, spec: ComputeSpec, *, restarting: bool) -> Record:
        """Write the new spec; it rules from the next start on. Raises InvalidSpec, or Conflict for other ports."""
        if list(spec.ports) != list(ComputeSpec.model_validate(record["spec"]).ports):
            raise Conflict("the ports of a local pod cannot be changed", hint="replace the pod")
        self.check(spec, old=record)
        new = record | {"spec": spec.model_dump(mode="json")}
        if restarting:
            new |= {"phase": "restarting", "writer": processes.me().as_json()}
        self._write_with_volumes(new, spec)
        return new

    def remove(self, record: Record) -> None:
        """Remove a pod of which no process is left: its links, its record, its folder, its ports."""
        with self._sharing(record):
            self._unlink(record, record["links"], sharing_held=True)
            self.store.remove("pods", record["id"])

    def remove_if_over(self, record: Record, sight: Sight | None = None) -> bool:
        """Remove a pod that ended with `on_exit="terminate"`; False when it is not over. One in other hands counts as gone."""
        sight = sight or _sight.look(record, self.folder(record))
        if not is_over(record, status_of(record, sight)[0], sight):
            return False
        with contextlib.suppress(AtlasError), self.store.locked("pods", record["id"], timeout_s=0):
            if self.store.read("pods", record["id"]) == record:
                _ending.kill_now(record, self.folder(record))
                self.remove(record)
        return True

    def _unlink(self, record: Record, notes: list[Record], *, sharing_held: bool = False) -> None:
        if not notes:
            return
        with contextlib.nullcontext() if sharing_held else self._sharing(record):
            others: list[str] = []
            if self._shares(record):
                pods = self.store.all("pods")
                others = [note["path"] for pod in pods if pod["id"] != record["id"] for note in pod["links"]]
            _links.unlink(notes, used_by_others=others)

    def _shares(self, record: Record) -> bool:
        """Whether its links lie in a folder that other pods may use as well."""
        return any(not Path(note["path"]).is_relative_to(self.folder(record)) for note in record["links"])

    @contextlib.contextmanager
    def _sharing(self, record: Record) -> Iterator[None]:
        with self.store.locked("pods", None) if self._shares(record) else contextlib.nullcontext():
            yield


def _forget_run(folder: Path, run: int) -> None:
    for name in (f"claim-{run}.json", f".exit-{run}.tmp"):
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)

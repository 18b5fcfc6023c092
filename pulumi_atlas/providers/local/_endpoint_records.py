"""Endpoints on disk and as processes: made, changed, looked at and removed. All methods block."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi_atlas import processes
from pulumi_atlas.errors import NotFound, ProviderFailure, TransportError
from pulumi_atlas.failpoints import reach
from pulumi_atlas.ids import EndpointId, Tag
from pulumi_atlas.models import EndpointSpec
from pulumi_atlas.models.endpoint import EndpointStatus
from pulumi_atlas.processes import ProcessIdentity
from pulumi_atlas.providers.local import _endpoint_process as process
from pulumi_atlas.providers.local import _ports
from pulumi_atlas.providers.local._endpoint_spec import settings_for
from pulumi_atlas.providers.local._store import Store

__all__ = ["EndpointRecords", "Look"]

_SETTLE_S = 5.0
_STARTING_S = 30.0
_LOCK_S = 90.0


@dataclass(frozen=True)
class Look:
    """What is seen of an endpoint now."""

    status: EndpointStatus
    reason: str
    raw: dict[str, Any]


class EndpointRecords:
    """The endpoints below one provider's folder.

    A record is written before the supervisor is started, and the supervisor names itself in the endpoint's folder; so a
    creator that is killed at any moment leaves an endpoint that can be found, told about, and removed.
    """

    def __init__(self, store: Store, root: Path) -> None:
        self._store = store
        self._root = root

    def read(self, endpoint_id: str) -> dict[str, Any]:
        """The record. Raises NotFound."""
        record = self._store.read("endpoints", endpoint_id)
        if record is None:
            raise NotFound(f"there is no endpoint {endpoint_id}", provider="local")
        return record

    def serving(self, endpoint_id: str) -> dict[str, Any]:
        """The record of an endpoint whose supervisor lives, so that its key goes to nobody else who took the port.

        Raises NotFound, and TransportError when it is dead."""
        record = self.read(endpoint_id)
        if process.find(record, self._folder(record)) is None:
            raise TransportError(
                f"the supervisor of endpoint {endpoint_id} does not run",
                provider="local",
                hint="update the endpoint to start it again; what waits in its queue is kept",
            )
        return record

    def all(self) -> list[dict[str, Any]]:
        """All records. Sweeps up what killed creators have left."""
        self._store.sweep("endpoints")
        return self._store.all("endpoints")

    def create(self, given_up: threading.Event, spec: EndpointSpec, tag: Tag) -> dict[str, Any]:
        """Make the endpoint and start its supervisor; when that fails nothing is left."""
        port = _ports.reserve(self._store, 1)[0]
        record = _new_record(port, spec, tag)
        endpoint_id = record["id"]
        folder = self._folder(record)
        with self._store.locked("endpoints", endpoint_id):
            try:
                process.check_worker(spec, settings_for(spec, record, folder), "create_endpoint")
                self._store.write("endpoints", endpoint_id, record)
            except BaseException:
                self._store.remove("endpoints", endpoint_id)
                raise
            reach("create.3")
            try:
                return self._start(given_up, spec, record, _SETTLE_S if spec.workers.min else 0.0)
            except BaseException:
                process.end(record, folder, cancel=True, grace_s=1.0)
                self._store.remove("endpoints", endpoint_id)
                raise

    def update(
        self, given_up: threading.Event, endpoint_id: EndpointId, spec: EndpointSpec, restart: bool
    ) -> dict[str, Any]:
        """Write the new spec, and tell the supervisor or start it anew on the same port with the same key."""
        with self._store.locked("endpoints", endpoint_id, timeout_s=_LOCK_S):
            record = self.read(endpoint_id)
            folder = self._folder(record)
            settings = settings_for(spec, record, folder)
            process.check_worker(spec, settings, "update_endpoint")
            record["spec"] = spec.model_dump(mode="json")
            self._store.write("endpoints", endpoint_id, record)
            if not restart and process.find(record, folder) is not None:
                settings.save(folder)
                with contextlib.suppress(OSError):
                    process.ask(record, "reload", {})
                    return record
            process.end(record, folder, cancel=False, grace_s=settings.options.stop_grace_s + 3.0)
            return self._start(given_up, spec, record, 0.0)

    def delete(self, endpoint_id: EndpointId) -> None:
        """End all processes, then remove the folder. Raises NotFound, and ProviderFailure when a process stays."""
        self.read(endpoint_id)
        with self._store.locked("endpoints", endpoint_id, timeout_s=_LOCK_S):
            record = self.read(endpoint_id)
            process.end(record, self._folder(record), cancel=True, grace_s=4.0)
            self._store.remove("endpoints", endpoint_id)

    def look(self, record: Mapping[str, Any]) -> Look:
        """Status and reason now, from the process and from what it says of itself."""
        folder = self._folder(record)
        supervisor = process.find(record, folder)
        raw = {"port": record["port"], "folder": str(folder), "pid": supervisor.pid if supervisor else None}
        if supervisor is None:
            return _without_process(record, folder, raw)
        try:
            state = process.ask(record, "state")
        except OSError as error:
            age = (datetime.now(UTC) - datetime.fromisoformat(record["created_at"])).total_seconds()
            if age < _STARTING_S:
                return Look("starting", "", raw)
            return Look("failed", f"its supervisor (pid {supervisor.pid}) does not answer: {error}", raw)
        return Look("failed" if state["status"] == "failed" else "ready", str(state["reason"]), raw)

    def _folder(self, record: Mapping[str, Any]) -> Path:
        return self._store.folder("endpoints", record["id"])

    def _start(
        self, given_up: threading.Event, spec: EndpointSpec, record: dict[str, Any], settle_s: float
    ) -> dict[str, Any]:
        """Spawn the supervisor and wait until it answers. Raises ProviderFailure when it, or its first worker, died."""
        folder = self._folder(record)
        identity = process.start(settings_for(spec, record, folder), folder, self._root)
        reach("create.4")
        record["process"] = identity.as_json()
        self._store.write("endpoints", record["id"], record)
        state = process.await_serving(record, folder, settle_s=settle_s, given_up=given_up)
        if settle_s and state["failures"] and not state["serves"]:
            raise ProviderFailure(
                f"the endpoint's first worker did not start: {state['last_failure']}",
                provider="local",
                hint="run the worker's command by hand in working_dir to see why",
            )
        return record


def _new_record(port: int, spec: EndpointSpec, tag: Tag) -> dict[str, Any]:
    return {
        "id": f"ep-{secrets.token_hex(6)}-{port}",
        "port": port,
        "key": secrets.token_urlsafe(32),
        "control_key": secrets.token_urlsafe(32),
        "birth": tag.birth,
        "owner": str(tag.owner),
        "spec": spec.model_dump(mode="json"),
        "created_at": datetime.now(UTC).isoformat(),
        "writer": processes.me().as_json(),
        "process": None,
    }


def _without_process(record: Mapping[str, Any], folder: Path, raw: dict[str, Any]) -> Look:
    if record["process"] is None and ProcessIdentity.from_json(record["writer"]).is_alive():
        return Look("starting", "", raw)
    if record["process"] is None:
        return Look("failed", "its creation was interrupted before its supervisor served", raw)
    words = process.tail(folder / "supervisor.log", lines=1)
    return Look("failed", "its supervisor has ended" + (f"; its log ends: {words}" if words else ""), raw)

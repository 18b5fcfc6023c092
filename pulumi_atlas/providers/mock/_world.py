"""The world behind the mock provider, in the hands of a test: change it behind the provider's back, and make it fail."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pulumi_atlas.access import Access
from pulumi_atlas.errors import ConfigError, Kind
from pulumi_atlas.ids import Tag
from pulumi_atlas.models import (
    Compute,
    ComputeSpec,
    ComputeStatus,
    Job,
    JobStatus,
    ObservedEndpoint,
    ObservedVolume,
)
from pulumi_atlas.providers.mock import _endpoints, _faults, _jobs, _pods, _volumes
from pulumi_atlas.providers.mock._state import PROVIDER, TABLES, Row, Settings, State
from pulumi_atlas.providers.mock._store import FileStore, MemoryStore, Store

__all__ = ["FILE_VARIABLE", "PROVISION_VARIABLE", "Call", "World"]

FILE_VARIABLE = "ATLAS_MOCK_FILE"
PROVISION_VARIABLE = "ATLAS_MOCK_PROVISION_S"

_registry: dict[str, World] = {}
_registry_lock = threading.Lock()


@dataclass(frozen=True)
class Call:
    """One call that a provider answered, or failed: its operation, account and arguments. Values of `env` are masked."""

    operation: str
    account: str
    arguments: Mapping[str, Any]


class World:
    """One mock cloud with all its accounts. `World.open()` is the one that `MockProvider` uses in this process.

    All changes are seen at once by every provider on the same world, in other processes too when it is in a file.
    Mappings such as `pods` are snapshots, over all accounts.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def open(cls, file: str | os.PathLike[str] | None = None) -> World:
        """The world in `file`, or this process's own; the same object each time.

        The file, its lock (`.lock`) and its recorded calls (`.calls`) are made when they are needed. Raises
        ProviderFailure when the folder cannot be made.
        """
        key = str(Path(file).expanduser().absolute()) if file is not None else ""
        with _registry_lock:
            if key not in _registry:
                _registry[key] = cls(FileStore(Path(key)) if key else MemoryStore("0"))
            return _registry[key]

    @classmethod
    def fresh(cls, seed: str = "0") -> World:
        """A new world in memory, apart from all others: give it to `MockProvider(access, world=...)`."""
        return cls(MemoryStore(seed))

    @classmethod
    def of(cls, access: Access) -> World:
        """The world that an access reaches: that of its `file` setting or of ATLAS_MOCK_FILE, else this process's own."""
        return cls.open(access.settings.get("file") or access.environ.get(FILE_VARIABLE) or None)

    @property
    def store(self) -> Store:
        """Where the world is kept."""
        return self._store

    # --- what is there -------------------------------------------------------------------------------------------

    @property
    def pods(self) -> dict[str, Compute]:
        """All pods by id, terminated ones that are still shown included."""

        def act(state: State, now: float) -> dict[str, Compute]:
            rows = state.tables["pods"].items()
            return {i: _pods.observe(state, i, r, now) for i, r in rows if r["gone_at"] is None or r["gone_at"] > now}

        return self._store.read(act)

    @property
    def volumes(self) -> dict[str, ObservedVolume]:
        """All volumes by id."""
        return self._store.read(lambda s, now: {i: _volumes.observe(s, i, r, now) for i, r in s.rows("volumes")})

    @property
    def endpoints(self) -> dict[str, ObservedEndpoint]:
        """All endpoints by id."""
        return self._store.read(lambda s, now: {i: _endpoints.observe(s, i, r, now) for i, r in s.rows("endpoints")})

    @property
    def jobs(self) -> dict[str, Job]:
        """All jobs by id, expired ones left out."""

        def act(state: State, now: float) -> dict[str, Job]:
            settled = {ident: _jobs.settled(row, now) for ident, row in state.rows("jobs")}
            return {ident: _jobs.observe(ident, row) for ident, row in settled.items() if row is not None}

        return self._store.read(act)

    def calls(self, operation: str | None = None) -> list[Call]:
        """The calls so far, oldest first; of one operation when it is given."""
        rows = (Call(row["operation"], row["account"], row["arguments"]) for row in self._store.calls())
        return [call for call in rows if operation is None or call.operation == operation]

    def clear_calls(self) -> None:
        """Forget the calls so far."""
        self._store.clear_calls()

    def record(self, operation: str, account: str, arguments: Mapping[str, Any]) -> None:
        """Note one call. The provider does this by itself."""
        self._store.record({"operation": operation, "account": account, "arguments": dict(arguments)})

    # --- behind the provider's back ------------------------------------------------------------------------------

    def plant(self, spec: ComputeSpec, *, tag: Tag | None = None, account: str = "default") -> Compute:
        """A pod that nobody asked this provider for: a stranger's without a `tag`. Runs at once."""

        def act(state: State, now: float) -> Compute:
            ident, row = _pods.create(state, now, spec, tag, f"{PROVIDER}:{account}", 0.0)
            return _pods.observe(state, ident, row, now)

        return self._store.write(act)

    def set_status(self, pod_id: str, status: ComputeStatus, *, exit_code: int | None = None, reason: str = "") -> None:
        """Let a pod have that status, whatever it was; `provisioning` lasts until the next `set_status` or restart."""
        self._change_pod(pod_id, lambda row, now: _pods.force(row, now, status, exit_code, reason))

    def finish(self, pod_id: str, exit_code: int = 0) -> None:
        """Let the pod's command end by itself; what follows is the pod's `on_exit`."""
        self._change_pod(pod_id, lambda row, now: _pods.end(row, now, exit_code))

    def reclaim(self, pod_id: str) -> None:
        """Take a spot machine back, as a cloud does without asking."""
        self.set_status(pod_id, "terminated", reason="the spot machine was reclaimed")

    def change(self, pod_id: str, **properties: Any) -> None:
        """Change fields of a pod's spec as somebody would in the vendor's console. Raises ValidationError of pydantic."""

        def edit(row: Row, now: float) -> Row:
            spec = ComputeSpec.model_validate({**row["spec"], **properties})
            return {**row, "spec": spec.model_dump(mode="json", exclude_defaults=True)}

        self._change_pod(pod_id, edit)

    def remove(self, ident: str) -> None:
        """Let a pod, volume, endpoint or job vanish without a trace. Raises NotFound when there is none of that id."""

        def act(state: State, now: float) -> None:
            tables = [table for table in TABLES if ident in state.tables[table]]
            if not tables:
                state.row("pods", ident)
            for table in tables:
                state.drop(table, ident)

        self._store.write(act)

    def log(self, pod_id: str, *lines: str) -> None:
        """Let the pod's command print these lines."""

        def act(state: State, now: float) -> None:
            row = state.row("logs", pod_id)
            state.put("logs", pod_id, {**row, "lines": [*row["lines"], *lines]})

        self._store.write(act)

    def finish_job(self, job_id: str, *, status: JobStatus = "completed", output: Any = None, error: Any = None) -> Job:
        """End a job. Without an output a completed one answers with the chunks given so far, or ``{"echo": input}``."""

        def act(state: State, now: float) -> Job:
            row = state.row("jobs", job_id)
            return _jobs.observe(
                job_id, _jobs.finish(state, now, job_id, row, status=status, output=output, error=error)
            )

        return self._store.write(act)

    def emit(self, job_id: str, chunk: Any) -> None:
        """Let the job's worker yield a chunk."""
        self._store.write(lambda state, now: _jobs.emit(state, now, job_id, state.row("jobs", job_id), chunk))

    # --- time ----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The world's time in seconds since the epoch."""
        return self._store.read(lambda state, now: now)

    def advance(self, seconds: float) -> float:
        """Let that much time pass at once; nothing sleeps. Returns the new time."""

        def act(state: State, now: float) -> float:
            state.settings.ahead_s += seconds
            state.changed = True
            return now + seconds

        return self._store.write(act)

    def freeze(self, at: float = 1_767_225_600.0) -> None:
        """Stop the world's clock at a time (by default 2026-01-01 00:00 UTC), so that only `advance` moves it."""
        self.configure(frozen_at=float(at), ahead_s=0.0)

    # --- how it behaves ------------------------------------------------------------------------------------------

    def configure(self, **settings: Any) -> None:
        """Set how the world behaves. Raises ConfigError for an unknown setting.

        `provision_s`: seconds from create or start to running (before ATLAS_MOCK_PROVISION_S); `terminate_lag_s`: seconds
        for which a terminated pod is still shown; `listing_lag_s`: seconds before a new pod is listed; `capacity`: cards
        by GPU (`cpu`: pods without one), unlimited where not given; `prices`: dollars per hour and card by GPU;
        `jobs_advance`: False keeps jobs as they are until `finish_job`; `listing_complete`: False when a listing is to say
        that a part did not answer; `hidden`: ids that listings leave out.
        """
        names = {f.name for f in fields(Settings)}
        unknown = sorted(set(settings) - names)
        if unknown:
            raise ConfigError(
                f"a mock world has no setting '{unknown[0]}'",
                provider=PROVIDER,
                hint=f"known: {', '.join(sorted(names))}",
            )

        def act(state: State, now: float) -> None:
            for name, value in settings.items():
                setattr(state.settings, name, value)
            state.changed = True

        self._store.write(act)

    def switch_account(self, account: str | None) -> None:
        """Let every key reach that account, as a wrong key does: another identity, and "not found" for all that was
        made in others. None ends it."""
        self.configure(account=account)

    def fail_next(
        self,
        operation: str,
        kind: Kind | None = None,
        *,
        times: int | None = 1,
        after_effect: bool = False,
        message: str | None = None,
        retry_after: float | None = None,
        on: str | None = None,
    ) -> None:
        """Let the next `times` calls of an operation fail (`"*"`: of any; `times=None`: for ever, until `clear_faults`).

        `operation` is the name of a provider method. With `after_effect` the effect happens and then the answer is lost.
        Without a `kind` it is a lost answer: `unknown_outcome` for a write, `transport` for a read. `on` limits it to calls
        that have this value, say a pod's id, among their arguments. Raises ConfigError for unknown names.
        """
        fault = _faults.make(
            operation,
            kind,
            times=times,
            after_effect=after_effect,
            message=message,
            retry_after=retry_after,
            on=on,
        )

        def act(state: State, now: float) -> None:
            state.faults.append(fault)
            state.changed = True

        self._store.write(act)

    def clear_faults(self) -> None:
        """Take back all faults that have not happened."""

        def act(state: State, now: float) -> None:
            state.faults.clear()
            state.changed = True

        self._store.write(act)

    @contextmanager
    def outage(self, kind: Kind = "transport") -> Iterator[None]:
        """Within it nothing is reachable: every operation fails before it has an effect."""
        self.fail_next(_faults.ANY, kind, times=None, message="injected: the mock cloud is out")
        try:
            yield
        finally:
            self.clear_faults()

    def reset(self) -> None:
        """Empty the world: no things, faults, settings or calls, and ids count from one again."""

        def act(state: State, now: float) -> None:
            fresh = State(state.seed)
            state.counter, state.settings, state.faults = fresh.counter, fresh.settings, fresh.faults
            state.tables = fresh.tables
            state.changed = True

        self._store.write(act)
        self._store.clear_calls()

    def _change_pod(self, pod_id: str, edit: Any) -> None:
        def act(state: State, now: float) -> None:
            state.put("pods", pod_id, edit(_pods.alive(state, pod_id, None, now), now))

        self._store.write(act)

"""What the author of a provider tells the suite: how to make one, what is valid there, and how to reach behind it."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, TypeVar

import pytest

from pulumi_atlas.models import ComputeSpec, EndpointSpec, Job, VolumeSpec

__all__ = ["Behaviour", "Harness"]

T = TypeVar("T")

#: What an endpoint's worker does with ``job["input"]``: `echo` returns ``{"echo": input}``; `stream` yields each element
#: of ``input["chunks"]``; `fail` raises an error that says ``input["why"]``; `slow` works until it is cancelled.
Behaviour = Literal["echo", "stream", "fail", "slow"]


class Harness:
    """One provider under test, in a world of its own. Made anew for each test, with a temporary folder.

    `provider` and `spec` are required. Every other method may be left out: the tests that need it are then skipped with
    a sentence. The methods below "behind the provider's back" must not use the instance under test, so that a provider
    that lies to itself is found out.

    `name`: the provider's name. `patience_s`: seconds within which a wait must come true. `key`: the key that the
    provider was given, which must never show anywhere. `missing_id`: an id of the right form that stands for nothing.
    """

    name: ClassVar[str]
    patience_s: ClassVar[float] = 30.0
    key: ClassVar[str | None] = None
    missing_id: ClassVar[str] = "no-such-thing"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # ---- required

    def provider(self) -> Any:
        """A new instance on the same account and world each time, as another process would have one."""
        raise NotImplementedError(f"{type(self).__name__}.provider says how to make the provider")

    def spec(self, **fields: Any) -> ComputeSpec:
        """The smallest valid spec of a pod that runs until it is stopped, with `fields` set besides."""
        raise NotImplementedError(f"{type(self).__name__}.spec gives a minimal valid spec")

    # ---- other specs

    def ending_spec(self, code: int, lines: Sequence[str] = ()) -> ComputeSpec:
        """A pod whose command prints the lines and then ends by itself with that code."""
        self._skip("has no command that ends by itself")

    def volume_spec(self, **fields: Any) -> VolumeSpec:
        """A minimal valid volume."""
        return VolumeSpec(**{"size_gb": 1, **fields})

    def endpoint_spec(self, behaviour: Behaviour) -> EndpointSpec:
        """An endpoint whose workers behave so."""
        self._skip(f"has no endpoint that can {behaviour}")

    def changed(self, field: str) -> Any:
        """Another valid value for a field of `spec()`, at least for each field in the provider's table of changes."""
        values = {
            "env": {"CHANGED": "1"},
            "name": "renamed",
            "max_lifetime_s": 86_000.0,
            "on_exit": "stop",
            "ports": ("8199/http",),
            "working_dir": str(self.folder),
            "container_disk_gb": 50,
            "volume_gb": 50,
            "spot": True,
        }
        return values.get(field)

    # ---- helping a cloud whose machines do nothing by themselves

    def talk(self, pod_id: str, lines: Sequence[str]) -> None:
        """Called after a pod of `ending_spec` was created, for a cloud where commands do not really run."""

    def work(self, behaviour: Behaviour, job: Job, given: Any) -> None:
        """Called after a job was queued, for a cloud where workers do not really run."""

    async def pause(self, seconds: float) -> None:
        """Let time pass while something is waited for."""
        await asyncio.sleep(seconds)

    # ---- behind the provider's back

    def kill(self, pod_id: str) -> None:
        """Let the pod's command die, as by a crash of the machine."""
        self._skip("cannot kill a pod behind its back")

    def remove(self, pod_id: str) -> None:
        """Let the pod vanish, as deleted in the vendor's console."""
        self._skip("cannot remove a pod behind its back")

    def stop(self, pod_id: str) -> None:
        """Stop the pod, as in the vendor's console."""
        self._skip("cannot stop a pod behind its back")

    def exists(self, pod_id: str) -> bool:
        """Whether the pod is really there and may cost money."""
        self._skip("cannot tell behind its back what exists")

    def make_foreign(self) -> str:
        """A pod in the same account that belongs to somebody else, by its id. The harness removes it in `close`."""
        self._skip("cannot make a stranger's pod")

    def unreachable(self) -> AbstractContextManager[None]:
        """Within it, nothing of the provider answers."""
        self._skip("cannot be made unreachable")

    def lost_answer(self) -> AbstractContextManager[None]:
        """Within it, the next create has its effect and then its answer is lost."""
        self._skip("cannot lose the answer to a create")

    def other_account(self) -> Any:
        """A provider of the same kind in another account."""
        self._skip("has no second account")

    def close(self) -> None:
        """End everything that the harness itself has made. Called once, also after a failure."""

    def do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function on a thread and loop of its own: for methods behind the provider's back."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(lambda: asyncio.run(work())).result()

    def _skip(self, what: str) -> NoReturn:
        pytest.skip(f"{self.name} {what}")

    # ---- for the suite

    def examples(self, table: Mapping[str, str]) -> dict[str, Any]:
        """For each field of a table of changes, another valid value. Fails the test where the harness gives none."""
        values = {field: self.changed(field) for field, change in table.items() if change != "replace"}
        lacking = sorted(field for field, value in values.items() if value is None)
        if lacking:
            pytest.fail(f"{type(self).__name__}.changed gives no other value for {', '.join(lacking)}")
        return values

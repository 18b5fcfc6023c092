"""`python -m benchmarks.parts.culling PLAN`: a companion whose sessions become idle one after another, and how late each is ended.

The plan is JSON. It prints the companion's ready line, and at its end leaves a `Culled` as JSON in its folder. The companion
is that of `atlas runtime serve`, with two ears: one where the store has answered that `terminating` is durable, one where the
provider is asked to terminate. Whoever touches a session sets its deadline: `idle_ttl_s` later.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.parts.filled import fill, ready_session
from pulumi_atlas.client.core import Core
from pulumi_atlas.ids import Owner, PodId, Tag, new_birth
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.runtime import serve as served
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import BirthNote
from pulumi_atlas.runtime.store.sqlite import SqliteStore

__all__ = ["RESULT", "Culled", "Plan"]

RESULT = "culled.json"


@dataclass(frozen=True)
class Plan:
    """`ending` sessions that end when nobody touches them for `idle_ttl_s`, warned of `warn_before_s` before, and `staying`
    others that have longer. Their numbers follow each other; see `filled.ready_session` for their tokens."""

    folder: str
    ending: int
    staying: int
    idle_ttl_s: float
    warn_before_s: float


@dataclass
class Culled:
    """Seconds from each deadline until `terminating` was durable, and until the provider was asked."""

    durable: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)


class _Ears:
    """What is heard. `ends`: the deadline of each session that ended, by its pod's id."""

    def __init__(self, plan: Plan, pods: Mapping[str, str]) -> None:
        self._plan, self._pods = plan, pods
        self._ends: dict[str, float] = {}
        self.culled = Culled()

    def durable(self, session_id: str, active_at: float) -> None:
        end = self._ends[self._pods[session_id]] = active_at + self._plan.idle_ttl_s
        self.culled.durable.append(time.time() - end)

    def asked(self, pod_id: str) -> None:
        self.culled.asked.append(time.time() - self._ends[pod_id])
        if len(self.culled.asked) == self._plan.ending:
            asyncio.get_running_loop().call_later(1.0, os.kill, os.getpid(), signal.SIGTERM)


def _store(path: Path, ears: _Ears) -> SqliteStore:
    class Heard(SqliteStore):
        async def change(
            self,
            session_id: str,
            version: int,
            changes: Mapping[str, Any],
            events: Sequence[Any] = (),
            births: Sequence[BirthNote] = (),
        ) -> Any:
            done = await super().change(session_id, version, changes, events, births)
            if changes.get("state") == "terminating":
                ears.durable(session_id, changes["active_at"])
            return done

    return Heard(path)


def _hear_terminate(ears: _Ears) -> None:
    terminate = MockProvider.terminate

    async def heard(self: MockProvider, pod_id: PodId) -> None:
        ears.asked(pod_id)
        await terminate(self, pod_id)

    MockProvider.terminate = heard  # type: ignore[method-assign]


def main(plan: Plan) -> None:
    """Fill, serve, and tell."""
    path = Path(plan.folder) / "store" / "sessions.db"
    ears = _Ears(plan, _filled(plan, path))
    _hear_terminate(ears)
    served.open_store = lambda url: _store(path, ears)  # type: ignore[assignment]
    settings = RuntimeSettings(
        max_kills_per_minute=0, public_url="https://companion.example", hosts=("127.0.0.1",), grace_s=600
    )
    environ = {"ATLAS_STATE_DIR": str(Path(plan.folder) / "state"), "HOME": plan.folder}
    served.serve(
        "127.0.0.1:0", f"sqlite:///{path}", "bench", settings,
        core=lambda: Core(environ=environ, cwd=Path(plan.folder)), say=lambda line: print(line, flush=True),
    )  # fmt: skip
    (Path(plan.folder) / RESULT).write_text(json.dumps(asdict(ears.culled)))


def _filled(plan: Plan, path: Path) -> dict[str, str]:
    """A store of sessions whose pods are there, as the mock cloud knows them; each session's pod."""
    world, spec, now = World.open(), ComputeSpec(image="example/image:1", command=("serve",)), time.time()
    made = []
    for number in range(plan.ending + plan.staying):
        pod = world.plant(spec, tag=Tag(new_birth(), Owner("deployment", "bench", f"session/{number}")))
        ends = number < plan.ending
        one = ready_session(
            number, provider="mock", now=now, pod_id=str(pod.id), identity=pod.account or "",
            idle_ttl_s=plan.idle_ttl_s if ends else 3600.0, warn_before_s=plan.warn_before_s,
        )  # fmt: skip
        made.append(replace(one, spec={"provider": "mock"}))
    asyncio.run(fill(path, len(made), made.__getitem__))
    return {one.id: one.pod_id or "" for one in made}


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))

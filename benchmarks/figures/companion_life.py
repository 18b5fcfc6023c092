"""Sessions that are opened, become ready and are closed, beside renting and terminating pods without any session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.parts.companion import SPEC, Api, serving
from benchmarks.project import Bench, MeasurementFailed
from benchmarks.row import Row, against
from pulumi_atlas import AsyncAtlas

__all__ = ["measure"]

_WIDE = 8
_LOCAL: Mapping[str, Any] = {"provider": "local", "command": ["sleep", "3600"]}


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Lives per second, so many at once; each over when the session is `terminated`: its pod is proven to be gone."""
    turns = 1 if quick else 3
    counts = {"mock": 16, "local": 8} if quick else {"mock": 400, "local": 40}
    rows = []
    with serving(bench.folder / "companion") as api:
        for provider, spec in (("mock", SPEC), ("local", _LOCAL)):
            ours, theirs = [], []
            for turn in range(turns + 1):
                rates = _ours(api, spec, counts[provider]), _theirs(bench, spec, counts[provider])
                if turn:  # the first one warms caches
                    ours.append(rates[0])
                    theirs.append(rates[1])
            text = f"spawn_compute until usable, then terminate, on {provider} without a companion, {_WIDE} at once, c={_WIDE}"
            rows.append(against(f"companion_life_{provider}", "sessions/s", ours, text, theirs, None))
    return rows


def _ours(api: Api, spec: Mapping[str, Any], count: int) -> float:
    """Each opened and waited for, closed, and over when it is seen to be."""

    def life(number: int) -> None:
        opened = api.ask("POST", "/v1/sessions?wait=ready&timeout_s=120", {"spec": dict(spec), "owner": f"u{number}"})
        if opened["state"] != "ready":
            raise MeasurementFailed(f"a session became {opened['state']}: {opened['reason']}")
        path = f"/v1/sessions/{opened['id']}"
        state = api.ask("DELETE", path)["state"]
        while state != "terminated":
            time.sleep(0.01)
            state = api.ask("GET", path)["state"]

    began = time.perf_counter()
    with ThreadPoolExecutor(_WIDE) as pool:
        list(pool.map(life, range(count)))
    return count / (time.perf_counter() - began)


def _theirs(bench: Bench, spec: Mapping[str, Any], count: int) -> float:
    folder = bench.folder / "bare"
    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_bare(folder, dict(spec), count))


async def _bare(folder: Path, spec: dict[str, Any], count: int) -> float:
    environ = {"ATLAS_STATE_DIR": str(folder / "state"), "ATLAS_LOCAL_DIR": str(folder / "local"), "HOME": str(folder)}
    async with AsyncAtlas(spec["provider"], environ=environ) as atlas:
        arguments = {name: value for name, value in spec.items() if name != "provider"}

        async def life() -> None:
            pod = await atlas.spawn_compute(wait=True, **arguments)
            await atlas.terminate(pod.id)

        began = time.perf_counter()
        await _at_once(life, count)
        return count / (time.perf_counter() - began)


async def _at_once(work: Callable[[], Awaitable[None]], count: int) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await work()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_WIDE):
            tasks.create_task(worker())

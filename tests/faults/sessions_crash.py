"""The companion is killed at each numbered step, with a fresh one after it: nothing leaked, twice there, early or forgotten."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.faults.sessions_world import Cloud, Served
from tests.faults.world import Broken, wait_until

__all__ = ["STEPS", "CrashTally", "run"]

STEPS = tuple(
    f"session.{verb}.{n}"
    for verb, count in (
        ("create", 5),
        ("flush", 2),
        ("warn", 2),
        ("kill", 4),
        ("pause", 4),
        ("resume", 4),
        ("sweep", 4),
    )
    for n in range(1, count + 1)
)
_COUNTS = ("leaked", "duplicated", "killed_early", "lost", "events_lost", "touches_lost", "failed")
_SETTLED = {"ready", "paused", "terminated", "failed"}
_FINAL = {"terminated", "failed"}

#: What becomes of the session that was hurt, by step; sweeps have none.
_THEN = {
    "create": ("ready",) * 5,
    "flush": ("ready",) * 2,
    "warn": ("ready",) * 2,
    "kill": ("ready", "terminated", "terminated", "terminated"),
    "pause": ("ready", "paused", "paused", "paused"),
    "resume": ("paused", "ready", "ready", "ready"),
    "sweep": ("terminated",) * 4,
}


@dataclass
class CrashTally:
    """What the campaign counted. `holds`: as it must be."""

    campaign: str = "sessions-crash"
    rounds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    cases: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.rounds > 0 and not any(self.counts.values())

    def line(self) -> str:
        counts = {name: self.counts[name] for name in _COUNTS}
        steps = {case.split()[0] for case in self.cases}
        about = {
            "campaign": self.campaign,
            "rounds": self.rounds,
            **counts,
            "steps": len(steps),
            "cases": len(self.cases),
        }
        return json.dumps({**about, "holds": self.holds})

    def note(self, name: str, case: str, found: list[Any]) -> None:
        if found:
            self.counts[name] += len(found)
            self.troubles += [f"{self.campaign} {case}: {name}: {one}" for one in found]
            print(*self.troubles[-len(found) :], sep="\n", file=sys.stderr, flush=True)


def run(rounds: int, *, seed: int = 0, workers: int = 2, folder: Path | None = None) -> CrashTally:
    """So many rounds, each with the next of the steps; the second time with pods on `local`, and ends by idleness."""
    tally, place = CrashTally(), Path(tempfile.mkdtemp(prefix="atlas-sessions-", dir=folder))
    try:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda index: _round(tally, place / str(index), seed + index), range(rounds)))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return tally


def _round(tally: CrashTally, folder: Path, number: int) -> None:
    step, turn = STEPS[number * 7 % len(STEPS)], number // len(STEPS) % 2
    provider = "local" if turn and ".sweep." not in step else "mock"
    case = f"{step} {provider} {'idle' if turn else 'asked'}"
    folder.mkdir()
    one = _Round(tally, case, folder, step, provider, idle=bool(turn))
    try:
        one.play()
    except (Broken, AssertionError, OSError, ValueError, KeyError, httpx.HTTPError) as error:
        log = (folder / "log").read_text()[-1500:] if (folder / "log").exists() else ""
        tally.note("failed", case, [f"{type(error).__name__}: {error} {log}"])
    finally:
        one.close()
        tally.rounds += 1
        tally.cases[case] += 1
        shutil.rmtree(folder, ignore_errors=True)


class _Round:
    def __init__(self, tally: CrashTally, case: str, folder: Path, step: str, provider: str, *, idle: bool) -> None:
        self.tally, self.case, self.folder, self.step, self.idle = tally, case, folder, step, idle
        self.provider, self.cloud = provider, Cloud(provider, folder)
        self.verb, self.number = step.split(".")[1], int(step.split(".")[2])
        self.acknowledged: set[str] = set()
        self.hurt: str | None = None
        self.served: list[Served] = []

    def play(self) -> None:
        first = self._serve(self.step)
        keeper = self._open(first, idle_ttl_s=600)
        first.until(keeper["id"], "ready")
        ended = threading.Event()
        toucher = threading.Thread(target=self._keep_touching, args=(first, keeper, ended), daemon=True)
        toucher.start()
        try:
            wait_until("a touch to be flushed", lambda: first.durable[keeper["id"]])
            act = getattr(self, f"_{self.verb}")(first)
            first.arm()
            asking = threading.Thread(target=self._try, args=(act,), daemon=True)
            asking.start()
            first.kill()
        finally:
            ended.set()
            first.end()
        asking.join()
        toucher.join()
        second = self._serve()
        self._judge(first, second, keeper["id"])
        second.end()

    def close(self) -> None:
        for one in self.served:
            if one.process.poll() is None:
                one.end()
        self.cloud.close()
        self.tally.note("duplicated", self.case, sorted(self.cloud.duplicates))

    def _serve(self, step: str = "") -> Served:
        one = Served(self.folder, self.cloud.environ, step)
        self.served.append(one)
        return one

    def _open(self, served: Served, **fields: Any) -> dict[str, Any]:
        opened = served.open(self.provider, **{"idle_ttl_s": 600, **fields})
        self.acknowledged.add(opened["id"])
        return opened

    def _try(self, act: Callable[[], Any]) -> None:
        """What is asked of a companion that dies over it may get no answer."""
        with contextlib.suppress(httpx.HTTPError, Broken, RuntimeError):
            act()

    @staticmethod
    def _keep_touching(served: Served, session: dict[str, Any], ended: threading.Event) -> None:
        with contextlib.suppress(httpx.HTTPError, RuntimeError):
            while not ended.wait(0.02):
                served.touch(session, time.time())

    # -- how each step is reached: what was prepared, and what then brings it there

    def _create(self, served: Served) -> Callable[[], Any]:
        def act() -> None:
            self.hurt = self._open(served)["id"]

        return act

    def _flush(self, served: Served) -> Callable[[], Any]:
        return lambda: None

    def _warn(self, served: Served) -> Callable[[], Any]:
        def act() -> None:
            self.hurt = self._open(served, idle_ttl_s=3, warn_before_s=1.5)["id"]

        return act

    def _kill(self, served: Served) -> Callable[[], Any]:
        if self.idle:

            def leave() -> None:
                self.hurt = self._open(served, idle_ttl_s=1)["id"]

            return leave
        return self._asked(served, self._ready(served), "DELETE", "")

    def _pause(self, served: Served) -> Callable[[], Any]:
        return self._asked(served, self._ready(served), "POST", "/pause")

    def _resume(self, served: Served) -> Callable[[], Any]:
        ident = self._ready(served)
        served.ask("POST", f"/v1/sessions/{ident}/pause")
        served.until(ident, "paused")
        return self._asked(served, ident, "POST", "/resume")

    def _sweep(self, served: Served) -> Callable[[], Any]:
        ident = self._ready(served)
        pod = next(pod for pod in self.cloud.pods() if pod.owner is not None and pod.owner.path.endswith(ident))
        served.ask("DELETE", f"/v1/sessions/{ident}")
        served.until(ident, "terminated")
        return lambda: self.cloud.plant(pod)

    def _ready(self, served: Served) -> str:
        self.hurt = ident = str(self._open(served)["id"])
        served.until(ident, "ready")
        return ident

    @staticmethod
    def _asked(served: Served, ident: str, method: str, verb: str) -> Callable[[], Any]:
        return lambda: served.ask(method, f"/v1/sessions/{ident}{verb}")

    # -- what is left

    def _judge(self, first: Served, second: Served, keeper: str) -> None:
        rows = self._settled(second)
        self._note("lost", [ident for ident in self.acknowledged if ident not in rows])
        self._note("failed", [f"the keeper is {rows[keeper]['state']}"] if rows[keeper]["state"] != "ready" else [])
        short = first.durable[keeper] - rows[keeper]["touches"]
        self._note("touches_lost", [f"{short} of {first.durable[keeper]}"] if short > 0 else [])
        hurt = self.hurt or next((ident for ident in rows if ident != keeper), None)
        if hurt is not None and self.verb != "flush":
            expected = _THEN[self.verb][self.number - 1]
            state = rows[hurt]["state"]
            self._note("failed", [f"{hurt} is {state}, not {expected}"] if state != expected else [])
        self._wait_for("leaked", lambda: self._unheld(second))
        for ident, row in second.sessions().items():
            if row["state"] not in _FINAL:
                second.ask("DELETE", f"/v1/sessions/{ident}")
        self._wait_for("failed", lambda: [one for one in second.sessions().values() if one["state"] not in _FINAL])
        self._wait_for("leaked", lambda: [f"{pod.id} of {pod.owner}" for pod in self.cloud.pods()])
        self._judge_events(first, second)

    def _settled(self, served: Served) -> dict[str, dict[str, Any]]:
        def settled() -> dict[str, dict[str, Any]] | None:
            rows = served.sessions()
            return rows if all(row["state"] in _SETTLED for row in rows.values()) else None

        rows: dict[str, dict[str, Any]] = wait_until("all sessions to settle", settled, timeout=90)
        return rows

    def _unheld(self, served: Served) -> list[str]:
        held = {row["pod_id"] for row in served.sessions().values() if row["state"] not in _FINAL}
        return [f"{pod.id} of {pod.owner}" for pod in self.cloud.pods() if pod.id not in held]

    def _judge_events(self, first: Served, second: Served) -> None:
        before, after = first.told.events, second.told.events
        self._wait_for("events_lost", lambda: [number for number in before if after.get(number) != before[number]])
        for served in (first, second):
            acknowledged = [(ident, state) for ident, states in served.said.items() for state in states]
            self._wait_for("events_lost", lambda acks=acknowledged: sorted(set(acks) - self._states(second)))
        rows = second.told.data()
        self._note("killed_early", [row for row in rows if self._is_early(row, rows, first)])
        warned = Counter(row["id"] for row in rows if row["_kind"] == "warning")
        self._note("failed", [f"{ident} was warned {count} times" for ident, count in warned.items() if count > 1])

    @staticmethod
    def _states(served: Served) -> set[tuple[str, str]]:
        return {(row["id"], row["state"]) for row in served.told.data() if row["_kind"] == "status"}

    @staticmethod
    def _is_early(row: dict[str, Any], rows: list[dict[str, Any]], first: Served) -> bool:
        if row["_kind"] != "status" or row["cause"] != "idle" or row["state"] not in ("terminating", "pausing"):
            return False
        ident = row["id"]
        began = [
            one["now"] for one in rows if one["_kind"] == "status" and one["id"] == ident and one["state"] == "ready"
        ]
        active = max([first.touched_at.get(ident, 0.0), *began[:1]])
        return bool(row["now"] < active + row["idle_ttl_s"] - 0.01)

    def _note(self, name: str, found: list[Any]) -> None:
        self.tally.note(name, self.case, found)

    def _wait_for(self, name: str, bad: Callable[[], list[Any]]) -> None:
        """What is bad may pass within a while; what is left of it then counts."""
        try:
            wait_until("it to pass", lambda: not bad(), timeout=45)
        except Broken:
            self._note(name, bad())

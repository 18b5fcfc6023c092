"""Touches that one companion takes, beside a handler that does nothing on the same server, and JupyterHub's endpoint for that."""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median

from benchmarks.parts import hub as hubs
from benchmarks.parts.companion import Api, serving
from benchmarks.parts.load import Load, Loaded, post, put_on
from benchmarks.parts.processes import ROOT, Process, running
from benchmarks.project import Bench, MeasurementFailed
from benchmarks.row import Row, against, counted

__all__ = ["measure"]

_BODY = '{"source":"client"}'
_CONNECTIONS = 32
_HOW = f"c={_CONNECTIONS} keep-alive connections, one process each, in turns"


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Requests per second, and CPU time of the server for each, which a busy machine changes less."""
    sessions, turns, seconds = (8, 1, 0.5) if quick else (200, 7, 2.0)
    bench.folder.mkdir(parents=True, exist_ok=True)
    with serving(bench.folder / "companion") as api:
        requests = _touches(api, sessions)
        touch = _Side(api.process, lambda: put_on(Load(api.port, requests, _CONNECTIONS, seconds)))
        size = touch.turn().body_bytes
        command = [sys.executable, "-m", "benchmarks.parts.bare", str(size)]
        with running(command, cwd=ROOT, log=bench.folder / "bare.log") as process:
            port = int(process.first)
            bare = _Side(process, lambda: put_on(Load(port, requests, _CONNECTIONS, seconds)))
            bare.turn()
            for number in range(turns):
                for side in (touch, bare) if number % 2 else (bare, touch):
                    side.turn(counts=True)
        rows = _beside_bare(touch, bare, size)
        rows += _beside_hub(bench, touch, seconds, quick=quick)
    return rows


class _Side:
    """One of the servers. `rates`: answers per second; `cpu_us`: its CPU time for each; `client_us`: the client's."""

    def __init__(self, process: Process, load: Callable[[], Loaded]) -> None:
        self._process, self._load = process, load
        self.rates: list[float] = []
        self.cpu_us: list[float] = []
        self.client_us: list[float] = []

    def turn(self, *, counts: bool = False) -> Loaded:
        before = self._process.cpu_s()
        loaded = self._load()
        if counts:
            self.rates.append(loaded.rate)
            self.cpu_us.append((self._process.cpu_s() - before) / loaded.done * 1e6)
            self.client_us.append(loaded.cpu_us)
        return loaded


def _touches(api: Api, count: int) -> list[str]:
    """A touch of each of so many sessions, by its own token."""
    return [post(f"/v1/sessions/{one['id']}/touch", one["touch_token"], _BODY) for one in api.opened(count)]


def _beside_bare(touch: _Side, bare: _Side, size: int) -> list[Row]:
    text = f"a handler that answers {size} bytes and does nothing, on the same server; {_HOW}"
    client = f"; the client took {median(touch.client_us):.0f} us of CPU time for each"
    return [
        against("companion_touch", "touches/s", touch.rates, text + client, bare.rates, "ratio >= 0.6"),
        against("companion_touch_cpu", "us of CPU", touch.cpu_us, text, bare.cpu_us, "ratio <= 1.667"),
    ]


def _beside_hub(bench: Bench, touch: _Side, seconds: float, *, quick: bool) -> list[Row]:
    """In turns with the companion once more. Without a hub: our figure alone, and why there is no other."""
    name, name_cpu = "companion_touch_jupyterhub", "companion_touch_jupyterhub_cpu"
    try:
        with hubs.served(bench.folder / "hub", users=_CONNECTIONS) as hub:
            requests = hubs.activities(hub, 200 if quick else 20_000)
            theirs = _Side(hub.process, lambda: put_on(Load(hub.port, requests, _CONNECTIONS, seconds)))
            for _ in range(1 if quick else 3):
                theirs.turn(counts=True)
                touch.turn(counts=True)
            text = f"JupyterHub {hub.version}'s activity endpoint, SQLite, no proxy; c={_CONNECTIONS}"
    except MeasurementFailed as error:
        why = f"JupyterHub's activity endpoint: not measured: {error}"
        return [counted(name, "touches/s", median(touch.rates), why, None, None)]
    times = len(theirs.rates)
    return [
        against(name, "touches/s", touch.rates[-times:], text, theirs.rates, "ratio >= 80"),
        against(name_cpu, "us of CPU", touch.cpu_us[-times:], text, theirs.cpu_us, "ratio <= 0.0125"),
    ]

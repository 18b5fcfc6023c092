"""How long after its deadline a session's end is durable and its provider is asked, among 10,000 that end within a minute."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.parts.culling import RESULT, Culled, Plan
from benchmarks.parts.filled import ready_session
from benchmarks.parts.load import Load, begin, ended, post
from benchmarks.parts.processes import ROOT, Process, running
from benchmarks.project import Bench, MeasurementFailed
from benchmarks.row import Row, counted

__all__ = ["measure"]

_READY = re.compile(r"atlas runtime: ready on http://127\.0\.0\.1:(\d+) ")
_STAYING = 1000
_MEANWHILE_PER_S = 100


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Each session is touched once, in even steps; when its idle time is over it has come to its deadline."""
    ending, spread_s, idle_s = (200, 2.0, 4.0) if quick else (10_000, 60.0, 70.0)
    bench.folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(str(bench.folder), ending, _STAYING // (10 if quick else 1), idle_s, idle_s / 4)
    command = [sys.executable, "-m", "benchmarks.parts.culling", json.dumps(asdict(plan))]
    with running(command, cwd=ROOT, log=bench.folder / "log", timeout_s=900) as process:
        culled = _culled(process, plan, spread_s)
    how = (
        f"{ending:,} deadlines within {spread_s:g} s, each session warned before, {_MEANWHILE_PER_S} touches a second "
        "meanwhile, provider mock, the cap on kills switched off"
    )
    return [
        *_rows("companion_cull", culled.durable, f"until `terminating` is durable; {how}", "value <= 250"),
        *_rows("companion_cull_asked", culled.asked, f"until the provider is asked to terminate; {how}", None),
    ]


def _culled(process: Process, plan: Plan, spread_s: float) -> Culled:
    found = _READY.match(process.first)
    if found is None:
        raise MeasurementFailed(f"the companion said {process.first!r}")
    port = int(found[1])
    ending = [_touch(number) for number in range(plan.ending)]
    staying = [_touch(plan.ending + number) for number in range(plan.staying)]
    whole_s = spread_s + plan.idle_ttl_s
    # One round: a session that is touched twice would only end later.
    once = begin(Load(port, ending, 8, spread_s * 1.2 + 1, 0.0, per_s=plan.ending / spread_s, once=True))
    meanwhile = begin(Load(port, staying, 8, whole_s - 1, 0.0, per_s=_MEANWHILE_PER_S))
    ended(once, whole_s + 60)
    ended(meanwhile, whole_s + 60)
    end = time.monotonic() + 120
    while process.popen.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    if process.popen.poll() is None:
        raise MeasurementFailed("not all sessions were ended")
    culled = Culled(**json.loads((Path(plan.folder) / RESULT).read_text()))
    if len(culled.durable) != plan.ending or min(culled.durable) < 0:
        raise MeasurementFailed(f"{len(culled.durable)} of {plan.ending} ended, the first {min(culled.durable):.3f} s")
    return culled


def _touch(number: int) -> str:
    ident = ready_session(number, provider="mock", now=0.0).id
    return post(f"/v1/sessions/{ident}/touch", f"touch-{ident}", '{"source":"client"}')


def _rows(name: str, delays: list[float], text: str, aim: str | None) -> list[Row]:
    delays = sorted(delays)
    p50, p99 = (delays[int(len(delays) * share)] * 1e3 for share in (0.5, 0.99))
    return [counted(f"{name}_p50", "ms", p50, text, None, None), counted(f"{name}_p99", "ms", p99, text, None, aim)]

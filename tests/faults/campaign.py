"""The campaigns: many rounds, each with another step and another victim, and one line of counts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi_atlas.drift import report
from tests.faults import reconciling
from tests.faults.reconciling import DriftWorld, make_drift_template
from tests.faults.world import Broken, World, make_template

__all__ = ["CAMPAIGNS", "Tally", "run"]

TARGETS = ("everything", "engine", "provider")
STEPS = 8


@dataclass
class Tally:
    """What a campaign counted. `holds`: as it must be."""

    campaign: str
    rounds: int = 0
    leaked: int = 0
    duplicated: int = 0
    lost: int = 0
    failed: int = 0
    refused_plain_up: int = 0
    refused_state: int = 0
    steps_by_hand: int = 0
    terminated: int = 0
    cases: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        bad = (self.leaked, self.duplicated, self.lost, self.failed, self.refused_state, self.steps_by_hand)
        return self.rounds > 0 and not any(bad)

    def line(self) -> str:
        names = (
            "campaign",
            "rounds",
            "leaked",
            "duplicated",
            "lost",
            "failed",
            *_COUNTED[self.campaign == "reconcile"],
        )
        return json.dumps(
            {**{name: getattr(self, name) for name in names}, "cases": len(self.cases), "holds": self.holds}
        )


_COUNTED = (("refused_plain_up", "terminated"), ("refused_state", "steps_by_hand"))


Hurt = Callable[[World, int], str]


def kill(world: World, number: int) -> str:
    """SIGKILL at one of the eight steps, of one of three victims; 24 cases in turn, others of the resources each time."""
    step, target = number % STEPS + 1, TARGETS[number % len(TARGETS)]
    world.begin(step, skip=number // 3 % (2 if step in (3, 4) else 4))
    world.kill(target)
    world.let_go()
    world.ended()
    return f"{step} {target}"


def interrupt(world: World, number: int) -> str:
    """SIGINT once or twice at one of the eight steps; the held step goes on at once, or only when the engine has ended."""
    step, times, held = number % STEPS + 1, number % 2 + 1, number // 2 % 2 == 1
    world.begin(step, skip=number // 3 % (2 if step in (3, 4) else 4))
    world.interrupt(times)
    if times == 1 or not held:
        world.let_go()
    world.ended()
    world.let_go()
    return f"{step} {times} {held}"


CAMPAIGNS: dict[str, Hurt] = {
    "kill": kill,
    "interrupt": interrupt,
    "reconcile": reconciling.hurt,
    "quiet": lambda world, number: "nothing is hurt",
}


def run(
    name: str, rounds: int, *, seed: int = 0, workers: int = 2, stride: int = 5, folder: Path | None = None
) -> Tally:
    """Run a campaign. Cases go by `stride`, so that few rounds meet different steps and victims.

    `quiet` is no kill: one untouched stack is looked at again and again, and nothing may be reported.
    """
    tally = Tally(name)
    if name == "quiet":
        return _quiet(tally, rounds, folder)
    place = Path(tempfile.mkdtemp(prefix=f"atlas-{name}-", dir=folder))
    try:
        make, judge = (make_drift_template, _reconciled) if name == "reconcile" else (make_template, _round)
        template = make(place / "template")

        def one(index: int) -> None:
            judge(tally, CAMPAIGNS[name], template, place / str(index), (seed * rounds + index) * stride)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, range(rounds)))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return tally


def _round(tally: Tally, hurt: Hurt, template: Path, folder: Path, number: int) -> None:
    world = World(template, folder)
    case = f"number {number}"
    try:
        case = hurt(world, number)
        plain = world.up()
        tally.refused_plain_up += plain.code != 0
        done = world.recover()
        tally.terminated += done["terminated"]
        _count_declared(tally, world, case, f"{plain.out[-1500:]}\n{done}")
        world.destroy().ok()
        left = list(world.leftovers())
        _note(tally, "leaked", case, left)
    except (Broken, AssertionError, OSError, ValueError, RuntimeError) as error:
        _note(tally, "failed", case, [f"{type(error).__name__}: {error}"])
    finally:
        world.close()
        _note(tally, "duplicated", case, sorted(world.duplicates))
        tally.rounds += 1
        tally.cases[case] += 1
        shutil.rmtree(folder, ignore_errors=True)


def _quiet(tally: Tally, rounds: int, folder: Path | None) -> Tally:
    place = Path(tempfile.mkdtemp(prefix="atlas-quiet-", dir=folder))
    world = DriftWorld(make_drift_template(place / "template"), place / "world")
    try:
        world.up().ok()
        for number in range(rounds):
            found = report(world.folder, world.environ)
            _note(tally, "failed", f"look {number}", [item.as_json() for item in found.items])
            tally.rounds += 1
        world.destroy().ok()
        _note(tally, "leaked", "quiet", list(world.leftovers()))
    finally:
        world.let_go()
        world.close()
        shutil.rmtree(place, ignore_errors=True)
    return tally


def _reconciled(tally: Tally, hurt: Hurt, template: Path, folder: Path, number: int) -> None:
    world = DriftWorld(template, folder)
    case = f"number {number}"
    try:
        case = hurt(world, number)
        done = world.reconcile()
        said = f"exit code {done.returncode}; what it said:\n{done.stderr}\nits final report:\n{done.stdout}"
        _note(tally, "steps_by_hand", case, [said] if done.returncode else [])
        plain = world.up()
        _note(tally, "refused_state", case, [f"{plain.out[-2000:]}\n{said}"] if plain.code else [])
        _count_declared(tally, world, case, said)
        world.destroy().ok()
        _note(tally, "leaked", case, list(world.leftovers()))
    except (Broken, AssertionError, OSError, ValueError, RuntimeError, subprocess.TimeoutExpired) as error:
        _note(tally, "failed", case, [f"{type(error).__name__}: {error}"])
    finally:
        world.close()
        _note(tally, "duplicated", case, sorted(world.duplicates) if not case.startswith("replace") else [])
        tally.rounds += 1
        tally.cases[case] += 1
        shutil.rmtree(folder, ignore_errors=True)


def _count_declared(tally: Tally, world: World, case: str, said: str) -> None:
    """Exactly what is declared is there, the state has the same ids, and no intent is open."""
    resources = world.resources()
    known = {row.get("id") for row in resources.values()}
    for kind, things in world.things().items():
        names = Counter(str(thing.name) for thing in things)
        _note(tally, "duplicated", case, [name for name, count in names.items() if count > 1])
        _note(tally, "leaked", case, [f"{t.name} {t.id} {said}" for t in things if t.id not in known])
        usable = {str(t.name) for t in things if t.id in known and t.status in ("running", "ready")}
        _note(tally, "lost", case, [f"{name} {said}" for name in sorted(world.declared[kind] - usable)])
    _note(tally, "failed", case, [f"open intent {name}" for name in world.open_intents()])


def _note(tally: Tally, name: str, case: str, found: list[Any]) -> None:
    if found:
        setattr(tally, name, getattr(tally, name) + len(found))
        tally.troubles += [f"{tally.campaign} {case}: {name}: {one}" for one in found]
        print(*tally.troubles[-len(found) :], sep="\n", file=sys.stderr, flush=True)

"""`python -m tests.faults`: all campaigns; the last lines are their counts, one line of JSON each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from tests.faults import sessions_crash, sessions_faults
from tests.faults.campaign import CAMPAIGNS, run

#: Those of the companion: a round of `sessions-crash` is one step, one of `sessions-faults` is one operation.
_SESSIONS: dict[str, Callable[..., Any]] = {
    "sessions-crash": sessions_crash.run,
    "sessions-faults": sessions_faults.run,
}
_ROUNDS = {"reconcile": 100, "sessions-faults": 10_000}


def main() -> int:
    names = [*CAMPAIGNS, *_SESSIONS]
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument(
        "--rounds", type=int, help="default: 100 for reconcile, 10000 operations for sessions-faults, 50 for the others"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=sorted(names), action="append")
    options = parser.parse_args()
    tallies = []
    for name in options.only or names:
        rounds = options.rounds or _ROUNDS.get(name, 50)
        print(f"{name}: {rounds} rounds", file=sys.stderr, flush=True)
        tallies.append(_run(name, rounds, options.seed, options.workers))
    for tally in tallies:
        print(tally.line(), flush=True)
    return 0 if all(tally.holds for tally in tallies) else 1


def _run(name: str, rounds: int, seed: int, workers: int) -> Any:
    if name in _SESSIONS:
        return _SESSIONS[name](rounds, seed=seed, workers=workers)
    return run(name, rounds, seed=seed, workers=workers)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.faults`: all campaigns; the last lines are their counts, one line of JSON each."""

from __future__ import annotations

import argparse
import sys

from tests.faults.campaign import CAMPAIGNS, run

_ROUNDS = {"reconcile": 100}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--rounds", type=int, help="default: 100 for reconcile, 50 for the others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=sorted(CAMPAIGNS), action="append")
    options = parser.parse_args()
    tallies = []
    for name in options.only or CAMPAIGNS:
        rounds = options.rounds or _ROUNDS.get(name, 50)
        print(f"{name}: {rounds} rounds", file=sys.stderr, flush=True)
        tallies.append(run(name, rounds, seed=options.seed, workers=options.workers))
    for tally in tallies:
        print(tally.line(), flush=True)
    return 0 if all(tally.holds for tally in tallies) else 1


if __name__ == "__main__":
    sys.exit(main())

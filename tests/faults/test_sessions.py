"""A little of each campaign on the companion; `make faults` runs every step twice, and ten thousand operations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import sessions_crash, sessions_faults

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def test_at_whatever_step_a_companion_is_killed_the_next_one_makes_it_good(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(len(sessions_crash.STEPS) * 2)
    tally = sessions_crash.run(3, seed=seed, folder=tmp_path)
    assert tally.holds, f"seed {seed}\n" + "\n".join(tally.troubles)
    assert (tally.rounds, len(tally.cases)) == (3, 3), "each round is another case"


def test_a_cloud_that_fails_three_calls_of_ten_makes_nothing_double_forgotten_or_early(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    tally = sessions_faults.run(400, seed=seed, folder=tmp_path)
    assert tally.holds, f"seed {seed}\n" + "\n".join(tally.troubles)
    assert tally.operations == 400 and tally.calls_failed > tally.calls / 5


def test_every_numbered_step_of_the_companion_is_in_the_campaign(root: Path) -> None:
    """Its failpoints are in its code, and no other."""
    found = {
        name.split('"')[0]
        for path in (root / "pulumi_atlas" / "runtime").rglob("*.py")
        for name in path.read_text().split('failpoints.reach("')[1:]
    }
    assert {name for name in found if name.startswith("session.")} == set(sessions_crash.STEPS)

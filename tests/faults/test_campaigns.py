"""Five rounds of each campaign; `make faults` runs fifty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import run

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.mark.parametrize("name", ["kill", "interrupt", "reconcile"])
def test_whatever_is_killed_nothing_is_leaked_lost_or_rented_twice(name: str, tmp_path: Path) -> None:
    tally = run(name, 5, folder=tmp_path)
    assert tally.holds, "\n".join(tally.troubles)
    assert len(tally.cases) == 5, "each round is another case"

"""Time that counts as nobody's idleness: gaps join, forgive more rather than less, and stay few."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.rules.sessions.gaps import MOST, lost_s, with_gap, without_future

_times = st.integers(0, 10_000).map(float)
_gaps = st.lists(st.tuples(_times, _times), max_size=200)


@given(_gaps, _times)
def test_a_gap_forgives_at_least_itself_and_few_are_kept(gaps: list[tuple[float, float]], since: float) -> None:
    kept: tuple[tuple[float, float], ...] = ()
    for begin, end in gaps:
        before = kept
        kept = with_gap(kept, begin, end)
        assert lost_s(kept, since) >= lost_s(before, since)
        assert lost_s(kept, begin) >= max(0.0, end - begin)
    assert len(kept) <= MOST
    assert all(a[1] < b[0] for a, b in itertools.pairwise(kept))
    assert all(begin < end for begin, end in kept)


@given(_gaps, _times, _times)
def test_few_gaps_forgive_exactly_what_lies_in_them(gaps: list[tuple[float, float]], since: float, now: float) -> None:
    kept: tuple[tuple[float, float], ...] = ()
    for begin, end in gaps[:MOST]:
        kept = with_gap(kept, begin, end)
    inside = sum(any(b <= second < e for b, e in gaps[:MOST]) for second in range(int(since), 10_000))
    assert lost_s(kept, since) == inside
    assert all(end <= now for _, end in without_future(kept, now))

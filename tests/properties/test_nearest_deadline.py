"""The quick answer to "what ends it first" is the one that the whole list gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.models.session import SessionState
from pulumi_atlas.rules.sessions.lease import Moment, deadlines, judge
from pulumi_atlas.rules.sessions.nearest import first_look, nearest

SPAN = st.floats(0.001, 1e6)
TIME = st.floats(0, 1e6)
STATES = st.sampled_from(["ready", "ready", "ready", *get_args(SessionState)])


@dataclass
class Row:
    state: SessionState
    active_mono: float
    active_at: float
    keep_mono: float | None
    keep_until: float | None
    grace_mono: float | None
    idle_ttl_s: float
    warn_before_s: float
    max_lifetime_s: float | None
    expires_at: float | None
    paused_at: float | None
    paused_ttl_s: float
    budget: float | None
    cost_settled: float
    cost_per_hour: float | None
    cost_since: float | None
    warned: str | None


ROWS = st.builds(
    Row,
    state=STATES,
    active_mono=TIME,
    active_at=TIME,
    keep_mono=st.none() | TIME,
    keep_until=st.none() | TIME,
    grace_mono=st.none() | TIME,
    idle_ttl_s=SPAN,
    warn_before_s=st.just(0.0) | SPAN,
    max_lifetime_s=st.none() | SPAN,
    expires_at=st.none() | TIME,
    paused_at=st.none() | TIME,
    paused_ttl_s=SPAN,
    budget=st.none() | SPAN,
    cost_settled=TIME,
    cost_per_hour=st.none() | TIME,
    cost_since=st.none() | TIME,
    warned=st.none(),
)


@given(ROWS, st.builds(Moment, TIME, TIME))
def test_the_nearest_is_the_first_of_all(row: Row, now: Moment) -> None:
    first = deadlines(row, now)[:1]
    found = nearest(row, now)
    if not first:
        assert found is None
        return
    assert found is not None and found.kind == first[0].kind
    assert found.at == pytest.approx(first[0].at, abs=1e-6)
    if first[0].warn_at is None:
        assert found.warn_at is None
    else:
        assert found.warn_at == pytest.approx(first[0].warn_at, abs=1e-6)


@given(ROWS, st.builds(Moment, TIME, TIME))
def test_the_first_look_is_never_too_late(row: Row, now: Moment) -> None:
    wanted, found = judge(row, now).look_at, first_look(row, now)
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        assert found <= wanted + 1e-6

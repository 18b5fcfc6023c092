"""Ownership, waiting, gone, births and owners."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, Ready
from pulumi_atlas.rules.gone import presence
from pulumi_atlas.rules.ownership import Leftover, on_create, on_recovery
from pulumi_atlas.rules.waiting import judge, pause_s, port_to_probe
from pulumi_atlas.testing import strategies as ours

STATUSES = st.sampled_from(["provisioning", "running", "stopped", "finished", "failed", "terminated"])
LEFTOVERS = st.builds(
    Leftover, ours.births(), ours.owners(), st.sampled_from(["open", "answered"]), st.booleans(), st.booleans()
)


@given(owner=ours.owners())
def test_an_owner_survives_its_spelling(owner: Owner) -> None:
    assert Owner.parse(str(owner)) == owner


@given(text=st.text(max_size=40))
def test_any_text_is_an_owner_or_a_value_error(text: str) -> None:
    try:
        owner = Owner.parse(text)
    except ValueError:
        return
    assert Owner.parse(str(owner)) == owner


def test_births_never_meet() -> None:
    births = {new_birth() for _ in range(2000)}
    assert len(births) == 2000
    assert all(Tag(birth, Owner("manual", "me")) for birth in births)


def test_an_owner_that_could_not_be_read_back_is_none() -> None:
    with pytest.raises(ValueError, match="needs an id"):
        Owner("deployment", "", "session/s1")


@given(left=LEFTOVERS)
def test_a_create_removes_only_what_the_engine_cannot_know(left: Leftover) -> None:
    verdict = on_create(left)
    assert verdict in ("remove", "refuse", "leave")
    if verdict == "remove":
        assert left.state == "open"
        assert not left.writer_may_live


@given(left=LEFTOVERS, in_state=st.sampled_from([True, False, None]))
def test_recovery_never_removes_what_the_state_holds_or_somebody_is_making(
    left: Leftover, in_state: bool | None
) -> None:
    if on_recovery(left, in_state=in_state) == "remove":
        assert not in_state
        assert not left.writer_may_live
        assert left.owner.kind != "stack" or in_state is False


@given(
    get_found=st.booleans(),
    list_found=st.booleans(),
    complete=st.booleans(),
    age=st.none() | st.floats(0, 1000),
    lag=st.floats(0, 1000),
)
def test_gone_takes_every_proof(
    get_found: bool, list_found: bool, complete: bool, age: float | None, lag: float
) -> None:
    verdict = presence(get_found=get_found, list_found=list_found, list_complete=complete, age_s=age, lag_s=lag)
    proven = not get_found and not list_found and complete and (age is None or age >= lag)
    assert (verdict == "gone") == proven
    assert (verdict == "present") == (get_found or list_found)


@given(status=STATUSES, port=st.none() | st.integers(1, 65535), ran=st.floats(0, 100), settle=st.floats(0, 100))
def test_a_pod_is_judged_by_what_it_is(status: str, port: int | None, ran: float, settle: float) -> None:
    pod = Compute.model_validate({"id": "p", "provider": "x", "account": "a", "status": status})
    verdict = judge(pod, port, running_for_s=ran, settle_s=settle)
    assert (verdict == "dead") == (status in ("failed", "terminated") or (status == "finished" and port is not None))
    assert (verdict == "probe") == (status == "running" and port is not None)
    if verdict == "usable":
        assert port is None
        assert status == "finished" or (status == "running" and ran >= settle)


@given(ports=st.lists(st.integers(1, 65535), max_size=3), wanted=st.none() | st.integers(1, 65535))
def test_the_port_to_probe_is_the_one_asked_for_or_the_first(ports: list[int], wanted: int | None) -> None:
    ready = Ready(port=wanted) if wanted is not None else None
    assert port_to_probe(tuple(ports), ready) == (wanted or (ports[0] if ports else None))


@given(attempt=st.integers(0, 10_000))
def test_pauses_grow_and_stay_bounded(attempt: int) -> None:
    assert 0 < pause_s(attempt) <= pause_s(attempt + 1) <= 2.0


def test_every_leftover_has_a_verdict() -> None:
    states, lives = ("open", "answered"), (True, False)
    for state, alive, well, known in product(states, lives, lives, (True, False, None)):
        left = Leftover(new_birth(), Owner("stack", "s"), state, alive, well)
        assert on_create(left)
        assert on_recovery(left, in_state=known)

"""What a reconciliation would do, in words, and what may be ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pulumi_atlas.drift import DriftItem, DriftReport
from pulumi_atlas.drift._unheld import disproof
from pulumi_atlas.drift.reconcile import ReconcilePlan, with_reasons
from pulumi_atlas.drift.stack_state import parse
from pulumi_atlas.errors import Conflict
from pulumi_atlas.ids import Birth, Owner
from tests.unit.drift.conftest import STACK_ID, export, resource

A, B = Birth("a" * 20), Birth("b" * 20)
LEAK = DriftItem("leaked", kind="pod", provider="local", id="pod-9", birth=A, name="web")
CHANGED = DriftItem("changed", "urn::web", "pod", "local", "pod-1", name="web")
BEGUN = DriftItem("unfinished", "urn::web", "pod", "local", None, name="web")
BY_HAND = DriftItem("unfinished", "urn::store", name="store", reason="only you can know", by_hand=True)
DONE = DriftItem("finished", "urn::job", "pod", "local", "pod-2", name="job")


def lines(*items: DriftItem, **more: Any) -> list[str]:
    return list(ReconcilePlan(DriftReport("dev", items), **more).lines())


def test_each_act_is_one_line() -> None:
    told = lines(LEAK, CHANGED, BEGUN, DONE, leaks="terminate")
    assert told == [
        "finish or undo what a run began: pod web",
        "terminate pod web (pod-9), which no state holds",
        "run `pulumi up --refresh`, which applies the program as it is now: web",
    ]


def test_leaks_are_asked_about_and_what_was_let_go_is_kept() -> None:
    assert lines(LEAK) == ["ask about pod web (pod-9), which no state holds"]
    let_go = DriftItem("leaked", kind="pod", id="pod-9", name="web", let_go=True)
    assert lines(let_go, leaks="terminate") == ["keep pod web (pod-9), which no state holds"]


def test_accepting_takes_what_differs_and_nothing_else() -> None:
    assert lines(LEAK, CHANGED, DONE, accept=True) == ["take pod web (pod-1) into the state as it is: changed"]


def test_what_was_begun_asks_for_an_update_and_what_only_a_person_knows_is_left() -> None:
    assert ReconcilePlan(DriftReport("dev", (BEGUN,))).updates
    assert not ReconcilePlan(DriftReport("dev", (BY_HAND, LEAK))).updates
    assert lines(BY_HAND) == ["leave resource store to you: only you can know"]


def test_what_the_update_deletes_is_said_before_anybody_agrees() -> None:
    held = parse(export(resource("old", ident="pod-7"))).things
    assert lines(CHANGED, deletes=held)[-1] == "by that delete pod old (pod-7), which the program does not declare"


def test_why_something_could_not_be_done_stands_with_the_thing() -> None:
    found = with_reasons(DriftReport("dev", (LEAK, CHANGED)), [(LEAK, Conflict("it has begun to serve"))])
    assert "it has begun to serve" in found.items[0].reason and found.items[1] == CHANGED


@pytest.mark.parametrize(
    ("items", "empty"), [((DONE,), True), ((LEAK,), False), ((BEGUN,), False), ((), True), ((BY_HAND,), True)]
)
def test_a_plan_without_an_act_is_empty(items: tuple[DriftItem, ...], empty: bool) -> None:
    assert ReconcilePlan(DriftReport("dev", items)).is_empty == empty


def thing(**more: Any) -> Any:
    fields = {"id": "pod-9", "birth": A, "owner": Owner("stack", STACK_ID, "atlas:Pod::web"), **more}
    return SimpleNamespace(**fields)


def test_only_what_is_proven_to_be_this_stacks_and_in_no_state_may_be_ended() -> None:
    assert disproof(LEAK, thing(), parse(export())) == ""


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (thing(owner=None), export()),
        (thing(owner=Owner("stack", "0123456789abcdef")), export()),
        (thing(owner=Owner("manual", STACK_ID)), export()),
        (thing(birth=B), export()),
        (thing(birth=None), export()),
        (thing(), export(resource("web", birth=A, ident="pod-1"))),
        (thing(), export(resource("web", birth=B, ident="pod-9"))),
        (thing(), export(pending=(("creating", resource("web", birth=A)),))),
    ],
)
def test_anything_else_is_left_alone(seen: Any, state: dict[str, Any]) -> None:
    assert disproof(LEAK, seen, parse(state))

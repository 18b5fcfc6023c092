"""What a recovery would do, by what is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pulumi_atlas.client import Intent
from pulumi_atlas.drift._plan import Note, RecoveryPlan, Scope, make_plan, note_of_pending
from pulumi_atlas.drift.stack_state import StackState, parse
from pulumi_atlas.rules.ownership import Leftover
from tests.unit.drift.conftest import export, resource

A, B = "a" * 20, "b" * 20
HERE = "/srv/proj"
OTHER = "stack:0123456789abcdef:atlas:Pod::web"
Make = Callable[..., Intent]


def plan(
    *intents: Intent,
    state: StackState | None,
    once_held: frozenset[str] | None = frozenset(),
    ended_well: bool = False,
    **more: Any,
) -> RecoveryPlan:
    notes = [Note(i, Leftover(i.birth, i.owner, i.state, i.writer.may_be_alive(), ended_well)) for i in intents]
    return make_plan(notes, Scope(HERE, state, once_held), stack="dev", **more)


def groups(one: RecoveryPlan) -> dict[str, list[str]]:
    names = ("remove", "close", "report", "busy", "elsewhere")
    return {name: [i.birth for i in getattr(one, name)] for name in names if getattr(one, name)}


@pytest.mark.parametrize("state", ["open", "answered"])
def test_a_birth_that_no_resource_holds_is_removed(note_for: Make, state: str) -> None:
    found = plan(note_for(A, state=state), state=parse(export()))
    assert groups(found) == {"remove": [A]}
    assert found.update


@pytest.mark.parametrize("state", ["open", "answered"])
def test_a_birth_that_a_resource_holds_is_only_closed(note_for: Make, state: str) -> None:
    found = plan(note_for(A, state=state), state=parse(export(resource("web", birth=A))))
    assert groups(found) == {"close": [A]}
    assert not found.update


def test_a_thing_that_the_state_holds_under_its_id_is_never_removed(note_for: Make) -> None:
    found = plan(note_for(A, thing_id="pod-1"), state=parse(export(resource("web", ident="pod-1"))))
    assert groups(found) == {"close": [A]}


def test_pending_creations_of_others_go_only_with_ours_and_are_named() -> None:
    bucket = ("creating", {"urn": "urn:pulumi:dev::proj::aws:s3:Bucket::store", "type": "aws:s3:Bucket"})
    alone = plan(state=parse(export(pending=(bucket,))))
    assert alone.is_empty and not alone.others
    with_ours = plan(state=parse(export(pending=(bucket, ("creating", resource("web", birth=A))))))
    assert [one.name for one in with_ours.others] == ["store"] == [u[-5:] for u in with_ours.as_json()["others"]]
    assert any("store" in line and "look whether it is there" in line for line in with_ours.lines())


def test_a_living_writer_is_left_alone(note_for: Make) -> None:
    assert groups(plan(note_for(A, alive=True), state=parse(export()))) == {"busy": [A]}


def test_what_the_engine_held_once_and_let_go_is_kept(note_for: Make) -> None:
    found = plan(note_for(A, state="answered"), state=parse(export()), once_held=frozenset({A}))
    assert groups(found) == {"close": [A]}


def test_without_a_history_an_orderly_end_leaves_it_to_a_person(note_for: Make) -> None:
    note = note_for(A, state="answered")
    assert groups(plan(note, state=parse(export()), once_held=None, ended_well=True)) == {"report": [A]}
    assert groups(plan(note, state=parse(export()), once_held=None)) == {"remove": [A]}


def test_an_open_note_of_a_vanished_stack_of_this_folder_is_removed_and_an_answered_one_reported(
    note_for: Make,
) -> None:
    found = plan(note_for(A, owner=OTHER), note_for(B, owner=OTHER, state="answered"), state=parse(export()))
    assert groups(found) == {"remove": [A], "report": [B]}


def test_other_projects_and_deployments_are_left_alone(note_for: Make) -> None:
    far = note_for(A, owner=OTHER, folder="/srv/other")
    companion = note_for(B, owner="deployment:0123456789abcdef:session")
    assert groups(plan(far, companion, state=parse(export()))) == {"elsewhere": [A, B]}


def test_outside_a_project_only_manual_notes_are_touched(note_for: Make) -> None:
    manual, stacked = note_for(A, owner="manual:me"), note_for(B)
    found = plan(manual, stacked, state=None)
    assert groups(found) == {"remove": [A], "elsewhere": [B]}
    assert not found.update


def test_an_answered_manual_note_is_only_closed(note_for: Make) -> None:
    assert groups(plan(note_for(A, owner="manual:me", state="answered"), state=None)) == {"close": [A]}


def test_pending_operations_and_an_unfinished_recovery_ask_for_an_update() -> None:
    pending = parse(export(pending=(("deleting", resource("web", birth=A)),)))
    assert plan(state=pending).update
    assert plan(state=parse(export()), unfinished=True).update
    assert plan(state=parse(export())).is_empty


def test_a_pending_creation_becomes_a_note_of_a_writer_that_has_ended() -> None:
    [pending] = parse(export(pending=(("creating", resource("web", birth=A)),))).creations
    intent = note_of_pending(pending, HERE, 5.0)
    assert intent is not None
    assert (intent.birth, intent.kind, intent.folder, intent.state) == (A, "pod", HERE, "open")
    assert not intent.writer.may_be_alive()


def test_a_pending_creation_without_a_birth_gives_no_note() -> None:
    [pending] = parse(export(pending=(("creating", resource("web")),))).creations
    assert note_of_pending(pending, HERE, 5.0) is None


def test_the_plan_is_told_in_one_line_for_each_act(note_for: Make) -> None:
    state = parse(export(pending=(("creating", resource("web", birth=B)),)))
    lines = plan(note_for(A, thing_id="pod-1"), state=state).lines()
    assert len(lines) == 3
    assert "pod-1" in lines[1] and "pulumi up --refresh" in lines[2]

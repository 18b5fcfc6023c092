"""Who may take a thing, give it up, or call it leaked."""

from __future__ import annotations

import pytest

from pulumi_atlas.ids import Owner
from pulumi_atlas.rules.custody import on_release, on_take, standing

OURS = frozenset({"aaaaaaaaaaaaaaaa"})
MINE = Owner("stack", "aaaaaaaaaaaaaaaa", "atlas:Pod::web")
THEIRS = Owner("stack", "bbbbbbbbbbbbbbbb", "atlas:Pod::web")
SESSION = Owner("deployment", "d1", "s1")
MANUAL = Owner("manual", "bob")


@pytest.mark.parametrize(
    ("owner", "verdict", "forced"),
    [
        (None, "take", "take"),
        (MANUAL, "take", "take"),
        (MINE, "take", "take"),
        (THEIRS, "foreign_stack", "take"),
        (SESSION, "session", "take"),
    ],
)
def test_what_no_other_stack_and_no_session_owns_may_be_taken(
    owner: Owner | None, verdict: str, forced: str
) -> None:  # fmt: skip
    assert on_take(owner, status="running", held=False, ours=OURS, being_made=False) == verdict
    assert on_take(owner, status="running", held=False, ours=OURS, being_made=False, forced=True) == forced


def test_what_is_ended_or_being_made_is_not_taken_by_force_either() -> None:
    assert on_take(MANUAL, status="terminated", held=False, ours=OURS, being_made=False, forced=True) == "ended"
    assert on_take(MANUAL, status="running", held=False, ours=OURS, being_made=True, forced=True) == "being_made"


@pytest.mark.parametrize("owner", [None, MANUAL, MINE, THEIRS])
def test_what_the_state_holds_is_held_whoever_it_says_owns_it(owner: Owner | None) -> None:
    assert on_take(owner, status="running", held=True, ours=OURS, being_made=False) == "held"


def test_only_what_is_the_stacks_is_given_up_unless_forced() -> None:
    assert on_release(MANUAL, held=True, ours=OURS) == "done"
    assert on_release(None, held=False, ours=OURS) == "done"
    assert on_release(None, held=True, ours=OURS) == "release"
    assert on_release(MINE, held=False, ours=OURS) == "release"
    assert on_release(THEIRS, held=False, ours=OURS) == "foreign_stack"
    assert on_release(SESSION, held=False, ours=OURS) == "session"
    assert on_release(THEIRS, held=False, ours=OURS, forced=True) == "release"


@pytest.mark.parametrize(
    ("owner", "what"),
    [(MINE, "leaked"), (THEIRS, "unknown_stack"), (SESSION, "session"), (MANUAL, "manual"), (None, "manual")],
)
def test_what_a_thing_is_that_no_state_holds(owner: Owner | None, what: str) -> None:
    assert standing(owner, has_birth=True, held=False, known=OURS, being_made=False) == what
    assert standing(owner, has_birth=True, held=True, known=OURS, being_made=False) == "held"


def test_what_is_not_ours_is_never_shown_and_what_is_being_made_is_no_leak() -> None:
    assert standing(None, has_birth=False, held=False, known=OURS, being_made=False) == "foreign"
    assert standing(MINE, has_birth=True, held=False, known=OURS, being_made=True) == "in_progress"

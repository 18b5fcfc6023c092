"""Whose is a thing that is there: may a stack take it, may it be given up, is it leaked?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pulumi_atlas.ids import Owner

__all__ = ["Release", "Standing", "Taking", "on_release", "on_take", "standing"]

#: `take`; `held`: by this very stack already; the others are refusals, of which `foreign_stack` and `session` can be forced.
Taking = Literal["take", "held", "foreign_stack", "session", "being_made", "ended"]

#: `release`; `done`: it is nobody's already; `foreign_stack`, `session`: refused unless forced.
Release = Literal["release", "done", "foreign_stack", "session"]

#: `held`: a given state holds it. `leaked`: its stack's state was given and lacks it. `unknown_stack`: the state of its stack
#: was not given. `session`, `manual`: no stack's. `in_progress`: being made now. `foreign`: nothing of ours.
Standing = Literal["held", "leaked", "unknown_stack", "session", "manual", "in_progress", "foreign"]


def on_take(
    owner: Owner | None, *, status: str, held: bool, ours: Collection[str], being_made: bool, forced: bool = False
) -> Taking:
    """May a stack take it? `ours`: ids of the stack; `held`: its state holds the thing; `being_made`: by a living process.

    What nobody owns, and what was made by hand, may be taken by anybody who has the account's key.
    """
    if held:
        return "held"
    if status == "terminated":
        return "ended"
    if being_made:
        return "being_made"
    if owner is None or owner.kind == "manual" or owner.id in ours or forced:
        return "take"
    return "session" if owner.kind == "deployment" else "foreign_stack"


def on_release(owner: Owner | None, *, held: bool, ours: Collection[str], forced: bool = False) -> Release:
    """May it be given up here? What the stack holds or owns may; of others' only a person can know."""
    if (owner is not None and owner.kind == "manual") or (owner is None and not held):
        return "done"
    if held or forced or owner is None or owner.id in ours:
        return "release"
    return "session" if owner.kind == "deployment" else "foreign_stack"


def standing(
    owner: Owner | None, *, has_birth: bool, held: bool, known: Collection[str], being_made: bool
) -> Standing:  # fmt: skip
    """What a thing in an account is to the stacks whose states were given. `known`: the ids of those stacks."""
    if held:
        return "held"
    if owner is None and not has_birth:
        return "foreign"
    if being_made:
        return "in_progress"
    if owner is None or owner.kind == "manual":
        return "manual"
    if owner.kind == "deployment":
        return "session"
    return "leaked" if owner.id in known else "unknown_stack"

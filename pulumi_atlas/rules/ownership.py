"""Whose is it, and what may be done about a creation that was begun and never finished?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pulumi_atlas.ids import Birth, Owner

__all__ = ["IntentState", "Leftover", "Verdict", "on_create", "on_recovery"]

#: `open`: the request may have been sent; `answered`: the thing is usable and its id was handed to the caller.
IntentState = Literal["open", "answered"]

#: `remove`: terminate, confirm, close. `refuse`: stop and name the command. `close`: only the note is left over.
#: `wait`: its writer is at work. `report`: only a person can know. `leave`: go on, and keep the note.
Verdict = Literal["remove", "refuse", "close", "wait", "report", "leave"]


@dataclass(frozen=True)
class Leftover:
    """What is known of an unclosed intent: its owner and birth, its state, and whether its writer may still be at work.

    `ended_well`: the engine itself ended the writer, when it had nothing left to do; so the engine had all its answers.
    """

    birth: Birth
    owner: Owner
    state: IntentState
    writer_may_live: bool
    ended_well: bool = False


def on_create(leftover: Leftover) -> Verdict:
    """The same owner wants to create again. An *open* intent of a dead writer is of a thing that the engine cannot know.

    An *answered* one may be in the state: under a forced replacement it is the very thing that is to be replaced, and the
    engine calls nothing that would tell. When its writer ended well it is taken for that; the note is kept, because an
    engine that is interrupted twice can lose an answer that it had.
    """
    if leftover.state == "answered" and leftover.ended_well and not leftover.writer_may_live:
        return "leave"
    if leftover.writer_may_live or leftover.state == "answered":
        return "refuse"
    return "remove"


def on_recovery(leftover: Leftover, *, in_state: bool | None) -> Verdict:
    """A person asked for recovery. `in_state`: whether a resource of the stack's state holds the birth (None: not known)."""
    if in_state:
        return "close"
    if leftover.writer_may_live:
        return "wait"
    if leftover.owner.kind == "stack" and in_state is None:
        return "report"
    return "close" if leftover.owner.kind == "manual" and leftover.state == "answered" else "remove"

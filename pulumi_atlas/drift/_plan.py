"""What a recovery would do: decided from notes, state and locks alone; nothing here acts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pulumi_atlas.client import Intent
from pulumi_atlas.drift.locks import Lock
from pulumi_atlas.drift.stack_state import Foreign, Pending, StackState
from pulumi_atlas.ids import Birth
from pulumi_atlas.processes import ProcessIdentity, boot_id, host_name
from pulumi_atlas.rules.ownership import Leftover, on_recovery

__all__ = ["FOREIGN", "Note", "RecoveryPlan", "Scope", "make_plan", "note_of_pending"]

#: What is to be known of a pending creation of somebody else's resource.
FOREIGN = "it is none of ours, so look whether it is there"


@dataclass(frozen=True)
class Note:
    """An unclosed intent with what the rules need to know of it."""

    intent: Intent
    leftover: Leftover


@dataclass(frozen=True)
class Scope:
    """Whose notes are looked at. Without `state` (outside a project) only manual ones can be judged.

    `once_held`: births that the engine has known; None when its history cannot be read.
    """

    folder: str
    state: StackState | None = None
    once_held: frozenset[str] | None = None


@dataclass(frozen=True)
class RecoveryPlan:
    """`remove`: to be terminated; `close`: only the note goes; `report`: only a person can know; `busy`: being made now.

    `elsewhere`: of other projects or stacks. `others`: pending creations that are none of ours and go with ours, since the
    engine clears all or none. `update`: whether `pulumi up --refresh` ends the recovery.
    """

    stack: str | None
    locks: tuple[Lock, ...] = ()
    pending: tuple[Pending, ...] = ()
    remove: tuple[Intent, ...] = ()
    close: tuple[Intent, ...] = ()
    report: tuple[Intent, ...] = ()
    busy: tuple[Intent, ...] = ()
    elsewhere: tuple[Intent, ...] = ()
    others: tuple[Foreign, ...] = ()
    update: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.locks or self.pending or self.remove or self.close or self.update)

    def lines(self) -> list[str]:
        """The plan in words, one line for each act."""
        said = [f"remove the lock of a dead run: {lock}" for lock in self.locks]
        said += [f"forget the pending {one.operation} of {one.thing.name}" for one in self.pending]
        said += [f"with it that of {one.name}: {FOREIGN}" for one in self.others]
        said += [f"terminate {_words(intent)} if it is there: no state knows it" for intent in self.remove]
        said += [f"close the note of {_words(intent)}: nothing is left to do" for intent in self.close]
        if self.update:
            said.append(f"run `pulumi up --refresh` on stack {self.stack}, which applies the program as it is now")
        said += [f"leave {_words(intent)} to you: {_advice(intent)}" for intent in self.report]
        said += [f"leave {_words(intent)}: process {intent.writer.pid} is at work on it" for intent in self.busy]
        said += [f"leave {_words(intent)}: run this in {intent.folder}" for intent in self.elsewhere]
        return said

    def as_json(self) -> dict[str, Any]:
        groups = ("remove", "close", "report", "busy", "elsewhere")
        return {
            "stack": self.stack,
            "locks": [lock.as_json() for lock in self.locks],
            "pending": [one.as_json() for one in self.pending],
            "others": [one.urn for one in self.others],
            **{name: [_json(intent) for intent in getattr(self, name)] for name in groups},
            "update": self.update,
        }


def make_plan(
    notes: Iterable[Note], scope: Scope, *, stack: str | None = None, locks: tuple[Lock, ...] = (), unfinished: bool = False
) -> RecoveryPlan:  # fmt: skip
    """Sort the notes by what is to be done. `unfinished`: an earlier recovery did not come to its end."""
    groups: dict[str, list[Intent]] = {name: [] for name in ("remove", "close", "report", "wait", "elsewhere")}
    for note in notes:
        groups[_judge(note, scope)].append(note.intent)
    pending = scope.state.pending if scope.state else ()
    ours = [intent for intent in groups["remove"] if intent.owner.kind == "stack"]
    return RecoveryPlan(
        stack=stack,
        locks=locks,
        pending=pending,
        remove=tuple(groups["remove"]),
        close=tuple(groups["close"]),
        report=tuple(groups["report"]),
        busy=tuple(groups["wait"]),
        elsewhere=tuple(groups["elsewhere"]),
        others=scope.state.other_creations if scope.state and scope.state.creations else (),
        update=scope.state is not None and bool(locks or pending or ours or unfinished),
    )


def note_of_pending(pending: Pending, folder: str, now: float) -> Intent | None:
    """An intent for a pending creation that was begun where its notes are not: another machine, another user."""
    thing = pending.thing
    if not (thing.birth and thing.owner and thing.provider and thing.kind):
        return None
    return Intent(
        birth=Birth(thing.birth),
        owner=thing.owner,
        kind=thing.kind,
        provider=thing.provider,
        account=thing.account,
        identity="",
        name=thing.name,
        spec_hash="",
        writer=ProcessIdentity(pid=0, boot=f"not {boot_id()}", started=0, host=host_name()),  # one that has ended
        written_at=now,
        folder=folder,
    )


def _judge(note: Note, scope: Scope) -> str:
    owner, intent = note.leftover.owner, note.intent
    if owner.kind == "manual":
        return on_recovery(note.leftover, in_state=None)
    if owner.kind != "stack" or scope.state is None:
        return "elsewhere"
    if scope.state.holds(intent.birth, intent.thing_id):
        return on_recovery(note.leftover, in_state=True)
    if owner.id in scope.state.stack_ids:
        return on_recovery(note.leftover, in_state=_let_go(note, scope))
    if intent.folder != scope.folder:
        return "elsewhere"
    # Its stack was destroyed, or is another one of this project. No state can hold what its writer did not answer.
    return on_recovery(note.leftover, in_state=False if intent.state == "open" else None)


def _let_go(note: Note, scope: Scope) -> bool | None:
    """Not held now. True: the engine held it once and let it go, which is as good as held. None: only a person knows."""
    if note.intent.state == "open":
        return False
    if scope.once_held is not None:
        return note.intent.birth in scope.once_held
    return None if note.leftover.ended_well else False


def _words(intent: Intent) -> str:
    known = f" ({intent.thing_id})" if intent.thing_id else ""
    return f"{intent.kind} {intent.name}{known} at {intent.provider}"


def _advice(intent: Intent) -> str:
    if intent.kind == "pod" and intent.thing_id:
        return f"if no stack has it, `atlas compute terminate {intent.thing_id} --provider {intent.provider}`"
    return "if no stack has it, remove it at the provider"


def _json(intent: Intent) -> dict[str, Any]:
    names = ("birth", "kind", "name", "provider", "account", "state", "thing_id", "folder", "written_at")
    return {**{name: getattr(intent, name) for name in names}, "owner": str(intent.owner)}

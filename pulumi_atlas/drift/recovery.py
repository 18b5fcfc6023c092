"""Recovery after a crash, by the engine's own means: nothing that is paid for is forgotten, nothing in use is killed.

::

    a  orphaned provider processes have ended by themselves   (one that may be renting is never killed)
    b  nobody runs                                            (else: refused)
       a state file that the kill cut off gives way to the engine's copy of it
    c  pending creations are noted as intents, and copied     (fsync)
    d  the dead run's lock goes, pending creations are cleared
    e  births that no resource holds are terminated, confirmed, closed; the others closed
    f  `pulumi up --refresh`

A recovery that is itself killed at any place is run again: the notes of c outlive it, and an unfinished one is remembered
until f is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pulumi_atlas import config, files
from pulumi_atlas.backend import Backend, Project, find_backend, find_project
from pulumi_atlas.client import Intent, IntentBook
from pulumi_atlas.client.recovery import Remover
from pulumi_atlas.drift._history import births_once_held
from pulumi_atlas.drift._plan import FOREIGN, Note, RecoveryPlan, Scope, make_plan, note_of_pending
from pulumi_atlas.drift._pulumi_cli import PulumiCli
from pulumi_atlas.drift._runs import wait_for_orphans
from pulumi_atlas.drift.checkpoints import find_damaged, restore
from pulumi_atlas.drift.locks import Lock, find_locks
from pulumi_atlas.drift.stack_state import StackState, parse
from pulumi_atlas.errors import AtlasError, Conflict
from pulumi_atlas.processes import ProcessIdentity

__all__ = ["Outcome", "RecoveryPlan", "find_project", "recover"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a recovery did. `failed` and `reported` name what is left; `complete` says that nothing is."""

    plan: RecoveryPlan
    approved: bool = True
    locks_removed: int = 0
    pending_cleared: int = 0
    terminated: int = 0
    absent: int = 0
    closed: int = 0
    updated: bool = False
    failed: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Whether all is well now: nothing failed, and nothing is left to a person."""
        return self.approved and not self.failed and not self.plan.report

    def as_json(self) -> dict[str, Any]:
        """`terminated`: things removed; `absent`: notes that stood for nothing; `closed`: notes of things that are held."""
        counts = ("approved", "locks_removed", "pending_cleared", "terminated", "absent", "closed", "updated")
        return {
            "complete": self.complete,
            **{name: getattr(self, name) for name in counts},
            "failed": [dict(row) for row in self.failed],
            "plan": self.plan.as_json(),
        }


def recover(
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    *,
    stack: str | None = None,
    approve: Callable[[RecoveryPlan], bool] | None = None,
    say: Say | None = None,
    orphan_timeout_s: float = 120.0,
    update: bool = True,
) -> Outcome:
    """Bring intents, state and the world together again, in the project's folder; outside one, only manual intents.

    `approve` sees the plan before anything is changed (default: yes). Raises Conflict while somebody runs or may be
    running, TimedOut when an orphan does not end, and what the engine or a provider says when that stops it; what
    happened to single things is in the outcome. Without `update` step f is left out, and remembered: the next recovery does it.
    """
    environ = os.environ if environ is None else environ
    project = find_project(cwd)
    work = _Recovery(cwd, environ, project, stack, say or (lambda line: None), orphan_timeout_s)
    work.updates = update
    return work.run(approve or (lambda plan: True))


class _Recovery:
    """One recovery; the methods are its steps."""

    def __init__(
        self, cwd: Path, environ: Mapping[str, str], project: Project | None, stack: str | None, say: Say, timeout_s: float
    ) -> None:  # fmt: skip
        self.folder = project.folder if project else cwd.absolute()
        self.environ, self.project, self.say, self.timeout_s = environ, project, say, timeout_s
        self.updates = True
        self.state_dir = config.load(cwd=self.folder, environ=environ).state_dir
        self.book = IntentBook(self.state_dir)
        self.backend: Backend = find_backend(environ, project)
        self._restore_state()
        self.cli = PulumiCli(project.folder, environ, stack=stack) if project else None
        self.stack = self.cli.current_stack() if self.cli else None

    def _restore_state(self) -> None:
        """Before anything is asked of the engine: it reads no state that was cut off. Nothing is lost by it."""
        if self.project is None:
            return
        for damaged in find_damaged(self.backend, self.project.name):
            for lock in find_locks(self.backend, project=self.project.name, stack=damaged.stack):
                _refuse_living(lock)
            kept = restore(damaged)
            self.say(f"{damaged}; took the engine's copy from before that, and kept the file as {kept.name}")

    def run(self, approve: Callable[[RecoveryPlan], bool]) -> Outcome:
        folder = files.make_private_folder(self.state_dir / "recoveries")
        with files.locked(folder / f"{self._key()}.lock", timeout_s=2.0):
            self._settle_runs()
            plan, _ = self._plan()
            if plan.is_empty:
                return Outcome(plan)
            if not approve(plan):
                return Outcome(plan, approved=False)
            return self._act(plan)

    def _act(self, shown: RecoveryPlan) -> Outcome:
        locks = self._settle_runs()
        self._note(shown)
        cleared = self._unlock_and_clear(shown, locks)
        plan, _ = self._plan()
        known = {intent.birth for intent in (*shown.remove, *shown.close)} | {
            one.thing.birth for one in shown.pending if one.thing.birth
        }
        plan = replace(
            plan,
            remove=tuple(intent for intent in plan.remove if intent.birth in known),
            close=tuple(intent for intent in plan.close if intent.birth in known),
        )
        for intent in plan.close:
            self.book.close(intent.birth)
        terminated, failed = asyncio.run(self._remove_all(plan.remove))
        outcome = Outcome(
            plan=shown,
            locks_removed=len(locks),
            pending_cleared=cleared,
            terminated=terminated,
            absent=len(plan.remove) - terminated - len(failed),
            closed=len(plan.close),
            failed=tuple(failed),
        )
        return outcome if failed else self._update(outcome)

    def _settle_runs(self) -> tuple[Lock, ...]:
        """Steps a and b. The stale locks."""
        if self.project is None:
            return ()
        ours = [note.intent for note in self._notes() if note.intent.folder == str(self.folder)]
        writers = [intent.writer.pid for intent in ours if intent.writer.is_alive()]
        here = wait_for_orphans(self.folder, writers, timeout_s=self.timeout_s, say=self.say, creates=self._creates)
        locks = find_locks(self.backend, project=self.project.name, stack=self.stack)
        for lock in locks:
            _refuse_living(lock)
        if here:
            raise Conflict(
                f"a run is going on in this project (process {here[0].identity.pid})",
                operation="recover",
                hint="wait until it has ended, or interrupt it; then run the same command again",
            )
        return tuple(locks)

    def _creates(self, writer: ProcessIdentity) -> bool:
        return any(intent.writer == writer for intent in self.book.unclosed())

    def _notes(self) -> list[Note]:
        return [Note(intent, self.book.leftover(intent)) for intent in self.book.unclosed()]

    def _plan(self) -> tuple[RecoveryPlan, StackState | None]:
        notes = self._notes()  # before the state: what is answered and stored meanwhile must be seen as held
        if self.cli is None or self.project is None or self.stack is None:
            return make_plan(notes, Scope(str(self.folder))), None
        state = parse(self.cli.stack_export())
        held = births_once_held(self.backend, self.project.name, self.stack)
        scope = Scope(str(self.folder), state, held)
        locks = tuple(find_locks(self.backend, project=self.project.name, stack=self.stack))
        plan = make_plan(notes, scope, stack=self.stack, locks=locks, unfinished=self._journal().exists())
        return plan, state

    def _note(self, plan: RecoveryPlan) -> None:
        """Step c: from here on, births of pending creations are protected by intents as all others are."""
        if self.project is None or not plan.update:
            return
        earlier = files.read_json(self._journal()) or {}
        rows = [*earlier.get("pending", []), *(one.as_json() for one in plan.pending)]
        files.write_json(
            self._journal(),
            {
                "folder": str(self.folder),
                "stack": self.stack,
                "begun_at": time.time(),
                "pending": rows,
                "others": [*earlier.get("others", []), *(one.urn for one in plan.others)],
            },
        )
        for one in plan.pending:
            intent = note_of_pending(one, str(self.folder), time.time()) if one.operation == "creating" else None
            if intent is not None and not self.book.is_noted(intent.birth):
                self.book.open(intent)

    def _unlock_and_clear(self, plan: RecoveryPlan, locks: Sequence[Lock]) -> int:
        """Step d. How many pending creations were cleared; the engine itself clears the other operations."""
        if self.cli is None:
            return 0
        if locks:
            self.cli.cancel()
            self.say(f"removed the lock of process {locks[0].pid}, which is dead")
        creations = [one for one in plan.pending if one.operation == "creating"]
        if creations:
            self.cli.clear_pending_creates(parse(self.cli.stack_export()).root_urn)
            self.say(f"cleared {len(creations)} pending creations")
            for one in plan.others:
                self.say(f"cleared with them that of {one.urn}: {FOREIGN}")
        return len(creations)

    async def _remove_all(self, intents: Sequence[Intent]) -> tuple[int, list[dict[str, Any]]]:
        """Step e. Pods and endpoints before the volumes that they mount. How many were there, and what failed."""
        if not intents:
            return 0, []
        stack_config = self.cli.atlas_config() if self.cli else {}
        remover = Remover(self.folder, self.environ, stack_config)
        terminated, failed = 0, []
        try:
            for group in ([i for i in intents if i.kind != "volume"], [i for i in intents if i.kind == "volume"]):
                results = await asyncio.gather(*(self._remove(remover, intent) for intent in group))
                terminated += sum(one is True for one in results)
                failed += [one for one in results if isinstance(one, dict)]
        finally:
            await remover.aclose()
        return terminated, failed

    async def _remove(self, remover: Remover, intent: Intent) -> bool | dict[str, Any]:
        try:
            was_there = await remover.remove(intent)
        except AtlasError as error:
            self.say(f"{intent.kind} {intent.name}: {error.one_line()}")
            return {"kind": intent.kind, "name": intent.name, "birth": intent.birth, "error": error.as_json()}
        self.say(f"{intent.kind} {intent.name}: {'terminated' if was_there else 'nothing was there'}")
        return was_there

    def _update(self, outcome: Outcome) -> Outcome:
        """Step f, and the end of the journal."""
        if self.cli is None or not outcome.plan.update or not self.updates:
            return outcome
        self.say("running `pulumi up --refresh`")
        try:
            self.cli.up_refresh()
        except AtlasError as error:
            return replace(outcome, failed=({"kind": "update", "name": self.stack, "error": error.as_json()},))
        done = files.read_json(self._journal()) or {}
        files.write_json(self._journal().with_suffix(".done"), {**done, "ended_at": time.time()})
        files.remove(self._journal())
        return replace(outcome, updated=True)

    def _journal(self) -> Path:
        return self.state_dir / "recoveries" / f"{self._key()}.json"

    def _key(self) -> str:
        if self.project is None:
            return "manual"
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]
        return f"{self.project.name}-{self.stack}-{digest}"


def _refuse_living(lock: Lock) -> None:
    if lock.is_stale:
        return
    if lock.holder == "alive":
        hint = "wait until it has ended, or interrupt it; then run the same command again"
        raise Conflict(f"{lock}, which is running", operation="recover", hint=hint)
    raise Conflict(
        f"{lock}, of which nothing can be known here",
        operation="recover",
        hint="when you know that it has ended, run `pulumi cancel`, then the same command again",
    )

"""One look at a stack: asks the engine, the providers, the notes and the locks, and changes nothing."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pulumi_atlas import config
from pulumi_atlas.backend import Project, find_backend, home_of, require_project
from pulumi_atlas.client import IntentBook
from pulumi_atlas.client.core import Core
from pulumi_atlas.drift import _words
from pulumi_atlas.drift._events import Refresh, read_events
from pulumi_atlas.drift._history import births_once_held
from pulumi_atlas.drift._join import Sight, join
from pulumi_atlas.drift._listing import Inventory, Place, list_places
from pulumi_atlas.drift._plan import Note, RecoveryPlan, Scope, make_plan
from pulumi_atlas.drift._pulumi_cli import PulumiCli, failure_of
from pulumi_atlas.drift._runs import find_provider_processes
from pulumi_atlas.drift.checkpoints import find_damaged
from pulumi_atlas.drift.findings import DriftItem, DriftReport
from pulumi_atlas.drift.locks import Lock, find_locks
from pulumi_atlas.drift.stack_state import Held, StackState, parse
from pulumi_atlas.errors import AtlasError, ProviderFailure

__all__ = ["report"]

Say = Callable[[str], None]


def report(
    cwd: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    stack: str | None = None,
    say: Say | None = None,
) -> DriftReport:
    """How a stack differs from the world. `cwd` (default: here) is in the Pulumi project; `stack` defaults to the selected.

    Changes nothing, and may be called while a run is going on. What could not be looked at is an `unreachable` item of the
    report. Raises ConfigError outside a project or without a stack, and the engine's error when its program does not run.
    """
    environ = os.environ if environ is None else environ
    project = require_project(Path(cwd) if cwd is not None else Path.cwd())
    return _Look(project, environ, stack, say or (lambda line: None)).report()


class _Look:
    """One look; the methods are its steps."""

    def __init__(self, project: Project, environ: Mapping[str, str], stack: str | None, say: Say) -> None:
        self.project, self.environ, self.say = project, environ, say
        self.backend = find_backend(environ, project)
        self.cli = PulumiCli(project.folder, environ, stack=stack)
        self.book = IntentBook(config.load(cwd=project.folder, environ=environ).state_dir)

    def report(self) -> DriftReport:
        stack = self.cli.current_stack()
        damaged = next((one for one in find_damaged(self.backend, self.project.name) if one.stack == stack), None)
        running, since = self._running(stack)
        if damaged is not None:
            return _unreadable(stack, str(damaged), running)
        notes = [
            Note(intent, self.book.leftover(intent)) for intent in self.book.unclosed()
        ]  # before the state, so that
        before = parse(self.cli.stack_export())  # what is stored meanwhile is seen as held
        self.say("asking the engine")
        refresh = self._refresh(before)
        self.say("asking the providers")
        inventories = self._inventories(before, notes)
        after = parse(self.cli.stack_export())
        once_held = births_once_held(self.backend, self.project.name, stack)
        return join(
            Sight(
                stack=stack,
                before=before,
                after=after,
                refresh=refresh,
                inventories=inventories,
                plan=self._judged(notes, after, once_held),
                running=running,
                running_since=since,
                once_held=once_held,
                moved=self._moved(after, stack),
                locks=tuple(str(lock) for lock in self._locks(stack) if lock.is_stale),
            )
        )

    def _running(self, stack: str) -> tuple[tuple[str, ...], float]:
        """Who is, or may be, at work on the stack, and since when."""
        locks = [lock for lock in self._locks(stack) if not lock.is_stale]
        here = [one for one in find_provider_processes(self.project.folder) if one.engine_lives]
        words = [f"process {lock.pid} on {lock.host}" if lock.pid else "an unknown process" for lock in locks]
        words += [f"a run in this folder (process {one.identity.pid})" for one in here]
        return tuple(words), min((lock.taken_at for lock in locks), default=time.time())

    def _moved(self, state: StackState, stack: str) -> tuple[str, str] | None:
        """Where the state was made and where it is, when it was moved or copied."""
        here = home_of(self.backend, self.project.name, stack)
        return (state.home, here) if state.home and here and state.home != here else None

    def _locks(self, stack: str) -> list[Lock]:
        return find_locks(self.backend, project=self.project.name, stack=stack)

    def _refresh(self, state: StackState) -> Refresh:
        """What the engine sees. Where some could not be asked, the rest is asked without them."""
        first = self._engine_look(())
        if not first.failed:
            return first
        unseen = [one for one in state.things if one.urn not in first.seen and one.urn not in first.failed]
        out = {_place(one) for one in state.things if one.urn in first.failed}
        if all(_place(one) in out for one in unseen):
            return first
        left_out = {*first.failed, *(one.urn for one in unseen if _place(one) in out)}
        return first.joined(self._engine_look(sorted(left_out)))

    def _engine_look(self, exclude: Iterable[str]) -> Refresh:
        with tempfile.TemporaryDirectory(prefix="atlas-drift-") as folder:
            log = Path(folder) / "events.json"
            done = self.cli.look(log, exclude=list(exclude))
            seen = read_events(log.read_text(encoding="utf-8").splitlines()) if log.exists() else Refresh()
        if seen.program:
            raise _program_failure(seen.program)
        if done.code and not seen.failed:
            raise failure_of(done)
        return seen

    def _inventories(self, state: StackState, notes: Iterable[Note]) -> tuple[Inventory, ...]:
        core = Core(cwd=self.project.folder, environ=self.environ, stack_config=self.cli.atlas_config())
        places = {_place(one) for one in (*state.things, *(one.thing for one in state.pending)) if one.provider}
        ours = state.stack_ids
        places |= {Place(n.intent.provider, n.intent.account or "") for n in notes if n.intent.owner.id in ours}
        default = _default_place(core) if state.stack_id else None

        async def work() -> tuple[Inventory, ...]:
            try:
                return await list_places(core, {*places, *([default] if default else [])})
            finally:
                await core.aclose()

        return asyncio.run(work())

    def _judged(self, notes: Iterable[Note], state: StackState, once_held: frozenset[str] | None) -> RecoveryPlan:
        return make_plan(notes, Scope(str(self.project.folder), state, once_held))


def _default_place(core: Core) -> Place | None:
    """Where the stack would rent now; None when that is not settled, or cannot be used."""
    try:
        name = core.choose(None)
        core.open(name)
    except AtlasError:
        return None
    return Place(name)


def _program_failure(said: str) -> AtlasError:
    return ProviderFailure(
        f"the program did not come to its end: {said}",
        operation="drift",
        hint="`pulumi preview` shows where; mend the program, then repeat",
    )


def _place(one: Held) -> Place:
    return Place(one.provider or "", one.account or "")


def _unreadable(stack: str, what: str, running: tuple[str, ...]) -> DriftReport:
    """A state that was cut off, or is being written: nothing can be judged."""
    if running:
        item = DriftItem("unreachable", kind="stack", reason=f"{running[0]} is writing the state", next=_words.WAIT)
    else:
        item = DriftItem("unfinished", kind="stack", reason=what, next=_words.RECONCILE)
    return DriftReport(stack, (item,), complete=False)

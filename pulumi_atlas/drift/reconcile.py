"""Brings a stack and the world together again: `atlas drift --reconcile` and `--accept`.

::

    a  look                                   (changes nothing; the plan is shown)
    b  what a killed run left: recovery       (refused while somebody runs, or may be running)
    c  leaks that are to be terminated        (each after a fresh proof that it is this stack's and in no state)
    d  `pulumi up --refresh`                  (the program's will; only where something differs)
    e  leaks that are to be adopted           (as by `atlas import`; last, because d would delete what no program declares)
    f  look again

Killed at any place it is run again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pulumi_atlas.backend import Project, find_backend, require_project
from pulumi_atlas.drift import _words
from pulumi_atlas.drift._events import read_deletions
from pulumi_atlas.drift._look import report
from pulumi_atlas.drift._pulumi_cli import PulumiCli
from pulumi_atlas.drift._unheld import Ended, Unheld
from pulumi_atlas.drift.findings import DriftItem, DriftReport, Status
from pulumi_atlas.drift.importing import Importer
from pulumi_atlas.drift.locks import find_locks
from pulumi_atlas.drift.recovery import Outcome, recover
from pulumi_atlas.drift.stack_state import Held, parse
from pulumi_atlas.errors import AtlasError, Conflict, ProviderFailure

__all__ = ["LeakChoice", "ReconcilePlan", "Reconciled", "accept", "reconcile", "with_reasons"]

LeakChoice = Literal["adopt", "terminate", "keep"]
Say = Callable[[str], None]

_TO_PUT_BACK: tuple[Status, ...] = ("changed", "stopped", "reclaimed", "gone")


@dataclass(frozen=True)
class ReconcilePlan:
    """What would be done about a report. `leaks`: what is to become of leaks, None when that is asked one by one; `deletes`:
    what the update deletes, because the program does not declare it."""

    report: DriftReport
    leaks: LeakChoice | None = None
    accept: bool = False
    deletes: tuple[Held, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._put_back() if self.accept else self.updates or self.report.of("leaked"))

    @property
    def updates(self) -> bool:
        """Whether `pulumi up --refresh` is run: something is to be put back, or was begun and is to be finished or undone."""
        return bool(self._put_back() or self._begun())

    def lines(self) -> Iterator[str]:
        """The plan in words, one line for each act."""
        if self.accept:
            yield from (f"take {_named(item)} into the state as it is: {item.status}" for item in self._put_back())
            return
        yield from (f"finish or undo what a run began: {_named(item)}" for item in self._begun())
        yield from (f"leave {_named(item)} to you: {item.reason}" for item in self.report.items if item.by_hand)
        for item in self.report.of("leaked"):
            verb = "keep" if item.let_go and self.leaks == "terminate" else self.leaks or "ask about"
            yield f"{verb} {_named(item)}, which no state holds"
        if self.updates:
            names = ", ".join(item.name for item in self._put_back())
            yield f"run `pulumi up --refresh`, which applies the program as it is now{': ' if names else ''}{names}"
        for held in self.deletes:
            yield f"by that delete {held.kind or 'resource'} {held.name} ({held.id}), which the program does not declare"

    def _put_back(self) -> tuple[DriftItem, ...]:
        return tuple(item for item in self.report.of(*_TO_PUT_BACK) if not item.by_hand)

    def _begun(self) -> tuple[DriftItem, ...]:
        return tuple(item for item in self.report.of("unfinished", "in_progress") if not item.by_hand)


@dataclass(frozen=True)
class Reconciled:
    """What was done. `report`: how it is now; `python`: what to paste for what was adopted."""

    report: DriftReport
    acted: bool = True
    terminated: tuple[DriftItem, ...] = ()
    adopted: tuple[DriftItem, ...] = ()
    kept: tuple[DriftItem, ...] = ()
    failed: tuple[tuple[DriftItem, AtlasError], ...] = ()
    python: str = field(default="", repr=False)


def reconcile(
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    *,
    stack: str | None = None,
    leaks: LeakChoice | None = None,
    choose: Callable[[DriftItem], LeakChoice] | None = None,
    approve: Callable[[ReconcilePlan], bool] | None = None,
    say: Say | None = None,
) -> Reconciled:
    """Put the program's will back. `approve` sees the plan before anything is changed (default: yes).

    `leaks`: what becomes of every leak; else `choose` is asked about each (default: keep). What the state let go on purpose
    is terminated only where `choose` says so. Does nothing, and says so by `acted`, when not everything could be judged.
    Raises Conflict while somebody runs or may be running, and what the engine says when the update fails.
    """
    environ = os.environ if environ is None else environ
    work = _Work(require_project(cwd), environ, stack, say or (lambda line: None))
    return work.reconcile(leaks, choose or (lambda item: "keep"), approve or (lambda plan: True))


def accept(
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    *,
    stack: str | None = None,
    approve: Callable[[ReconcilePlan], bool] | None = None,
    say: Say | None = None,
) -> Reconciled:
    """Make the state as the world is: the live values become what the state declares, what is gone leaves it.

    Raises Conflict while somebody runs, and for a stack whose last run did not end.
    """
    environ = os.environ if environ is None else environ
    work = _Work(require_project(cwd), environ, stack, say or (lambda line: None))
    return work.accept(approve or (lambda plan: True))


class _Work:
    """One reconciliation; the methods are its steps."""

    def __init__(self, project: Project, environ: Mapping[str, str], stack: str | None, say: Say) -> None:
        self.project, self.environ, self.stack, self.say = project, environ, stack, say
        self.folder = project.folder

    def reconcile(
        self,
        leaks: LeakChoice | None,
        choose: Callable[[DriftItem], LeakChoice],
        approve: Callable[[ReconcilePlan], bool],
    ) -> Reconciled:
        found = self._look()
        if not found.complete and not _is_cut_off(found):
            return Reconciled(found, acted=False)
        plan = ReconcilePlan(found, leaks)
        if plan.is_empty:
            return Reconciled(found, acted=False)
        _refuse_moved(found)
        self._refuse_running()
        plan = replace(plan, deletes=self._deletes() if plan.updates else ())
        if not approve(plan):
            return Reconciled(found, acted=False)
        if not self._recover(update=False).plan.is_empty:
            found = self._look()
        chosen = {item: self._choice(item, leaks, choose) for item in found.of("leaked")}
        result = self._terminate([item for item, what in chosen.items() if what == "terminate"])
        self._put_back(plan.updates or ReconcilePlan(found).updates)
        adopted, refused, python = self._adopt([item for item, what in chosen.items() if what == "adopt"])
        failed = (*result.failed, *refused)
        return Reconciled(
            with_reasons(self._look(), failed),
            terminated=result.ended,
            adopted=adopted,
            kept=tuple(item for item, what in chosen.items() if what == "keep"),
            failed=failed,
            python=python,
        )

    def accept(self, approve: Callable[[ReconcilePlan], bool]) -> Reconciled:
        found = self._look()
        plan = ReconcilePlan(found, accept=True)
        self._refuse_running()
        if found.of("unfinished", "in_progress"):
            hint = "`atlas drift --reconcile` finishes or undoes it"
            raise Conflict("a run of this stack did not end", operation="drift --accept", hint=hint)
        if not found.complete or plan.is_empty or not approve(plan):
            return Reconciled(found, acted=False)
        self.say("running `pulumi refresh`")
        self._cli().accept()
        return Reconciled(self._look())

    def _look(self) -> DriftReport:
        return report(self.folder, self.environ, stack=self.stack, say=self.say)

    def _cli(self) -> PulumiCli:
        return PulumiCli(self.folder, self.environ, stack=self.stack)

    def _deletes(self) -> tuple[Held, ...]:
        """Nothing when the program cannot be previewed: then the update will say so, and delete nothing."""
        cli = self._cli()
        with tempfile.TemporaryDirectory(prefix="atlas-drift-") as folder:
            log = Path(folder) / "events.json"
            if cli.preview(log).code or not log.exists():
                return ()
            urns = read_deletions(log.read_text(encoding="utf-8").splitlines())
        return tuple(held for held in parse(cli.stack_export()).things if held.urn in urns and not held.doomed)

    def _refuse_running(self) -> None:
        """A lock is no obstacle only when its holder is dead on this host."""
        cli = self._cli()
        name = cli.current_stack()
        for lock in find_locks(find_backend(self.environ, self.project), project=self.project.name, stack=name):
            if not lock.is_stale:
                hint = (
                    "wait until it has ended; when you know that it has: `pulumi cancel`, then the same command again"
                )
                raise Conflict(str(lock), operation="drift --reconcile", hint=hint)

    def _recover(self, *, update: bool) -> Outcome:
        """Raises the first thing's error when something could not be removed."""
        outcome = recover(self.folder, self.environ, stack=self.stack, say=self.say, update=update)
        for row in outcome.failed:
            raise ProviderFailure(
                f"{row['kind']} {row['name']}: {row['error'].get('message', '')}",
                operation="recover",
                hint=row["error"].get("hint") or "run the same command again",
            )
        return outcome

    def _choice(
        self, item: DriftItem, leaks: LeakChoice | None, choose: Callable[[DriftItem], LeakChoice]
    ) -> LeakChoice:
        if leaks is None:
            return choose(item)
        return "keep" if item.let_go and leaks == "terminate" else leaks

    def _terminate(self, items: list[DriftItem]) -> Ended:
        return Unheld(self.folder, self.environ, self._cli()).end(items, say=self.say) if items else Ended()

    def _put_back(self, updates: bool) -> None:
        """What the plan said is done: a thing that was replaced and is still to be deleted stands in the state alone."""
        if self._recover(update=True).updated:  # it runs the update when an earlier step asks for one
            return
        if updates:
            self.say("running `pulumi up --refresh`")
            self._cli().up_refresh()

    def _adopt(
        self, items: list[DriftItem]
    ) -> tuple[tuple[DriftItem, ...], tuple[tuple[DriftItem, AtlasError], ...], str]:
        done: list[DriftItem] = []
        failed: list[tuple[DriftItem, AtlasError]] = []
        python: list[str] = []
        for item in items:
            try:
                importer = Importer(
                    self.folder,
                    self.environ,
                    stack=self.stack,
                    provider=item.provider,
                    account=item.account,
                    say=self.say,
                )
                plan = importer.plan([(item.kind, item.id)])  # type: ignore[list-item]
                imported = importer.run(plan)
            except AtlasError as error:
                failed.append((item, error))
                continue
            done.append(item)
            python.append(plan.code)
            for note in (note for step in plan.steps for note in step.notes):
                self.say(f"{item.kind} {item.id}: {note}")
            failed += [(item, error) for _, error in imported.failed]  # the state holds it; the provider was not told
        return tuple(done), tuple(failed), "\n".join(python)


def _refuse_moved(found: DriftReport) -> None:
    """What this copy would make, the other would take for a leak."""
    if any(item.kind == "stack" and item.status == "changed" for item in found.items):
        raise Conflict(_words.MOVED, operation="drift --reconcile", hint=f"first {_words.ADOPT_OWNER}")


def with_reasons(found: DriftReport, failed: Sequence[tuple[DriftItem, AtlasError]]) -> DriftReport:
    """The report, where what could not be done to a thing is said with the thing."""
    errors = {(item.provider, item.kind, item.id): error for item, error in failed}
    items = (
        (item, errors.get((item.provider, item.kind, item.id)) if item.status == "leaked" else None)
        for item in found.items
    )
    told = tuple(replace(item, reason=f"{item.reason}; {error.one_line()}") if error else item for item, error in items)
    return replace(found, items=told)


def _is_cut_off(found: DriftReport) -> bool:
    """Whether the one thing to be seen is a state file that a kill cut off: recovery mends that before anything can be judged."""
    return [(item.kind, item.status) for item in found.items] == [("stack", "unfinished")]


def _named(item: DriftItem) -> str:
    ident = f" ({item.id})" if item.id else ""
    return f"{item.kind or 'resource'} {item.name or item.id or ''}{ident if item.name else ''}".rstrip()

"""Looks at everything that this package stands on, changes nothing, and says how to mend what is wrong."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pulumi_atlas import config
from pulumi_atlas import engine as engines
from pulumi_atlas.backend import Backend, Project, find_backend, find_project
from pulumi_atlas.client import IntentBook
from pulumi_atlas.config import Settings
from pulumi_atlas.drift._history import births_once_held
from pulumi_atlas.drift._plan import Note, RecoveryPlan, Scope, make_plan
from pulumi_atlas.drift._pulumi_cli import PulumiCli
from pulumi_atlas.drift.checkpoints import find_damaged
from pulumi_atlas.drift.examination import Problem, Report, Severity
from pulumi_atlas.drift.locks import Lock, find_locks
from pulumi_atlas.drift.stack_state import StackState, parse
from pulumi_atlas.errors import AtlasError, Unauthorized
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import abilities

__all__ = ["examine"]

_RECOVER = "atlas doctor --recover"
_LOW_GB = 1.0


def examine(cwd: Path, environ: Mapping[str, str] | None = None, *, stack: str | None = None) -> Report:
    """Examine this machine and, where `cwd` is in a Pulumi project, its stack. Sends nothing to providers.

    Never raises: what cannot be found out is itself a problem of the report.
    """
    return _Examination(cwd, os.environ if environ is None else environ, stack).report()


class _Examination:
    """Collects problems while it looks."""

    def __init__(self, cwd: Path, environ: Mapping[str, str], stack: str | None) -> None:
        self.cwd, self.environ, self.stack = cwd.absolute(), environ, stack
        self.problems: list[Problem] = []

    def report(self) -> Report:
        unsupported = engines.platform_problem()
        if unsupported:
            self._add("error", unsupported.what, unsupported.mend)
        engine, sdk = engines.find(self.environ), engines.sdk()
        for found in (*engine.problems, *sdk.problems):
            self._add("error", found.what, found.mend)
        settings = self._settings()
        project = self._project()
        backend = find_backend(self.environ, project)
        locks = self._locks(backend)
        state = self._state(project, engine) if engine.usable else None
        return Report(
            atlas={"version": _version()},
            python={"version": platform.python_version(), "path": sys.executable, "system": platform.system()},
            sdk={"version": sdk.version},
            engine=engine.as_json(),
            backend=backend.as_json(),
            project={**project.as_json(), "stack": self.stack} if project else None,
            config=self._config(settings),
            providers=tuple(self._provider(name, settings) for name in registry.known()),
            folders=tuple(self._folders(settings)),
            locks=tuple(lock.as_json() for lock in locks),
            pending=tuple(self._pending(state)),
            intents=tuple(self._intents(settings, project, backend, state)),
            problems=tuple(dict.fromkeys(self.problems)),
        )

    def _add(self, severity: Severity, what: str, mend: str) -> None:
        self.problems.append(Problem(severity, what, mend))

    def _told(self, error: AtlasError, severity: Severity = "error") -> None:
        self._add(severity, error.message, error.hint or "see the message")

    def _settings(self) -> Settings:
        try:
            settings = config.load(cwd=self.cwd, environ=self.environ)
        except AtlasError as error:
            self._told(error)
            return config.load(cwd=Path("/"), environ={k: v for k, v in self.environ.items() if k != "ATLAS_CONFIG"})
        for warning in settings.warnings:
            what, _, mend = warning.partition(": run ")
            self._add("warning", what, mend or "see the message")
        return settings

    def _config(self, settings: Settings) -> dict[str, Any]:
        return {
            "file": str(settings.file) if settings.file else None,
            "provider": settings.provider or self.environ.get("ATLAS_PROVIDER") or None,
            "accounts": sorted(settings.accounts),
        }

    def _project(self) -> Project | None:
        try:
            return find_project(self.cwd)
        except AtlasError as error:
            self._told(error)
            return None

    def _provider(self, name: str, settings: Settings) -> dict[str, Any]:
        row: dict[str, Any] = {"name": name, "abilities": [], "needs_key": None, "key_found": None}
        row |= {"key_source": None, "key_variable": None}
        try:
            kind = registry.load(name)
        except AtlasError as error:
            self._told(error)
            return row
        variable = kind.key_variable
        row |= {"abilities": list(abilities(kind)), "needs_key": variable is not None, "key_variable": variable}
        if variable is None:
            return row
        try:
            access = config.resolve_access(name, key_variable=variable, settings=settings, environ=self.environ)
        except Unauthorized as error:
            if name == self._config(settings)["provider"]:
                self._told(error, "warning")
            return row | {"key_found": False}
        except AtlasError as error:
            self._told(error)
            return row | {"key_found": False}
        return row | {"key_found": True, "key_source": access.key_source}

    def _folders(self, settings: Settings) -> list[dict[str, Any]]:
        wanted = [("state", settings.state_dir)]
        if self.environ.get("ATLAS_LOCAL_DIR"):
            wanted.append(("local", Path(self.environ["ATLAS_LOCAL_DIR"]).expanduser().absolute()))
        if self.environ.get("ATLAS_MOCK_FILE"):
            wanted.append(("mock", Path(self.environ["ATLAS_MOCK_FILE"]).expanduser().absolute().parent))
        return [self._folder(use, path) for use, path in wanted]

    def _folder(self, use: str, path: Path) -> dict[str, Any]:
        there = next(place for place in (path, *path.parents) if place.exists())
        writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
        free_gb = round(shutil.disk_usage(there).free / 1e9, 1)
        if not writable:
            name = "ATLAS_STATE_DIR" if use == "state" else "ATLAS_LOCAL_DIR" if use == "local" else "ATLAS_MOCK_FILE"
            self._add("error", f"the {use} folder {path} cannot be written", f"mend its permissions, or set {name}")
        if free_gb < _LOW_GB:
            self._add("warning", f"{free_gb} GB are free for the {use} folder {path}", "free some space")
        return {"use": use, "path": str(path), "writable": writable, "free_gb": free_gb}

    def _locks(self, backend: Backend) -> list[Lock]:
        found = find_locks(backend)
        for lock in found:
            if lock.is_stale:
                self._add("error", f"{lock}, which is dead", f"{_RECOVER} in that project's folder")
            elif lock.holder == "alive":
                self._add("note", f"{lock}, which is running", "nothing to do")
            else:
                mend = "when you know that it has ended: `pulumi cancel` in that project's folder"
                self._add("warning", f"{lock}, of which nothing can be known here", mend)
        return found

    def _state(self, project: Project | None, engine: engines.Engine) -> StackState | None:
        if project is None:
            return None
        damaged = find_damaged(find_backend(self.environ, project), project.name)
        for one in damaged:
            mend = (
                _RECOVER if one.backup else "`pulumi stack import` with a copy from .pulumi/history or .pulumi/backups"
            )
            self._add("error", str(one), mend)
        if damaged:
            return None
        try:
            cli = PulumiCli(project.folder, self.environ, stack=self.stack, engine=engine)
            self.stack = cli.current_stack()
            return parse(cli.stack_export())
        except AtlasError as error:
            self._add("note", f"the stack's state was not looked at: {error.message.splitlines()[0]}", error.hint)
            return None

    def _pending(self, state: StackState | None) -> list[dict[str, Any]]:
        found = state.pending if state else ()
        if found and not any(problem.what.endswith("which is running") for problem in self.problems):
            names = ", ".join(one.thing.name for one in found)
            self._add("error", f"the state holds operations that did not end: {names}", _RECOVER)
        return [one.as_json() for one in found]

    def _intents(
        self, settings: Settings, project: Project | None, backend: Backend, state: StackState | None
    ) -> list[dict[str, Any]]:
        book = IntentBook(settings.state_dir)
        try:
            notes = [Note(intent, book.leftover(intent)) for intent in book.unclosed()]
        except AtlasError as error:
            self._told(error)
            return []
        held = births_once_held(backend, project.name, self.stack) if project and self.stack else None
        scope = Scope(str(project.folder if project else self.cwd), state, held)
        plan = make_plan(notes, scope)
        self._judge(plan)
        verdicts = {i.birth: name for name in _VERDICTS for i in getattr(plan, name)}
        return [_intent(note, verdicts[note.intent.birth]) for note in notes]

    def _judge(self, plan: RecoveryPlan) -> None:
        for intent in plan.remove:
            what = f"a creation of {intent.kind} {intent.name} at {intent.provider} did not end; it may cost money"
            self._add("error", what, _RECOVER)
        for intent in plan.report:
            what = f"{intent.kind} {intent.name} ({intent.thing_id}) at {intent.provider} may be in no state"
            self._add("warning", what, "see whether a stack has it; if none, terminate it")
        for folder in sorted({intent.folder for intent in plan.elsewhere if intent.state == "open"}):
            count = sum(intent.folder == folder for intent in plan.elsewhere)
            self._add("warning", f"{count} creations of {folder} may not have ended", f"{_RECOVER} --cwd {folder}")


#: What a recovery would do with an intent: the names of the plan's groups.
_VERDICTS = ("remove", "close", "report", "busy", "elsewhere")


def _intent(note: Note, verdict: str) -> dict[str, Any]:
    intent = note.intent
    names = ("birth", "kind", "name", "provider", "account", "state", "thing_id", "folder")
    alive = "may live" if note.leftover.writer_may_live else "dead"
    return {
        **{name: getattr(intent, name) for name in names},
        "owner": str(intent.owner),
        "age_s": round(max(0.0, time.time() - intent.written_at), 1),
        "writer": {"pid": intent.writer.pid, "host": intent.writer.host, "state": alive},
        "verdict": verdict,
    }


def _version() -> str:
    try:
        return metadata.version("pulumi-atlas")
    except metadata.PackageNotFoundError:
        return "unknown"

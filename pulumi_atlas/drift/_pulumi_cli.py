"""Runs the Pulumi command line in a project's folder: never interactive, never for ever, its failures as our errors."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pulumi_atlas import engine as engines
from pulumi_atlas.engine import Engine
from pulumi_atlas.errors import AtlasError, ConfigError, Conflict, ProviderFailure, TimedOut

__all__ = ["Finished", "PulumiCli", "failure_of"]

_READ_S = 60.0
_LOOK_S = 900.0
_CHANGE_S = 3600.0
_GRACE_S = 120.0
_QUIET = ("--yes", "--skip-preview", "--non-interactive", "--color", "never")
_TAIL = 12


@dataclass(frozen=True)
class Finished:
    """How a command ended, and what it said."""

    command: str
    code: int
    stdout: str
    stderr: str

    def last_lines(self, count: int = _TAIL) -> str:
        """The end of what it said, errors last; of a run, what it says of errors. A traceback is only its last line."""
        lines = [line.strip() for line in (self.stdout + "\n" + self.stderr).splitlines() if line.strip()]
        if "Diagnostics:" in lines:
            lines = lines[lines.index("Diagnostics:") + 1 :]
            lines = lines[: lines.index("Resources:")] if "Resources:" in lines else lines
        return "\n".join(_without_traceback(lines)[-count:])


def _without_traceback(lines: Sequence[str]) -> list[str]:
    """In what the engine prints, a traceback ends with the exception, and that with the lines of the next resource."""
    kept, within = [], False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            within = True
        elif within and re.match(r"[\w.]+(Error|Exception|Interrupt|Exit|Warning)\b|[\w.]+: ", line):
            within = False
        if not within:
            kept.append(line)
    return kept


class PulumiCli:
    """One project, one stack (default: the selected one), one engine. Every method raises AtlasError when pulumi fails."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], *, stack: str | None = None, engine: Engine | None = None
    ) -> None:
        self.folder, self.stack = folder, stack
        self._engine = engine or engines.require(environ)
        self._environ = engines.command_environment(self._engine, environ)

    def current_stack(self) -> str:
        """The stack's name: as asked for, else the selected one. Raises ConfigError when none is selected."""
        if self.stack is None:
            self.stack = self._read("stack", "--show-name").stdout.strip().splitlines()[-1]
        return self.stack.rpartition("/")[2]

    def stack_export(self) -> dict[str, Any]:
        """The state, secrets as ciphertext."""
        text = self._read("stack", "export").stdout
        try:
            export = json.loads(text)
        except ValueError as error:
            raise ProviderFailure("`pulumi stack export` gave no JSON", operation="stack export") from error
        return dict(export)

    def atlas_config(self) -> dict[str, str]:
        """The stack's `atlas:…` configuration with secrets in clear: for the use of providers, never to be shown."""
        rows = json.loads(self._read("config", "--show-secrets", "--json").stdout or "{}")
        return {
            name: str(row["value"])
            for name, row in rows.items()
            if name.startswith("atlas:") and isinstance(row, dict) and row.get("value") is not None
        }

    def cancel(self) -> None:
        """Remove the stack's lock. The caller has made sure that its holder is dead."""
        self._change("cancel", "--yes", "--non-interactive", "--color", "never", *self._stack_option())

    def clear_pending_creates(self, root_urn: str | None) -> None:
        """Drop the pending creations from the state. With `root_urn` no provider is asked, so that it works in an outage."""
        target = ("--target", root_urn) if root_urn else ()
        self._change("refresh", "--clear-pending-creates", *_QUIET, *target, *self._stack_option())

    def look(self, event_log: Path, *, exclude: Sequence[str] = ()) -> Finished:
        """Ask each resource how it is, changing nothing; what is seen goes into the log. Does not raise when some cannot
        be asked: the log says which. `exclude`: URNs that are not asked."""
        words = ["refresh", "--preview-only", "--run-program", "--non-interactive", "--color", "never"]
        words += ["--suppress-outputs", "--event-log", str(event_log), *self._stack_option()]
        words += [word for urn in exclude for word in ("--exclude", urn)]
        return self._run(words, _LOOK_S, gently=False, environ={"PULUMI_DEBUG_COMMANDS": "true"})

    def preview(self, event_log: Path) -> Finished:
        """What an update would do; it goes into the log. Does not raise when the program cannot be previewed."""
        words = [
            "preview",
            "--non-interactive",
            "--color",
            "never",
            "--event-log",
            str(event_log),
            *self._stack_option(),
        ]
        return self._run(words, _LOOK_S, gently=False, environ={"PULUMI_DEBUG_COMMANDS": "true"})

    def accept(self) -> Finished:
        """Make the state as the world is."""
        return self._change("refresh", "--run-program", *_QUIET, *self._stack_option())

    def up_refresh(self) -> Finished:
        """Make the world as the program says, after a look at it."""
        return self._change("up", "--refresh", *_QUIET, *self._stack_option())

    def _stack_option(self) -> tuple[str, ...]:
        return ("--stack", self.stack) if self.stack else ()

    def _read(self, *words: str) -> Finished:
        option = () if words[-1] == "--show-name" else self._stack_option()
        return self._checked([*words, "--non-interactive", "--color", "never", *option], _READ_S, gently=False)

    def _change(self, *words: str, stdin: bytes = b"") -> Finished:
        return self._checked(list(words), _CHANGE_S, gently=True, stdin=stdin)

    def _checked(self, words: Sequence[str], timeout_s: float, *, gently: bool, stdin: bytes = b"") -> Finished:
        done = self._run(words, timeout_s, gently=gently, stdin=stdin)
        if done.code:
            raise failure_of(done)
        return done

    def _run(
        self,
        words: Sequence[str],
        timeout_s: float,
        *,
        gently: bool,
        environ: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Finished:
        command = str(self._engine.path or "pulumi")
        with (
            contextlib.ExitStack() as files
        ):  # files without a name: an orphan cannot block us, and nothing of them stays
            out, err, told = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            told.write(stdin)
            told.seek(0)
            try:
                child = subprocess.Popen(
                    [command, *words], cwd=self.folder, env={**self._environ, **(environ or {})},
                    stdin=told if stdin else subprocess.DEVNULL, stdout=out, stderr=err,
                )  # fmt: skip
            except OSError as error:
                raise ConfigError(
                    f"{command} cannot be run: {error.strerror}", operation=words[0], hint="run `atlas doctor`"
                ) from error
            code = _wait(child, f"pulumi {words[0]}", timeout_s, gently=gently)
            return Finished(f"pulumi {words[0]}", code, _text(out), _text(err))


def _wait(child: subprocess.Popen[bytes], name: str, timeout_s: float, *, gently: bool) -> int:
    """Its exit code. A command that changes things is asked to stop and never killed: that would leave what we mend."""
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        if not gently:
            child.kill()
            child.wait()
            raise TimedOut(f"`{name}` gave no answer within {timeout_s:g} s", operation=name) from None
    except KeyboardInterrupt:  # from a terminal, the child has been interrupted as well
        if not gently:
            child.kill()
            child.wait()
            raise
        _stop_gently(child, already_told=os.isatty(0))
        raise
    _stop_gently(child, already_told=False)
    raise TimedOut(f"`{name}` was stopped after {timeout_s:g} s", operation=name, hint="run the same command again")


def _stop_gently(child: subprocess.Popen[bytes], *, already_told: bool) -> None:
    if not already_told and child.poll() is None:
        child.send_signal(signal.SIGINT)
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        raise TimedOut(
            f"process {child.pid} does not end", operation="pulumi", hint="it may be creating something; look at it"
        ) from None


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", errors="replace")


_KNOWN: tuple[tuple[str, type[AtlasError], str], ...] = (
    (r"currently locked|another update is currently in progress|conflict: .*update", Conflict,
     "wait for the other run; when nobody runs one: `pulumi cancel`, then the same command again"),
    (r"no stack selected|please pass .*--stack|no stack named", ConfigError,
     "`pulumi stack select` one, or say --stack"),
    (r"no Pulumi\.yaml|no Pulumi project|project file", ConfigError, "run it in the project's folder, or say --cwd"),
    (r"passphrase", ConfigError, "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE"),
    (r"PULUMI_ACCESS_TOKEN|not logged in|pulumi login", ConfigError, "run `pulumi login`"),
)  # fmt: skip


def failure_of(done: Finished) -> AtlasError:
    """Why a command failed, as one of our errors."""
    said = done.last_lines()
    errors = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "error:" in line)
    for pattern, kind, hint in _KNOWN:
        if re.search(pattern, errors):
            return kind(f"`{done.command}` ended with {done.code}: {said}", operation=done.command, hint=hint)
    return ProviderFailure(
        f"`{done.command}` ended with {done.code}: {said}",
        operation=done.command,
        hint="mend what it says, then repeat",
    )

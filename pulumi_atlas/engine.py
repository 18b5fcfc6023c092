"""Finds the Pulumi engine on this machine, and says what is wrong with it. Reads and runs; never downloads, never imports pulumi.

An engine is the CLI `pulumi` together with its Python language host. Looked for, in this order: `PATH`; the folders of the
vendor's installer (`~/.pulumi`); the cache that `make engine` fills (`ATLAS_ENGINE_DIR`, else `pulumi_atlas/engine` in the
user's cache folder). The first one without a problem is taken.

Standard library only: the set-up script uses this file before anything is installed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pulumi_atlas.errors import ConfigError

__all__ = [
    "MINIMUM",
    "MINIMUM_SDK",
    "PARTS",
    "Engine",
    "Problem",
    "Sdk",
    "Version",
    "cache_folder",
    "command_environment",
    "find",
    "inspect",
    "parse_version",
    "platform_problem",
    "require",
    "sdk",
]

Version = tuple[int, int, int]

MINIMUM: Version = (3, 254, 0)
"""The oldest CLI that works: its import files are the first to accept the state of a dynamic resource."""

MINIMUM_SDK: Version = (3, 272, 0)
"""The oldest Python SDK that works."""

PARTS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
"""The executables that make a complete engine folder. The last two are scripts that the vendor ships beside the host."""

_INSTALL = "run `make engine` in a checkout, or install Pulumi as https://www.pulumi.com/docs/install/ says"
_PARALLEL = "64"


@dataclass(frozen=True)
class Problem:
    """What is wrong, and how to mend it."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what} — {self.mend}"


@dataclass(frozen=True)
class Engine:
    """The CLI that was found, or why none is usable. `folder` is the one to put first on `PATH`."""

    path: Path | None = None
    version: str | None = None
    language_host: Path | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def folder(self) -> Path | None:
        return self.path.parent if self.path else None

    @property
    def usable(self) -> bool:
        return self.path is not None and not self.problems

    def as_json(self) -> dict[str, Any]:
        """For `--json`: paths as text, problems as `{what, mend}`."""
        return {
            "path": str(self.path) if self.path else None,
            "folder": str(self.folder) if self.folder else None,
            "version": self.version,
            "language_host": str(self.language_host) if self.language_host else None,
            "problems": [{"what": p.what, "mend": p.mend} for p in self.problems],
        }


@dataclass(frozen=True)
class Sdk:
    """The `pulumi` package of the running interpreter."""

    version: str | None
    problems: tuple[Problem, ...] = ()


def find(environ: Mapping[str, str] | None = None) -> Engine:
    """The first usable engine; else the first one found, with its problems; else an Engine without a path.

    `environ` defaults to this process's. Runs `pulumi version` of each candidate once (about 0.1 s). Never raises.
    """
    environ = os.environ if environ is None else environ
    unsupported = platform_problem()
    if unsupported:
        return Engine(problems=(unsupported,))
    rejected: Engine | None = None
    for command in _candidates(environ):
        engine = inspect(command, environ)
        if engine.usable:
            return engine
        rejected = rejected or engine
    return rejected or Engine(problems=(Problem("no Pulumi CLI was found", _INSTALL),))


def require(environ: Mapping[str, str] | None = None) -> Engine:
    """As `find`. Raises ConfigError when no engine is usable; its hint says how to mend that."""
    engine = find(environ)
    if not engine.usable:
        first = engine.problems[0]
        raise ConfigError(first.what, operation="engine", hint=first.mend)
    return engine


def inspect(command: Path, environ: Mapping[str, str] | None = None) -> Engine:
    """What there is to say about one `pulumi` executable: its version, its language host, its problems."""
    environ = os.environ if environ is None else environ
    version, failure = _ask_version(command)
    host = _beside_or_on_path("pulumi-language-python", command, environ)
    engine = Engine(command, version, host)
    return replace(engine, problems=tuple(_problems_of(engine, failure, environ)))


def sdk() -> Sdk:
    """The Python SDK's version, from the package's metadata: nothing of it is imported."""
    mend = f'python -m pip install "pulumi>={_text(MINIMUM_SDK)},<4"'
    try:
        version = importlib.metadata.version("pulumi")
    except importlib.metadata.PackageNotFoundError:
        return Sdk(None, (Problem("the Pulumi SDK is not installed in this Python", mend),))
    if (parse_version(version) or (0, 0, 0)) < MINIMUM_SDK:
        problem = Problem(f"the Pulumi SDK is {version}; {_text(MINIMUM_SDK)} or newer is needed", mend)
        return Sdk(version, (problem,))
    return Sdk(version)


def platform_problem(system: str | None = None) -> Problem | None:
    """None on Linux and macOS. `system` is a name as `platform.system()` gives it."""
    system = system or platform.system()
    if system in ("Linux", "Darwin"):
        return None
    return Problem(f"pulumi_atlas does not run on {system}", "use Linux or macOS; on Windows, WSL is a Linux")


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where engines that we fetched or built are kept, one folder per version."""
    environ = os.environ if environ is None else environ
    if environ.get("ATLAS_ENGINE_DIR"):
        return Path(environ["ATLAS_ENGINE_DIR"]).expanduser().absolute()
    caches = Path(environ["XDG_CACHE_HOME"]) if environ.get("XDG_CACHE_HOME") else _home(environ) / ".cache"
    return caches / "pulumi_atlas" / "engine"


def command_environment(
    engine: Engine, environ: Mapping[str, str] | None = None, *, python: Path | None = None
) -> dict[str, str]:
    """The environment in which to run the CLI, so that programs and dynamic providers run in `python`.

    `python` (default: the running interpreter) becomes `PULUMI_PYTHON_CMD`, unless the environment names another one
    and `python` was not given. Nothing is said about backend, `PULUMI_HOME` or passphrase: those are the user's.
    """
    environ = os.environ if environ is None else environ
    interpreter = Path(python or environ.get("PULUMI_PYTHON_CMD") or sys.executable)
    defaults = {
        "PULUMI_PARALLEL": _PARALLEL,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
        "PULUMI_SUPPRESS_NEO_LINK": "true",
    }
    folders = [str(engine.folder)] if engine.folder else []
    if interpreter.is_absolute():
        folders.append(str(interpreter.parent))  # not resolved: a virtual environment's python is a link
    folders += environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(dict.fromkeys(folder for folder in folders if folder))
    return {**defaults, **environ, "PATH": path, "PULUMI_PYTHON_CMD": str(interpreter)}


def parse_version(text: str) -> Version | None:
    """The numbers of `v3.259.0` or `3.259.0-alpha.1`; None when there are none."""
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    on_path = shutil.which("pulumi", path=environ.get("PATH", os.defpath))
    if on_path:
        yield Path(on_path).absolute()
    vendor = Path(environ["PULUMI_HOME"]) if environ.get("PULUMI_HOME") else _home(environ) / ".pulumi"
    folders = [*_newest_first(vendor / "versions", "bin"), vendor / "bin", *_newest_first(cache_folder(environ), ".")]
    for folder in folders:
        command = folder / "pulumi"
        if os.access(command, os.X_OK) and command.is_file():
            yield command.absolute()


def _newest_first(parent: Path, inner: str) -> list[Path]:
    try:
        names = [entry.name for entry in parent.iterdir()]
    except OSError:
        return []
    versions = [(version, name) for name in names if not name.startswith(".") and (version := parse_version(name))]
    return [parent / name / inner for _, name in sorted(versions, reverse=True)]


def _problems_of(engine: Engine, failure: str, environ: Mapping[str, str]) -> Iterator[Problem]:
    assert engine.path is not None
    if failure:
        yield Problem(f"{engine.path} does not run: {failure}", _INSTALL)
        return
    if (parse_version(engine.version or "") or (0, 0, 0)) < MINIMUM:
        yield Problem(f"{engine.path} is version {engine.version}; {_text(MINIMUM)} or newer is needed", _INSTALL)
    for name in PARTS[1:]:
        beside = engine.language_host if name.endswith("-exec") and engine.language_host else engine.path
        if not _beside_or_on_path(name, beside, environ):
            yield Problem(f"{name} is neither beside {beside} nor on PATH", _INSTALL)


def _beside_or_on_path(name: str, command: Path, environ: Mapping[str, str]) -> Path | None:
    for folder in (command.parent, command.resolve().parent):
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name, path=environ.get("PATH", os.defpath))
    return Path(found).absolute() if found else None


def _ask_version(command: Path) -> tuple[str | None, str]:
    try:
        status = command.stat()
    except OSError as error:
        return None, error.strerror or str(error)
    return _run_version(str(command), status.st_mtime_ns, status.st_size)


@functools.cache
def _run_version(command: str, _mtime_ns: int, _size: int) -> tuple[str | None, str]:
    quiet = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        done = subprocess.run(
            [command, "version"],
            env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=30, check=False,
        )  # fmt: skip
    except OSError as error:
        return None, error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return None, "`pulumi version` gave no answer within 30 s"
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines or not parse_version(lines[-1]):
        said = (done.stderr or done.stdout).strip().splitlines()
        return None, said[-1][:200] if said else f"`pulumi version` ended with {done.returncode} and no version"
    return lines[-1].strip().removeprefix("v"), ""


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _text(version: Version) -> str:
    return ".".join(map(str, version))

"""Starting a pod's command: the check that it can be executed, and the process above it. All block."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi_atlas.errors import Failure, ProviderFailure
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.local import _sight
from pulumi_atlas.providers.local._translate import grace_of

__all__ = ["find_executable", "spawn", "working_dir_of"]

_SHIM = Path(__file__).with_name("_shim.py")
_START_TIMEOUT_S = 60.0


def working_dir_of(spec: ComputeSpec, folder: Path) -> Path:
    """Where the command runs: its `working_dir`, made absolute, or a folder of the pod's own."""
    return Path(spec.working_dir).expanduser().absolute() if spec.working_dir else folder / "work"


def find_executable(command: str, env: Mapping[str, str], working_dir: Path) -> Path | Failure:
    """The file that a command's first word names, by the pod's own PATH or from its working folder."""
    if "/" in command:
        path = working_dir / command
    else:
        found = shutil.which(command, path=env.get("PATH", os.defpath))
        path = (working_dir / found) if found else Path()
    if path == Path() or not path.exists():
        where = f"in {working_dir}" if "/" in command and not Path(command).is_absolute() else "on this computer"
        return Failure("command", f"'{command}' does not exist {where}", "check the spelling, PATH and working_dir")
    if path.is_dir() or not os.access(path, os.X_OK):
        return Failure("command", f"'{command}' is not executable", f"run: chmod +x {path}")
    return path


def spawn(record: Mapping[str, Any], folder: Path, *, executable: Path, env: Mapping[str, str]) -> None:
    """Start the command in a session of its own; it outlives the caller. Returns when it runs.

    Raises ProviderFailure, with nothing running, when it cannot be executed.
    """
    spec = ComputeSpec.model_validate(record["spec"])
    plan = {
        "run": record["run"],
        "folder": str(folder),
        "argv": spec.command,
        "executable": str(executable),
        "cwd": record["working_dir"],
        "env": dict(env),
        "on_exit": spec.on_exit,
        "max_lifetime_s": spec.max_lifetime_s,
        "grace_s": grace_of(spec),
    }
    answer = _ask((json.dumps(plan) + "\n").encode(), record, folder)
    if "pid" not in answer:
        raise ProviderFailure(
            f"the command could not be started: {answer.get('error') or _last_words(folder)}",
            hint="check command and working_dir, and that the disk has room",
        )


def _ask(plan: bytes, record: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    try:
        descriptor = os.open(folder / "shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            starter = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(_SHIM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_bare_environment(record),
                cwd="/",
            )
    except OSError as error:
        raise ProviderFailure(
            f"cannot start a process: {error.strerror or error}", hint="see the limits of this user"
        ) from error
    with starter:
        try:
            said, _ = starter.communicate(plan, timeout=_START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            starter.kill()
            _sight.call_off(record, folder)
            return {"error": f"it did not start within {_START_TIMEOUT_S:g} s"}
    try:
        answer = json.loads(said)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _bare_environment(record: Mapping[str, Any]) -> dict[str, str]:
    """What the process above the command needs, and the birth that it is known by; never the user's secrets."""
    needed = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
    kept = {name: os.environ[name] for name in needed if name in os.environ}
    return {**kept, "ATLAS_POD_ID": record["id"], "ATLAS_BIRTH": record["birth"]}


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / "shim.log").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it ended before it answered"

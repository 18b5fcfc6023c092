"""The supervisor's process as the provider sees it: starting, finding, asking and ending it. All functions block."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pulumi_atlas import files, processes
from pulumi_atlas.errors import AtlasError, Failure, Interrupted, InvalidSpec, ProviderFailure
from pulumi_atlas.models import EndpointSpec
from pulumi_atlas.processes import ProcessIdentity
from pulumi_atlas.providers.local._endpoint_spec import inherited, worker_file
from pulumi_atlas.providers.local._supervisor._settings import Settings

__all__ = ["ask", "await_serving", "check_worker", "end", "find", "start", "tail"]

_MAIN = Path(__file__).with_name("_supervisor") / "__main__.py"
_START_TIMEOUT_S = 30.0
_CHECK_TIMEOUT_S = 60.0
_KILL_TIMEOUT_S = 10.0


def check_worker(spec: EndpointSpec, settings: Settings, operation: str) -> None:
    """Raise InvalidSpec when the working folder, the command or the handler is not there. Runs no code of the user's,
    but for the packages above a handler's module."""
    folder = Path(settings.working_dir)
    if spec.working_dir and not folder.is_dir():
        raise _invalid("working_dir", f"there is no folder {folder}", "create it, or correct the path", operation)
    env = {**inherited(os.environ), **spec.env}
    if spec.command is not None:
        program = spec.command[0]
        found = shutil.which(program if "/" not in program else str(folder / program), path=env.get("PATH"))
        if found is None:
            raise _invalid("command", f"there is no program {program}", "install it, or correct the command", operation)
        return
    problem = _handler_problem(str(spec.handler), folder if folder.is_dir() else Path("/"), env)
    if problem:
        raise _invalid("handler", problem, "working_dir= is where modules are looked for first", operation)


def start(settings: Settings, folder: Path, root: Path) -> ProcessIdentity:
    """Start the supervisor, detached. Returns when its process exists, which is before it answers."""
    settings.save(folder)
    if Path(settings.working_dir) == folder / "work":
        (folder / "work").mkdir(mode=0o700, exist_ok=True)
    env = {
        **inherited(os.environ),
        "ATLAS_BIRTH": settings.birth,
        "ATLAS_ENDPOINT_ID": settings.endpoint,
        "ATLAS_LOCAL_DIR": str(root),
    }
    command = [sys.executable, "-P", str(_MAIN), str(folder), secrets.token_hex(8)]
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProviderFailure(f"the endpoint's supervisor could not be started: {error}", provider="local") from error
    pid = done.stdout.strip()
    found = processes.identify(int(pid)) if pid.isdigit() else None
    if found is None:
        said = done.stderr.decode("utf-8", "replace").strip() or tail(folder / "supervisor.log") or "nothing was said"
        raise ProviderFailure(f"the endpoint's supervisor ended at once: {said}", provider="local")
    return found


def await_serving(
    record: Mapping[str, Any], folder: Path, *, settle_s: float, given_up: threading.Event
) -> dict[str, Any]:
    """Wait until the supervisor answers; with workers to keep, also until the first is ready or has failed, for at most
    `settle_s` seconds. Its state. Raises ProviderFailure with its last words when it died, Interrupted when given up."""
    process = ProcessIdentity.from_json(record["process"])
    until = time.monotonic() + _START_TIMEOUT_S
    state: dict[str, Any] | None = None
    while state is None:
        try:
            state = ask(record, "state")
        except OSError:
            if not process.is_alive():
                words = tail(folder / "supervisor.log") or "(nothing was written)"
                raise ProviderFailure(f"the endpoint's supervisor ended: {words}", provider="local") from None
            if time.monotonic() > until:
                words = tail(folder / "supervisor.log")
                raise ProviderFailure(
                    f"the endpoint does not answer; its log ends: {words}", provider="local"
                ) from None
            _pause(given_up)
    until = time.monotonic() + settle_s
    while not state["serves"] and not state["failures"] and time.monotonic() < until:
        _pause(given_up)
        with contextlib.suppress(OSError):
            state = ask(record, "state")
    return state


def ask(record: Mapping[str, Any], what: str, body: Any = None, *, timeout_s: float = 5.0) -> dict[str, Any]:
    """One request to the supervisor's control routes. Raises OSError when it does not answer as it should."""
    connection = http.client.HTTPConnection("127.0.0.1", record["port"], timeout=timeout_s)
    headers = {"Authorization": f"Bearer {record['control_key']}", "Content-Type": "application/json"}
    path = f"/control/{record['id']}/{what}"
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        value = json.loads(answer.read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"not an answer of a supervisor: {error!r}") from error
    finally:
        connection.close()
    if answer.status != 200 or not isinstance(value, dict):
        raise OSError(f"the supervisor answered HTTP {answer.status}")
    return value


def find(record: Mapping[str, Any], folder: Path) -> ProcessIdentity | None:
    """The supervisor of this record if it lives: the recorded process, or the one that names itself in the folder."""
    noted: Any = None
    with contextlib.suppress(AtlasError):
        noted = files.read_json(folder / "process.json")
    candidates = [record.get("process"), noted.get("process") if isinstance(noted, dict) else None]
    for fields in filter(None, candidates):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            process = ProcessIdentity.from_json(fields)
            if process.is_alive() and _is_of(process, record):
                return process
    return None


def end(record: Mapping[str, Any], folder: Path, *, cancel: bool, grace_s: float) -> None:
    """End the supervisor and every process of this endpoint's birth. Raises ProviderFailure when one stays."""
    supervisor = find(record, folder)
    if supervisor is not None:
        with contextlib.suppress(OSError):
            ask(record, "stop", {"cancel": cancel}, timeout_s=2.0)
        processes.send_signal(supervisor, signal.SIGTERM)
        _wait_until_gone([supervisor], grace_s)
    until = time.monotonic() + _KILL_TIMEOUT_S
    while left := _of_birth(record):
        for target in left:
            processes.send_signal(target, signal.SIGKILL)
        if time.monotonic() > until:
            pids = ", ".join(str(target.pid) for target in left)
            raise ProviderFailure(
                f"processes of endpoint {record['id']} do not end: {pids}",
                provider="local",
                hint="end them by hand and run the same command again",
            )
        _wait_until_gone(left, 0.5)


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log on one line each; empty when there is none."""
    try:
        text = path.read_bytes()[-4_000:].decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def _pause(given_up: threading.Event) -> None:
    if given_up.wait(0.02):
        raise Interrupted("the wait for the endpoint was given up", provider="local")


def _of_birth(record: Mapping[str, Any]) -> list[ProcessIdentity]:
    """Never the caller: an endpoint may be deleted by its own worker's program."""
    return [each for each in processes.processes_with("ATLAS_BIRTH", record["birth"]) if each.pid != os.getpid()]


def _is_of(process: ProcessIdentity, record: Mapping[str, Any]) -> bool:
    return processes.environment_of(process.pid).get("ATLAS_BIRTH") == str(record["birth"])


def _wait_until_gone(targets: Iterable[ProcessIdentity], timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while any(target.is_alive() for target in targets) and time.monotonic() < until:
        time.sleep(0.01)


def _handler_problem(handler: str, folder: Path, env: Mapping[str, str]) -> str:
    command = [sys.executable, "-P", worker_file(), "--check", handler]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it could not be looked up: {error}"
    if done.returncode == 0:
        return ""
    words = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "\n".join(words[-8:]) or f"looking it up ended with exit code {done.returncode}"


def _invalid(path: str, message: str, hint: str, operation: str) -> InvalidSpec:
    return InvalidSpec([Failure(path, message, hint)], provider="local", operation=operation)

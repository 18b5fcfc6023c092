"""A JupyterHub, for its activity endpoint: installed once into a virtual environment of its own, outside the project.

Only the hub runs: its proxy is a node program, which has no part in the API's requests that are sent to the hub itself. So a
proxy stands in that does nothing. Its other parts are as it comes: an SQLite file, a key of a service.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.parts.load import post
from benchmarks.parts.processes import Process, running
from benchmarks.project import MeasurementFailed

__all__ = ["Hub", "activities", "served"]

_WANTED = "jupyterhub>=5,<7"
_KEY = "a-key-of-the-bench"
_START_S = 120.0

_CONFIG = """
import sys

from jupyterhub.proxy import Proxy


class NoProxy(Proxy):
    should_start = False

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass

    async def get_all_routes(self):
        return {{}}

    async def get_route(self, routespec):
        return None

    async def check_routes(self, user_dict, service_dict, routes=None):
        pass


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.hub_ip, c.JupyterHub.hub_port = "127.0.0.1", {port}
c.JupyterHub.log_level = "WARN"
c.JupyterHub.services = [{{"name": "bench", "api_token": {key!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "users:activity"]}}
]
print("configured", flush=True)
"""


@dataclass(frozen=True)
class Hub:
    """A hub that answers. `version`: which."""

    process: Process
    port: int
    version: str
    users: tuple[str, ...]


@contextlib.contextmanager
def served(folder: Path, users: int) -> Iterator[Hub]:
    """A fresh hub with that many users. Raises MeasurementFailed when it cannot be installed or started."""
    python = _installed()
    port = _free_port()
    folder.mkdir(parents=True)
    (folder / "config.py").write_text(_CONFIG.format(port=port, key=_KEY))
    command = [str(python), "-m", "jupyterhub", "-f", "config.py"]
    environ = {"PATH": f"{python.parent}:{os.environ.get('PATH', '')}", "HOME": str(folder), "LANG": "C.UTF-8"}
    with running(command, cwd=folder, log=folder / "log", environ=environ) as process:
        _until_it_answers(process, port, folder / "log")
        names = tuple(f"user-{number}" for number in range(users))
        status, told = _ask(port, "POST", "/hub/api/users", {"usernames": list(names)})
        if status != 201:
            raise MeasurementFailed(f"the hub made no users: {status} {told[:300]}")
        version = json.loads(_ask(port, "GET", "/hub/api/")[1])["version"]
        yield Hub(process, port, version, names)


def activities(hub: Hub, count: int) -> list[str]:
    """Requests, each of which tells of newer activity than the one before: older ones would not be written."""
    begin = datetime.now(UTC) - timedelta(days=1)
    told = ((begin + timedelta(milliseconds=number)).isoformat() for number in range(count))
    return [
        post(
            f"/hub/api/users/{hub.users[number % len(hub.users)]}/activity",
            _KEY,
            json.dumps({"last_activity": at}),
            host=f"127.0.0.1:{hub.port}",
            scheme="token",
        )
        for number, at in enumerate(told)
    ]


def _installed() -> Path:
    """The interpreter of the environment that has it. Raises MeasurementFailed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "pulumi_atlas" / "bench" / f"jupyterhub-{sys.version_info.major}.{sys.version_info.minor}"
    python, done = place / "bin" / "python", place / "installed"
    if done.exists() and done.read_text() == _WANTED:
        return python
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True, capture_output=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", _WANTED],
            check=True, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise MeasurementFailed(f"JupyterHub could not be installed: {said[-1] if said else error}") from None
    done.write_text(_WANTED)
    return python


def _until_it_answers(process: Process, port: int, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.popen.poll() is None:
        with contextlib.suppress(OSError):
            if _ask(port, "GET", "/hub/api/")[0] == 200:
                return
        time.sleep(0.1)
    raise MeasurementFailed(f"the hub did not start: {log.read_text()[-2000:]}")


def _ask(port: int, method: str, path: str, body: object = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Authorization": f"token {_KEY}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

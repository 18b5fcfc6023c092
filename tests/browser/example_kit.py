"""An example that has a companion, running as its page says: copied, with ports of its own, and gone without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from playwright.sync_api import BrowserContext

from atlas_session import CompanionClient
from pulumi_atlas import Atlas

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: The ports that the pages name: of the backend, and of the companion.
BACKEND, COMPANION = "8010", "8020"
PATIENCE_S = 120.0

T = TypeVar("T")
#: What the fixture `new_context` gives.
NewContext = Callable[..., BrowserContext]


def until(found: Callable[[], T], *, what: str = "it") -> T:
    """What it gives as soon as that is true; fails after a generous while."""
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.05)
    return value


def free_ports(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in taken]


def copied(name: str, folder: Path, **settings: Any) -> tuple[str, str]:
    """The example in `folder`, with other ports for backend and companion, and settings of the companion. Gives the ports."""
    shutil.copytree(EXAMPLES / name, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    ports = free_ports(2)
    for file in (folder / "atlas.yaml", folder / "README.md"):
        text = file.read_text(encoding="utf-8")
        for old, new in zip((BACKEND, COMPANION), ports, strict=True):
            text = re.sub(rf"\b{old}\b", new, text)
        file.write_text(text, encoding="utf-8")
    if settings:
        told = yaml.safe_load((folder / "atlas.yaml").read_text(encoding="utf-8"))
        told["runtime"] |= settings
        (folder / "atlas.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    return ports[0], ports[1]


def environment() -> dict[str, str]:
    """This process's, with our `python` and `atlas` first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


class Example:
    """`url`: of the page. `companion`: of the companion, `key` and `client`: an admin's of it."""

    def __init__(self, name: str, folder: Path, **settings: Any) -> None:
        self.folder = folder
        backend, companion = copied(name, folder, **settings)
        self.url, self.companion = f"http://127.0.0.1:{backend}", f"http://127.0.0.1:{companion}"
        self.store = f"sqlite:///{folder / 'store.db'}"
        self._listen = ("--listen", f"127.0.0.1:{companion}", "--store", self.store, "--deployment", "example")
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._serve_companion()
        self.key = (folder / "store.db.admin-key").read_text(encoding="utf-8").strip()
        backend_key = self.ask("/v1/keys", {"scope": "backend"})["key"]
        environ = {"ATLAS_COMPANION_URL": self.companion, "ATLAS_COMPANION_KEY": backend_key}
        self._serve("backend", (sys.executable,), "backend.py", backend, **environ)
        until(lambda: self.answers(self.url), what="a backend that is ready")
        self.client = CompanionClient(self.companion, key=self.key)

    def restart_companion(self) -> None:
        assert _ended(self._running["companion"]) == 0, self.logs()
        self._serve_companion()

    def _serve_companion(self) -> None:
        self._serve("companion", _ATLAS, "runtime", "serve", *self._listen)
        until(lambda: self.answers(f"{self.companion}/readyz"), what="a companion that is ready")

    def _serve(self, name: str, command: tuple[str, ...], *words: str, **environ: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*command, *words],
                cwd=self.folder,
                env=environment() | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def answers(self, url: str) -> bool:
        for one in self._running.values():
            assert one.poll() is None, self.logs()
        with contextlib.suppress(OSError):
            return _DIRECT.open(url, timeout=10).status == 200
        return False

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the companion answers its admin; with a body it is a POST."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.companion + path, data, headers)
        with _DIRECT.open(request, timeout=30) as answer:
            return json.load(answer)

    def sessions(self) -> list[dict[str, Any]]:
        found = self.ask("/v1/sessions")["sessions"]
        assert isinstance(found, list)
        return found

    def session(self) -> dict[str, Any]:
        """The only one that there is."""
        [one] = self.sessions()
        return one

    def pods(self) -> list[str]:
        with Atlas("local") as atlas:
            return [pod.id for pod in atlas.list_compute() if pod.status != "terminated"]

    def logs(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text()}" for file in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """End every session, see that its pod goes, and then end companion and backend as an operator would."""
        try:
            for one in self.sessions():
                if one["status"] not in ("terminated", "failed"):
                    self.client.close_session(one["id"])
            until(lambda: not self.pods(), what="the end of all pods")
        finally:
            self.client.close()
            codes = {name: _ended(one) for name, one in reversed(self._running.items())}
        # uvicorn ends by the signal itself
        assert codes == {"backend": -signal.SIGTERM, "companion": 0}, f"{codes}\n{self.logs()}"


def status_of(url: str, **headers: str) -> int | None:
    """What a GET is answered; None when nobody answers."""
    try:
        with _DIRECT.open(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def running(name: str, folder: Path, **settings: Any) -> Iterator[Example]:
    """For a fixture."""
    made = Example(name, folder, **settings)
    yield made
    made.stop()


def _ended(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


_ATLAS = (sys.executable, "-c", "from pulumi_atlas.cli import main; main()")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

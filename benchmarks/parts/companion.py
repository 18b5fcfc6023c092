"""A companion as its operator runs it, `atlas runtime serve`, with a store on disk, and its API asked as an admin would."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from benchmarks.parts.processes import Process, running
from benchmarks.project import MeasurementFailed

__all__ = ["SPEC", "Api", "serving"]

#: A pod of the mock cloud, which sends nothing anywhere.
SPEC: Mapping[str, Any] = {"provider": "mock", "image": "example/image:1", "command": ["serve"]}
#: Where the mock cloud's pods would reach it, and how the bench does.
_REACHED = {"public_url": "https://companion.example", "hosts": ["127.0.0.1", "companion.example"]}
_READY = re.compile(r"atlas runtime: ready on http://127\.0\.0\.1:(\d+) ")


class Api:
    """A running companion. `process`: it; `began_s`: how long it took until it said that it was ready."""

    def __init__(self, process: Process, port: int, key: str, began_s: float) -> None:
        self.process, self.port, self.key, self.began_s = process, port, key, began_s

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer's JSON. Raises MeasurementFailed for anything but success."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise MeasurementFailed(f"{method} {path} was answered with {answer.status}: {text[:500]!r}")
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def opened(self, count: int, spec: Mapping[str, Any] = SPEC) -> list[dict[str, Any]]:
        """So many sessions that are ready."""

        def one(number: int) -> dict[str, Any]:
            request = {"spec": dict(spec), "owner": f"user-{number}"}
            session = self.ask("POST", "/v1/sessions?wait=ready&timeout_s=60", request)
            if session["state"] != "ready":
                raise MeasurementFailed(f"a session became {session['state']}: {session['reason']}")
            return session

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(one, range(count)))


@contextlib.contextmanager
def serving(folder: Path, settings: Mapping[str, Any] | None = None, *, store: Path | None = None) -> Iterator[Api]:
    """One with these settings, in a folder of its own. `store`: a file that is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "atlas.yaml").write_text(yaml.safe_dump({"runtime": {**_REACHED, **(settings or {})}}))
    store = store or folder / "store" / "sessions.db"
    command = [
        str(Path(sys.executable).with_name("atlas")), "runtime", "serve", "--listen", "127.0.0.1:0",
        "--store", f"sqlite:///{store}", "--deployment", "bench", "--config", "atlas.yaml",
    ]  # fmt: skip
    environ = {
        "PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LANG": "C.UTF-8",
        "ATLAS_STATE_DIR": str(folder / "state"), "ATLAS_LOCAL_DIR": str(folder / "local"),
    }  # fmt: skip
    began = time.perf_counter()
    with running(command, cwd=folder, log=folder / "log", environ=environ) as process:
        began_s = time.perf_counter() - began
        found = _READY.match(process.first)
        if found is None:
            raise MeasurementFailed(f"the companion said {process.first!r}")
        key = store.with_name(f"{store.name}.admin-key").read_text().strip()
        yield Api(process, int(found[1]), key, began_s)

"""One companion as a real process, with a cloud, a user of its API, and a hand that kills it at a step."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from pulumi_atlas import Atlas
from pulumi_atlas.ids import Birth, Tag
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.processes import processes_with, send_signal
from pulumi_atlas.providers.mock import World as Mock
from tests.faults.world import Broken, wait_until

__all__ = ["FLUSH", "Cloud", "Served", "Told"]

#: Held and let go on at each flush, so that it is known which touches are on disk.
FLUSH = ("session.flush.1", "session.flush.2")

_READY = re.compile(r"atlas runtime: ready on (http://127\.0\.0\.1:\d+) ")
_SETTINGS = {
    "public_url": "https://companion.example", "flush_interval_s": 0.3, "grace_s": 60.3, "inspect_interval_s": 0.5,
    "orphan_sweep": "on", "orphan_min_age_s": 0.5, "warn_before_s": 0, "irrevocable_retry_s": 5, "call_timeout_s": 60,
}  # fmt: skip


class Cloud:
    """What is really there: `local`, or a mock cloud in a file. `duplicates`: sessions that ever had two live pods."""

    def __init__(self, provider: str, folder: Path) -> None:
        self.provider, self._file = provider, folder / "cloud.json"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ATLAS_", "PULUMI_"))},
            "ATLAS_MOCK_FILE": str(self._file),
            "ATLAS_LOCAL_DIR": str(folder / "local"),
            "ATLAS_STATE_DIR": str(folder / "state"),
        }
        self._mock = Mock.open(self._file)
        self._atlas = Atlas("local", environ=self.environ, cwd=folder)
        self.duplicates: set[str] = set()
        self._closed = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def pods(self) -> list[Compute]:
        """Those that live, and that a deployment owns."""
        found = self._mock.pods.values() if self.provider == "mock" else self._atlas.list_compute()
        ours = (pod for pod in found if pod.owner is not None and pod.owner.kind == "deployment")
        return [pod for pod in ours if pod.status != "terminated"]

    def plant(self, like: Compute) -> None:
        """A pod that is of the same birth and session, as a request that is carried out late makes one."""
        assert like.owner is not None
        self._mock.plant(ComputeSpec(), tag=Tag(Birth(like.birth or ""), like.owner))

    def close(self) -> None:
        self._closed.set()
        self._watching.join()
        for one in processes_with("ATLAS_LOCAL_DIR", self.environ["ATLAS_LOCAL_DIR"]):
            send_signal(one, signal.SIGKILL)

    def _watch(self) -> None:
        while not self._closed.wait(0.05):
            with contextlib.suppress(Exception):
                owners = Counter(str(pod.owner) for pod in self.pods())
                self.duplicates |= {owner for owner, count in owners.items() if count > 1}


class Told:
    """What a stream of events told, from number 0 on; it ends with its process."""

    def __init__(self, url: str, key: str) -> None:
        self.events: dict[int, tuple[str, str]] = {}
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=None, trust_env=False
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            with self._client.stream("GET", "/v1/events", headers={"Last-Event-ID": "0"}) as answer:
                self._read(answer)
        except (httpx.HTTPError, httpx.StreamError, OSError):
            pass
        finally:
            self._client.close()

    def _read(self, answer: httpx.Response) -> None:
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif "data" in fields and fields.get("id", "").isdigit():
                self.events[int(fields["id"])] = (fields.get("event", ""), fields["data"])
                fields = {}
            else:
                fields = {}

    def join(self) -> None:
        """Once its process is gone."""
        self._thread.join(30)

    def data(self) -> list[dict[str, Any]]:
        """The events' data, in order, with `_kind` and `_id`."""
        rows = sorted(self.events.items())
        return [{**json.loads(data), "_kind": kind, "_id": number} for number, (kind, data) in rows]


class Served:
    """A run of `atlas runtime serve` on the store of the folder. It is held at `step` once `arm` was called."""

    def __init__(self, folder: Path, environ: Mapping[str, str], step: str = "") -> None:
        self._points = folder / "points"
        self._points.mkdir(exist_ok=True)
        self._step, self._armed, self.held = step, False, threading.Event()
        self._lock, self._closed = threading.Lock(), threading.Event()
        self.touched: Counter[str] = Counter()  # acknowledged touches
        self.durable: Counter[str] = Counter()  # those that a flush which has ended took along
        self._taken: Counter[str] = Counter()
        self.touched_at: dict[str, float] = {}  # when the last acknowledged one was sent
        self.said: dict[str, set[str]] = defaultdict(set)  # states that an answer acknowledged
        config, self._log = folder / "atlas.yaml", (folder / "log").open("ab")
        config.write_text(json.dumps({"runtime": _SETTINGS}))
        points = {"ATLAS_FAILPOINT": ",".join({*FLUSH, step}), "ATLAS_FAILPOINT_DIR": str(self._points)} if step else {}
        words = ["serve", "--listen", "127.0.0.1:0", "--store", f"sqlite:///{folder / 'store' / 'sessions.db'}"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from pulumi_atlas.cli import main; main()", "runtime", *words, "--config", str(config)],
            cwd=folder, env={**environ, **points}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log,
            text=True,
        )  # fmt: skip
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()
        self._begin(folder)

    def _begin(self, folder: Path) -> None:
        assert self.process.stdout is not None
        found = _READY.match(self.process.stdout.readline())
        if found is None:
            self.end()
            raise Broken(f"the companion did not start: {(folder / 'log').read_text()[-1500:]}")
        self.url, self.key = found[1], (folder / "store" / "sessions.db.admin-key").read_text().strip()
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60, trust_env=False
        )
        self.told = Told(self.url, self.key)

    # -- its user

    def open(self, provider: str, **fields: Any) -> dict[str, Any]:
        """The answer to an opening. Raises httpx.TransportError when there is none."""
        spec = {"provider": provider, "command": ["sleep", "9999"]}
        return self._ask("POST", "/v1/sessions", json={"spec": spec, "owner": "ann", **fields})

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """The answer; what it says of a session's state is noted."""
        return self._ask(method, path)

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self.http.request(method, path, **options)
        if answer.status_code >= 400:
            raise Broken(f"{method} {path} → {answer.status_code} {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        if method != "GET" and "state" in told:
            self.said[told["id"]].add(told["state"])
        return told

    def touch(self, session: Mapping[str, Any], now: float) -> None:
        """One touch, noted when it is acknowledged."""
        headers = {"Authorization": f"Bearer {session['touch_token']}"}
        answer = self.http.post(f"/v1/sessions/{session['id']}/touch", json={"source": "http"}, headers=headers)
        if answer.status_code == 200:
            with self._lock:
                self.touched[session["id"]] += 1
                self.touched_at[session["id"]] = now

    def sessions(self) -> dict[str, dict[str, Any]]:
        """All that it knows, by id."""
        return {row["id"]: row for row in self.ask("GET", "/v1/sessions?limit=200")["sessions"]}

    def until(self, session_id: str, *states: str) -> dict[str, Any]:
        """The session once it has one of the states. Raises Broken."""

        def reached() -> dict[str, Any] | None:
            row = self.ask("GET", f"/v1/sessions/{session_id}")
            return row if row["state"] in states else None

        row: dict[str, Any] = wait_until(f"{session_id} to be {states}", reached, timeout=90)
        return row

    # -- the hand

    def arm(self) -> None:
        """From now on it is held when it reaches the step."""
        with self._lock:
            self._armed = True

    def kill(self) -> None:
        """SIGKILL, once it is held."""
        if not self.held.wait(90):
            raise Broken(f"{self._step} was not reached")
        self.end()

    def end(self) -> None:
        """SIGKILL, now."""
        self.process.kill()
        self.process.wait(60)
        self._closed.set()
        self._watching.join()
        for mark in self._points.iterdir():
            mark.unlink(missing_ok=True)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        if hasattr(self, "told"):
            self.told.join()
            self.http.close()

    def _watch(self) -> None:
        """Flushes are let on and noted. A process that is held answers nobody, so that what was acknowledged stands still."""
        while not self._closed.wait(0.01):
            for mark in self._points.iterdir():
                name = mark.name.removesuffix(f".{self.process.pid}")
                with self._lock:
                    self._pass(name)
                    if self._armed and name == self._step:
                        self.held.set()
                        return
                mark.unlink(missing_ok=True)

    def _pass(self, name: str) -> None:
        if name == FLUSH[0]:
            self._taken = Counter(self.touched)
        elif name == FLUSH[1]:
            self.durable = Counter(self._taken)

"""Worker processes: starting them with what RunPod's worker protocol expects, ending them, and noticing their end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pulumi_atlas.providers.local._supervisor._scaling import View
from pulumi_atlas.providers.local._supervisor._settings import Settings
from pulumi_atlas.providers.local._supervisor._warden import MARK

__all__ = ["Pool", "Worker", "tail", "worker_environment"]

_KEPT_LOGS = 20


@dataclass(eq=False)
class Worker:
    """One worker process, leader of its own session. `token` opens the worker routes for it alone.

    `stops`: jobs that it is to stop, each with the time at which it is killed if it has not obeyed; `told`: when it last
    heard of each. `ending`: we asked it to end; `kill_at`: when it is killed if it is still there.
    """

    id: str
    token: str = field(repr=False)
    process: subprocess.Popen[bytes]
    log: Path
    spawned: float
    idle_since: float
    last_seen: float
    pings: bool = False
    ready: bool = False
    ending: bool = False
    killed_for: str = ""
    kill_at: float | None = None
    finished: int = 0
    stops: dict[str, float] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)

    def seen(self, now: float) -> None:
        self.last_seen = now

    def obeyed(self, job_id: str) -> None:
        self.stops.pop(job_id, None)
        self.told.pop(job_id, None)

    def view(self, held: Collection[str]) -> View:
        if self.ending:
            return View(self.id, "ending")
        if held or self.stops:
            return View(self.id, "running")
        return View(self.id, "idle" if self.ready else "starting", self.idle_since)


class Pool:
    """The workers of one supervisor run."""

    def __init__(self, settings: Settings, folder: Path, run: str) -> None:
        self.settings = settings
        self.workers: dict[str, Worker] = {}
        self._folder = folder / "workers"
        self._run = run

    def start(self, now: float) -> Worker:
        """Start one more worker. Raises OSError when its command cannot be started."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        worker_id, token = f"w-{secrets.token_hex(5)}", secrets.token_hex(20)
        log = self._folder / f"{worker_id}.log"
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            process = subprocess.Popen(
                self.settings.worker,
                cwd=self.settings.working_dir,
                env=worker_environment(self.settings, self._run, worker_id, token),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # one prepared system call that takes no locks
            )
        worker = Worker(worker_id, token, process, log, spawned=now, idle_since=now, last_seen=now)
        self.workers[worker_id] = worker
        self._drop_old_logs()
        return worker

    def end(self, worker: Worker, now: float, *, grace_s: float | None = None) -> None:
        """Ask the worker to end; it is killed when it has not within the grace."""
        if not worker.ending:
            worker.ending = True
            worker.kill_at = now + (self.settings.options.stop_grace_s if grace_s is None else grace_s)
            _signal_group(worker, signal.SIGTERM)

    def kill(self, worker: Worker, reason: str) -> None:
        worker.killed_for = worker.killed_for or reason
        _signal_group(worker, signal.SIGKILL)

    def reap(self) -> Iterator[Worker]:
        """Take out the workers whose process has ended, and end what they left in their process group."""
        for worker in list(self.workers.values()):
            if not _has_ended(worker.process):
                continue
            _signal_group(worker, signal.SIGKILL)  # before its pid is free for another group
            worker.process.wait()
            del self.workers[worker.id]
            yield worker

    def _drop_old_logs(self) -> None:
        living = {worker.log.name for worker in self.workers.values()}
        with contextlib.suppress(OSError):
            logs = sorted((path for path in self._folder.iterdir() if path.name not in living), key=_age)
            for path in logs[:-_KEPT_LOGS]:
                path.unlink(missing_ok=True)


def worker_environment(settings: Settings, run: str, worker_id: str, token: str) -> dict[str, str]:
    """A worker's environment: the supervisor's, what eases life on a laptop, the user's, and last RunPod's worker protocol."""
    routes = f"{settings.base_url}/worker/{settings.endpoint}"
    # The token is in the query too: RunPod's SDK sends the key of ~/.runpod/config.toml instead of ours where there is one.
    query = f"gpu=none&token={token}"
    quiet = {"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "PYTHONUNBUFFERED": "1"}
    protocol = {
        "RUNPOD_POD_ID": worker_id,
        "RUNPOD_ENDPOINT_ID": settings.endpoint,
        "RUNPOD_AI_API_KEY": token,
        "RUNPOD_WEBHOOK_GET_JOB": f"{routes}/job-take/$ID?{query}",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{routes}/job-done/$RUNPOD_POD_ID/$ID?{query}",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{routes}/job-stream/$RUNPOD_POD_ID/$ID?{query}",
        "RUNPOD_WEBHOOK_PING": f"{routes}/ping/$RUNPOD_POD_ID?token={token}",
        "RUNPOD_PING_INTERVAL": str(max(1000, round(settings.options.ping_interval_s * 1000))),
        "ATLAS_BIRTH": settings.birth,
        "ATLAS_ENDPOINT_ID": settings.endpoint,
        MARK: run,
    }
    env = {**os.environ, **quiet, **settings.env, **protocol}
    for name in ("no_proxy", "NO_PROXY"):  # a proxy must not stand between a worker and its queue
        env[name] = ",".join(filter(None, [env.get(name, ""), "127.0.0.1", "localhost"]))
    return env


def tail(path: Path, lines: int = 10, limit: int = 4_000) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; where the system allows it, without collecting it, so that its group keeps its number."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    return process.poll() is not None


def _signal_group(worker: Worker, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.process.pid, number)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _prepare_death_signal() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    call = ctypes.CDLL(None, use_errno=True).prctl

    def die_with_parent() -> None:
        call(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG

    return die_with_parent


_die_with_parent = _prepare_death_signal()

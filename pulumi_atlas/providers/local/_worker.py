"""The worker behind `handler="module:function"`: takes jobs, calls the function, gives back what it returns or yields.

Run as a file (``python -P _worker.py module:function``) in the endpoint's `working_dir`, which comes first on `sys.path`.
Standard library only, so that it starts fast and brings no package into the user's program. It speaks RunPod's worker
protocol (`RUNPOD_WEBHOOK_…`), one job at a time.

The function gets the job, ``{"id": …, "input": …}``. It may be plain, async, a generator or an async generator; what a
generator yields is streamed, and is the job's output as a list. ``{"error": …}`` as its return value, or an exception,
fails the job. An async function is cancelled when its job is stopped; any other leaves with the process, and a new worker
takes its place.

``--check module:function`` looks the function up without running the user's module, and says what is wrong.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import ctypes
import http.client
import importlib
import importlib.util
import inspect
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_POLL_TIMEOUT_S = 90.0
_SEND_TRIES = 3
_OBEY_S = 2.0
_STOPPED = object()


class Channel:
    """The five URLs of the worker protocol."""

    def __init__(self, environ: dict[str, str]) -> None:
        worker = environ["RUNPOD_POD_ID"]
        self._key = environ["RUNPOD_AI_API_KEY"]
        self._take = environ["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", worker) + "&job_in_progress=0"
        self._stop = environ["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", worker).replace("/job-take/", "/job-stop/")
        self._output = environ["RUNPOD_WEBHOOK_POST_OUTPUT"].replace("$RUNPOD_POD_ID", worker)
        self._stream = environ["RUNPOD_WEBHOOK_POST_STREAM"].replace("$RUNPOD_POD_ID", worker)
        self._ping = environ["RUNPOD_WEBHOOK_PING"].replace("$RUNPOD_POD_ID", worker)

    def take(self) -> dict[str, Any] | None:
        """The next job, or None when there is none now. Raises OSError when the queue cannot be reached."""
        status, body = self._ask("GET", self._take)
        job: dict[str, Any] | None = json.loads(body) if status == 200 else self._nothing(status)
        return job

    def stops(self) -> list[str]:
        """The ids of jobs to stop; waits for them."""
        status, body = self._ask("GET", self._stop)
        return list(json.loads(body)["jobsToStop"]) if status == 200 else self._nothing(status) or []

    def give(self, job_id: str, result: dict[str, Any], *, stream: bool) -> None:
        self._send(self._output.replace("$ID", job_id) + f"&isStream={str(stream).lower()}", result)

    def give_chunk(self, job_id: str, chunk: Any) -> None:
        self._send(self._stream.replace("$ID", job_id) + "&isStream=false", {"output": chunk})

    def ping(self, job_id: str | None) -> None:
        self._ask("GET", self._ping + (f"&job_id={job_id}" if job_id else ""))

    def _nothing(self, status: int) -> Any:
        if status != 204:
            raise OSError(f"the queue answered HTTP {status}")

    def _send(self, url: str, value: Any) -> None:
        body = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        for left in reversed(range(_SEND_TRIES)):
            try:
                status, _ = self._ask("POST", url, body)
            except OSError:
                if not left:
                    raise
                time.sleep(0.2)
            else:
                if status < 500 or not left:
                    return

    def _ask(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_POLL_TIMEOUT_S)
        headers = {"Authorization": self._key, "Content-Type": "application/json"}
        try:
            connection.request(method, f"{parts.path}?{parts.query}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"the queue broke off: {error!r}") from error
        finally:
            connection.close()


class Worker:
    """One function and the job that it works on."""

    def __init__(self, function: Callable[[dict[str, Any]], Any], channel: Channel) -> None:
        self._function = function
        self._channel = channel
        self._job_id: str | None = None
        self._cancel: Callable[[], object] | None = None
        self._leaving = False
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Take jobs until told to end (SIGTERM: after the present one) or until the queue is gone."""
        signal.signal(signal.SIGTERM, self._on_term)
        for duty in (self._listen_for_stops, self._show_life):
            threading.Thread(target=duty, daemon=True).start()
        failures = 0
        while not self._leaving:
            try:
                job = self._channel.take()
                failures = 0
            except (OSError, ValueError) as error:
                failures += 1
                if failures > 20:
                    sys.exit(f"the queue cannot be reached: {error}")
                time.sleep(0.25)
                continue
            if job is not None:
                self._work_on(job)

    def _work_on(self, job: dict[str, Any]) -> None:
        with self._lock:
            self._job_id = job["id"]
        streams = _is_generator(self._function)
        try:
            result = self._result_of(job)
            if result is not _STOPPED:
                self._give(job["id"], result, streams)
        finally:
            with self._lock:
                self._job_id = self._cancel = None

    def _give(self, job_id: str, result: Any, streams: bool) -> None:
        try:
            self._channel.give(job_id, result, stream=streams)
        except (TypeError, ValueError, RecursionError) as error:
            self._channel.give(job_id, {"error": f"the output cannot be written as JSON: {error}"}, stream=streams)

    def _result_of(self, job: dict[str, Any]) -> Any:
        try:
            value = self._call(job)
            if value is _STOPPED:
                return _STOPPED
            if isinstance(value, dict) and value.get("error"):
                rest = {name: each for name, each in value.items() if name != "error"}
                return {"error": value["error"], **({"output": rest} if rest else {})}
            return {"output": value}
        except Exception as error:  # noqa: BLE001 -- whatever the user's code raises fails the job, not the worker
            traceback.print_exc()
            return {"error": _told(error)}

    def _call(self, job: dict[str, Any]) -> Any:
        function = self._function
        if inspect.isasyncgenfunction(function):
            return self._run_async(self._drain(function(job), job["id"]))
        if inspect.isgeneratorfunction(function):
            return [self._streamed(job["id"], chunk) for chunk in function(job)]
        value = function(job)
        return self._run_async(_awaited(value)) if inspect.isawaitable(value) else value

    async def _drain(self, chunks: Any, job_id: str) -> list[Any]:
        return [await asyncio.to_thread(self._streamed, job_id, chunk) async for chunk in chunks]

    def _streamed(self, job_id: str, chunk: Any) -> Any:
        self._channel.give_chunk(job_id, chunk)
        return chunk

    def _run_async(self, coroutine: Any) -> Any:
        """Run it so that a stop can cancel it; `_STOPPED` when that has happened."""

        async def run() -> Any:
            task = asyncio.ensure_future(coroutine)
            loop = asyncio.get_running_loop()
            with self._lock:
                self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            return await task

        try:
            return asyncio.run(run())
        except asyncio.CancelledError:
            return _STOPPED

    def _listen_for_stops(self) -> None:
        while True:
            try:
                stops = self._channel.stops()
            except (OSError, ValueError, KeyError):
                time.sleep(0.5)
                continue
            for job_id in stops:
                self._stop(job_id)

    def _stop(self, job_id: str) -> None:
        with self._lock:
            if job_id != self._job_id:
                return
            cancel = self._cancel
        if cancel is not None:
            cancel()
            until = time.monotonic() + _OBEY_S
            while time.monotonic() < until:
                if self._job_id != job_id:
                    return
                time.sleep(0.02)
        if self._job_id == job_id:
            print(f"job {job_id} was stopped; this worker leaves with it", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(0)

    def _show_life(self) -> None:
        pause = int(os.environ.get("RUNPOD_PING_INTERVAL", "10000")) / 1000
        while True:
            with contextlib.suppress(OSError):
                self._channel.ping(self._job_id)
            time.sleep(pause)

    def _on_term(self, *_: object) -> None:
        self._leaving = True
        if self._job_id is None:
            os._exit(0)


async def _awaited(value: Any) -> Any:
    return await value


def _is_generator(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _told(error: Exception) -> str:
    """An exception as RunPod's SDK tells it: JSON with type, message and trace; nothing of the environment."""
    trace = "".join(traceback.format_exception(error))
    return json.dumps({"error_type": str(type(error)), "error_message": str(error), "error_traceback": trace})


# -- the look-up without running --------------------------------------------------------------------------------------


def problem_with(handler: str) -> str:
    """Why `module:function` cannot be a handler, told from the module's source; empty when it may well be one."""
    module, _, function = handler.partition(":")
    try:
        found = importlib.util.find_spec(module)
    except Exception as error:  # noqa: BLE001 -- a parent package of the user's was imported and may raise anything
        return f"{module} cannot be found: {type(error).__name__}: {error}"
    if found is None:
        return f"there is no module {module} (looked in {Path.cwd()} and on Python's path)"
    if not found.origin or not found.origin.endswith(".py"):
        return "" if found.origin else f"{module} is a folder without code"
    try:
        tree = ast.parse(Path(found.origin).read_bytes(), found.origin)
    except (OSError, SyntaxError, ValueError) as error:
        return f"{found.origin} cannot be read as Python: {error}"
    names = set(_names_in(tree.body))
    if function in names or "*" in names or "__getattr__" in names:
        return ""
    return f"{found.origin} has no function {function}"


def _names_in(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
        else:
            inner = ast.walk(statement)
            yield from (node.id for node in inner if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
            for field in ("body", "orelse", "finalbody"):
                yield from _names_in(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _names_in(handler.body)


def _load(handler: str) -> Callable[[dict[str, Any]], Any]:
    module, _, function = handler.partition(":")
    found = getattr(importlib.import_module(module), function, None)
    if not callable(found):
        sys.exit(f"{module} has no function {function}")
    return found  # type: ignore[no-any-return]


def _leave_with_parent() -> None:
    """On Linux the worker does not outlive the endpoint, however that ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def main(arguments: list[str]) -> None:
    sys.path.insert(0, str(Path.cwd()))
    if arguments[0] == "--check":
        sys.exit(problem_with(arguments[1]) or 0)
    _leave_with_parent()
    Worker(_load(arguments[0]), Channel(dict(os.environ))).serve()


if __name__ == "__main__":
    main(sys.argv[1:])

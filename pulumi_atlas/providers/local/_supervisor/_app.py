"""The supervisor's process: one socket on loopback, one event loop, an orderly end on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from pulumi_atlas import files, processes
from pulumi_atlas.providers.local._supervisor._control_api import ControlApi
from pulumi_atlas.providers.local._supervisor._guard import Guard, Refused, answer, refusal
from pulumi_atlas.providers.local._supervisor._job_api import JobApi
from pulumi_atlas.providers.local._supervisor._serve import Supervisor
from pulumi_atlas.providers.local._supervisor._settings import Settings
from pulumi_atlas.providers.local._supervisor._worker_api import WorkerApi

__all__ = ["PROCESS_FILE", "serve"]

#: Who serves the endpoint: written by the supervisor itself, so that a creator killed in between leaves no riddle.
PROCESS_FILE = "process.json"

_log = logging.getLogger("atlas.endpoint")


def serve(folder: Path, run: str) -> int:
    """Serve the endpoint of this folder until told to end. The exit code: 3 when its port is taken."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log webhook URLs, which may hold secrets
    settings = Settings.load(folder)
    try:
        listener = _listen(settings.port)
    except OSError as error:
        _log.error("cannot listen on 127.0.0.1:%d: %s", settings.port, error.strerror)
        return 3
    files.write_json(folder / PROCESS_FILE, {"run": run, "process": processes.me().as_json()})
    asyncio.run(_serve(settings, folder, run, listener))
    return 0


async def _serve(settings: Settings, folder: Path, run: str, listener: socket.socket) -> None:
    supervisor = Supervisor(settings, folder, run)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.begin_closing)
    loop.add_signal_handler(signal.SIGCHLD, supervisor.wake)
    config = uvicorn.Config(
        application(supervisor),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    supervisor.resume()
    _log.info("serving %s on port %d, run %s", settings.endpoint, settings.port, run)
    await supervisor.run()
    server.should_exit = True
    await serving
    _log.info("ended")


def application(supervisor: Supervisor) -> ASGIApp:
    """The ASGI application of one supervisor, guard included."""
    settings = supervisor.settings
    routes = [api.routes() for api in (JobApi(supervisor), WorkerApi(supervisor), ControlApi(supervisor))]
    handlers = {Refused: _refused, HTTPException: _http_error, Exception: _failed}
    app = Starlette(routes=[route for group in routes for route in group], exception_handlers=handlers)
    keys = {f"/v2/{settings.endpoint}": settings.key, f"/control/{settings.endpoint}": settings.control_key}
    return Guard(app, port=settings.port, keys=keys)


class _Server(uvicorn.Server):
    """Signals are the supervisor's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer({"error": str(error.detail)}, error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    return answer({"error": f"the endpoint failed: {type(error).__name__}"}, 500)

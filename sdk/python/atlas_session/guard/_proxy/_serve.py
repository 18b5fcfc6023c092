"""The guard and the proxy on a socket, with the command behind them if there is one."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from atlas_session.guard import Guard, GuardSettings
from atlas_session.guard._forwarded import PORTS, is_trusted, look
from atlas_session.guard._proxy._app import ProxyApp, seen_directly
from atlas_session.guard._proxy._child import Child, CommandFailed, exit_code, start
from atlas_session.guard._proxy._headers import Seen
from atlas_session.guard._proxy._http import Scope, UpstreamLost
from atlas_session.guard._proxy._options import Options, child_environment
from atlas_session.guard._proxy._protocol import in_room
from atlas_session.guard._proxy._room import Complaints, Room, open_files, places
from atlas_session.guard._proxy._shield import shield
from atlas_session.guard._proxy._upstream import Upstream
from atlas_session.guard._proxy._websocket import MAX_MESSAGE_BYTES
from atlas_session.guard._scope import facts_of

__all__ = ["run"]

_LOGGER = logging.getLogger("atlas_session.guard")
#: Seconds for requests and the command to end after a signal, and for requests after the command ended by itself.
GRACE_S = 10
_AFTER_COMMAND_S = 2
_BACKLOG = 2048  # or, where few files may be open, as many as an eighth of them
_KEEP_ALIVE_S = 75  # longer than the proxies in front of pods keep a connection for


def run(options: Options, settings: GuardSettings) -> int:
    """Serve until a signal comes or the command ends; the exit code (see `_options`)."""
    if options.check_config:
        _print_config(options, settings)
        return 0
    shield()
    _know_what_is_absent()
    upstream = options.upstream or Upstream("127.0.0.1", _free_port())
    try:
        listener = _listen(options.host, options.port)
    except OSError as error:
        print(f"cannot listen on {options.host} port {options.port}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        return asyncio.run(_run(options, settings, upstream, listener))
    except CommandFailed as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.code
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """Signals are ours: they are for the command as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Stop:
    """The first signal asks everybody to end, the second one insists."""

    def __init__(self, server: _Server, child: Child | None) -> None:
        self.asked = asyncio.Event()
        self._server = server
        self._child = child

    def __call__(self, number: int) -> None:
        if not self.asked.is_set():
            self.asked.set()
            if self._child is not None:
                self._child.signal(number)
        else:
            self._server.force_exit = True
            if self._child is not None:
                self._child.kill()


async def _run(options: Options, settings: GuardSettings, upstream: Upstream, listener: socket.socket) -> int:
    asyncio.get_running_loop().set_exception_handler(Complaints(_LOGGER.warning))
    proxy = ProxyApp(upstream, host_header=options.host_header, look=_look_with(settings))
    server = _Server(_config(Guard(proxy, settings, health=proxy.healthy), options))
    child = None
    if options.command:
        port = None if upstream.path is not None else upstream.port
        child = await start(options.command, child_environment(os.environ, port))
    try:
        async with _signals(_Stop(server, child)) as stop:
            host = f"[{options.host}]" if ":" in options.host else options.host
            _LOGGER.info("guarding %s on http://%s:%d", upstream, host, listener.getsockname()[1])
            return await _until_ended(server, listener, child, stop)
    finally:
        if child is not None:
            child.kill()
        await proxy.aclose()


async def _until_ended(server: _Server, listener: socket.socket, child: Child | None, stop: _Stop) -> int:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    asked = asyncio.create_task(stop.asked.wait())
    ended = [] if child is None else [asyncio.create_task(child.wait())]
    try:
        await asyncio.wait({serving, asked, *ended}, return_when=asyncio.FIRST_COMPLETED)
        server.config.timeout_graceful_shutdown = GRACE_S if asked.done() else _AFTER_COMMAND_S
        server.should_exit = True
        if child is None:
            await serving
            return 0
        code, _ = await asyncio.gather(child.stop(GRACE_S), serving)
        return exit_code(code)
    finally:
        for task in (asked, *ended):
            task.cancel()


@contextlib.asynccontextmanager
async def _signals(stop: _Stop) -> AsyncIterator[_Stop]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _look_with(settings: GuardSettings) -> Callable[[Scope], Seen]:
    """The visitor as the guard saw it: through trusted proxies, and under the public URL where one is configured."""

    def seen(scope: Scope) -> Seen:
        found, direct = look(facts_of(scope), settings.trusted_proxies), seen_directly(scope)
        if settings.public is not None:
            return Seen(found.address, settings.public.scheme, settings.public.netloc.encode("ascii"))
        if not is_trusted(scope["client"][0] if scope.get("client") else None, settings.trusted_proxies):
            return Seen(found.address, found.scheme, direct.host)
        host = found.host if found.port == PORTS[found.scheme] else found.netloc
        return Seen(found.address, found.scheme, host.encode("ascii"))

    return seen


def _config(app: Any, options: Options) -> uvicorn.Config:
    files = open_files()
    backlog = min(_BACKLOG, files // 8)
    return uvicorn.Config(
        app,
        backlog=backlog,
        http=in_room(Room(places(files, backlog))),
        ws="websockets-sansio",
        loop="asyncio",
        lifespan="on",
        log_config=_log_config(options.log_level),
        log_level=options.log_level,
        use_colors=False,
        proxy_headers=False,  # the guard believes proxies by its own rules
        server_header=False,
        date_header=False,  # the upstream's passes
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=False,
    )


def _log_config(level: str) -> dict[str, Any]:
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["atlas_session"] = {"handlers": ["default"], "level": level.upper(), "propagate": False}
    config["filters"] = {"brief": {"()": _Brief}}
    config["handlers"]["default"]["filters"] = ["brief"]
    return config


class _Brief(logging.Filter):
    """One line instead of a traceback for what is the upstream's doing, or the end of our own patience.

    And none where uvicorn takes a refused WebSocket for a forgotten one.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, UpstreamLost | asyncio.CancelledError):
            text = str(error) if isinstance(error, UpstreamLost) else "cut a request that did not end in time"
            record.msg, record.args, record.exc_info, record.exc_text = text, (), None, None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return record.msg != "ASGI callable returned without completing handshake."


def _know_what_is_absent() -> None:
    """httpcore tries to import sniffio several times a request; searching for it in vain takes a quarter of our time."""
    if importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Its protocol is named, for asyncio sends small pieces at once (TCP_NODELAY) only then."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now; the command takes it in a moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _print_config(options: Options, settings: GuardSettings) -> None:
    told = {
        "listen": f"{options.host}:{options.port}",
        "upstream": str(options.upstream) if options.upstream else "http://127.0.0.1:(a free port)",
        "host_header": options.host_header,
        "command": options.command[0] if options.command else None,  # its arguments may hold anything
        **_without_secrets(settings),
    }
    if options.as_json:
        print(json.dumps(told, indent=2))  # noqa: T201
        return
    for name, value in told.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{name}: {'-' if text in (None, '') else text}")  # noqa: T201


def _without_secrets(settings: GuardSettings) -> dict[str, Any]:
    """The settings by name; of what is secret, and of hashes, only how many or which ids."""
    told: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name == "token_hashes":
            told["token_hashes"] = len(value)
        elif field.name == "url_keys":
            told["url_keys"] = sorted(value)
        elif field.name == "guard_key":
            told["guard_key"] = None if value is None else "(set)"
        elif field.init:
            told[field.name] = sorted(map(str, value)) if isinstance(value, frozenset | tuple) else value
    return told

"""The companion's process: it listens, says when it is ready, and stops as it is told.

What ends it, and what `atlas runtime serve` then exits with:

==== ==========================================================================================
code
==== ==========================================================================================
0    SIGTERM or SIGINT: nothing new was taken, activity was written down, pods were left as they are
2    ConfigError: a setting or an argument is wrong
5    Conflict: the address is in use, or another companion has the store (StoreBusy)
8    a second signal: ended at once
10   StoreUnavailable: the store cannot be read or written
==== ==========================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import uvicorn

from pulumi_atlas import files
from pulumi_atlas.client.core import Core
from pulumi_atlas.errors import ConfigError, Conflict
from pulumi_atlas.rules.clock import Clock, SystemClock
from pulumi_atlas.runtime.access import KeyRingFile
from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http.app import make_app
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.first_key import admin_key_file, ensure_admin_key
from pulumi_atlas.runtime.http.wire import connection_class
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store import open_store, store_path

__all__ = ["INTERRUPTED", "host_and_port", "listening", "serve"]

INTERRUPTED = 8

_log = logging.getLogger("pulumi_atlas.runtime")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(
    listen: str,
    store_url: str,
    name: str,
    settings: RuntimeSettings,
    *,
    core: Callable[[], Core] = Core,
    clock: Clock | None = None,
    bounds: Bounds | None = None,
    stop_s: float = 20.0,
    say: Callable[[str], None] = print,
) -> int:
    """Serve until a signal ends it; the exit code then. `listen`: HOST:PORT, port 0 takes any that is free.

    `say` gets one line when it is ready. `stop_s`: how long requests under way, and then the companion, may take to end.
    Raises ConfigError, Conflict (the address, the store), StoreUnavailable: nothing was begun then.
    """
    host, port = host_and_port(listen)
    url = f"sqlite:///{store_path(store_url)}"
    with listening(host, port) as door:
        service = _Service(door, host, settings, bounds or Bounds(), stop_s, say)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(service.run(url, name, core, clock or SystemClock()))


def host_and_port(listen: str) -> tuple[str, int]:
    """The two parts. Raises ConfigError."""
    host, colon, port = listen.rpartition(":")
    name = host.removeprefix("[").removesuffix("]")
    if not colon or not name or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f"{listen!r} is no address to listen on", hint="write HOST:PORT, such as 127.0.0.1:8765")
    return name, int(port)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """The door, bound but not yet open. Raises Conflict when the address is in use, ConfigError when it is none of ours."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}: {error.strerror or error}") from None
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
    except OSError as error:
        door.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"{host}:{port} is in use", hint="another companion may be running there") from None
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    with door:
        yield door


class _Service:
    """One run."""

    def __init__(
        self,
        door: socket.socket,
        host: str,
        settings: RuntimeSettings,
        bounds: Bounds,
        stop_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._door, self._host, self._settings = door, host, settings
        self._bounds = replace(bounds, body_bytes=settings.max_body_bytes)
        self._stop_s, self._say = stop_s, say
        self._signals = 0

    @property
    def _url(self) -> str:
        """Where it is reached by who is on this machine, or by the host it listens on.

        All addresses are none: a request that names ``0.0.0.0`` as its host is refused.
        """
        host, port = self._host, self._door.getsockname()[1]
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            host = {4: "127.0.0.1", 6: "::1"}[address.version] if address.is_unspecified else host
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _say_what_is_open(self) -> None:
        """Plain HTTP that others can reach, unless a proxy with TLS is named as the way in."""
        public = self._settings.public_url or ""
        if not public.startswith("https://") and not ipaddress.ip_address(self._door.getsockname()[0]).is_loopback:
            _log.warning(
                "listens on %s, beyond this machine, in plain http: keys and tokens travel in clear; put a proxy with TLS "
                "before it and name it by public_url", self._host
            )  # fmt: skip

    async def run(self, url: str, name: str, core: Callable[[], Core], clock: Clock) -> int:
        path = store_path(url)
        files.make_private_folder(path.parent)
        companion = Companion(
            store=open_store(url),
            settings=self._settings,
            keyring=KeyRingFile.beside(path),
            core=core(),
            clock=clock,
            name=name,
        )
        companion.public_url = companion.public_url or self._url
        self._say_what_is_open()
        stopping = asyncio.Event()
        with self._heeding(stopping):
            try:
                await companion.start()
                gc.freeze()  # what is there now stays: a hundred thousand sessions are not looked through for garbage
                await ensure_admin_key(companion.store, admin_key_file(path), now=clock.now())
                await self._serve(companion, name, stopping)
            finally:
                gc.unfreeze()
                await self._unless_forced(companion.stop(timeout_s=self._stop_s))
        return INTERRUPTED if self._signals > 1 else 0

    async def _serve(self, companion: Companion, name: str, stopping: asyncio.Event) -> None:
        server = self._server(companion)
        serving = asyncio.create_task(server.serve(sockets=[self._door]))
        told = asyncio.create_task(stopping.wait())
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn has no event for it)
                await asyncio.sleep(0.01)
            if not serving.done():
                sessions = len(companion.ledger.live)
                self._say(f"atlas runtime: ready on {self._url} (deployment {name}, {sessions} sessions)")
            await asyncio.wait([serving, told], return_when=asyncio.FIRST_COMPLETED)
            companion.draining = True
            companion.feed.close()
        finally:
            told.cancel()
            server.should_exit = True
            await self._unless_forced(serving)

    def _server(self, companion: Companion) -> _Server:
        config = uvicorn.Config(
            _later,
            http=connection_class(self._bounds),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(self._settings.trusted_proxies),
            forwarded_allow_ips=list(self._settings.trusted_proxies),
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, int(self._stop_s)),
            backlog=2048,
        )
        server = _Server(config)
        connections = server.server_state.connections
        most = self._bounds.connections
        config.app = make_app(
            companion,
            listen=self._host,
            bounds=self._bounds,
            crowded=lambda: len(connections) > most,
        )
        return server

    @contextlib.contextmanager
    def _heeding(self, stopping: asyncio.Event) -> Iterator[None]:
        """The first signal asks for an orderly end, the second ends everything at once."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def heed(number: int) -> None:
            self._signals += 1
            _log.warning("%s: stopping%s", signal.Signals(number).name, " at once" if self._signals > 1 else "")
            stopping.set()
            if self._signals > 1:
                self._forced.set()

        self._forced = asyncio.Event()
        assert task is not None
        for number in _SIGNALS:
            loop.add_signal_handler(number, heed, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def _unless_forced(self, work: Any) -> None:
        """Wait for the work, but not once a second signal came."""
        working, forced = asyncio.ensure_future(work), asyncio.create_task(self._forced.wait())
        try:
            await asyncio.wait([working, forced], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                await asyncio.wait([working], timeout=1)
        finally:
            forced.cancel()
        if working.done() and not working.cancelled():
            working.result()


class _Server(uvicorn.Server):
    """Signals are heeded by whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _later(scope: Any, receive: Any, send: Any) -> None:
    """Stands in for the application until the server that it asks about is made."""
    raise RuntimeError("not yet")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # where there is none, asyncio's own loop does the same, more slowly
        return None
    return uvloop.new_event_loop

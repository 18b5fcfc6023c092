"""The dynamic provider process: wide enough, aware of its engine, and quick to stop without forgetting what it began.

The engine starts `python -m pulumi.dynamic <engine address>`, which serves on four threads, outlives a killed engine for
ever, and on an interrupt is killed five seconds later. `enter` mends all three, once, and only in that process.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
import weakref
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pulumi_atlas import processes
from pulumi_atlas.client import loop
from pulumi_atlas.client.core import Core
from pulumi_atlas.client.stop import Stop
from pulumi_atlas.errors import AtlasError

__all__ = ["apart", "busy", "configure", "core", "enter", "is_provider_process", "run"]

T = TypeVar("T")

_THREADS = 64
_WATCH_S = 0.5

_lock = threading.RLock()
_config: dict[str, str] = {}
_core: Core | None = None
_stop = Stop()
_entered = False
_running = 0


def is_provider_process() -> bool:
    """Whether this process was started by the engine to serve dynamic providers."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name in ("pulumi.dynamic.__main__", "pulumi.dynamic")


def enter() -> None:
    """Set the process up. Does nothing the second time, and nothing in a process that is not the engine's."""
    global _entered
    with _lock:
        if _entered or not is_provider_process():
            return
        _entered = True
    gc.freeze()  # what is loaded stays, and need not be looked through again and again
    sys.tracebacklimit = 0  # an error leaves as one line; in the program process this would hang the engine
    _widen()
    _on_exit()
    threading.Thread(target=_watch, args=(_engine_address(),), name="atlas-watchdog", daemon=True).start()


def configure(values: Mapping[str, Any]) -> None:
    """Take the stack's configuration, as the engine hands it to this process once."""
    with _lock:
        _config.update({str(key): str(value) for key, value in values.items()})


def core() -> Core:
    """The verbs of this process, with the stack's configuration and progress lines."""
    global _core
    with _lock:
        if _core is None:
            _core = Core(cwd=Path.cwd(), stack_config=_config, stop=_stop, say=_say)
        return _core


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Within it, the verbs and the stack's configuration are others, made anew; at its end they are closed."""
    kept = _swap(None)
    config = dict(_config)
    _config.clear()
    try:
        yield
    finally:
        mine = _swap(kept)
        _config.clear()
        _config.update(config)
        if mine is not None:
            loop.run(mine.aclose())


def _swap(other: Core | None) -> Core | None:
    global _core
    with _lock:
        before, _core = _core, other
    return before


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on the background loop from a worker thread."""
    return loop.run(work)


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Counts an operation as running: the watchdog lets it finish before it ends the process."""
    global _running
    with _lock:
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _widen() -> None:
    """Raise the pool that serves us from 4 threads to 64 and start them at once: work queued earlier is taken up too."""
    pool = _serving_pool()
    if pool is None:
        return
    with contextlib.suppress(AttributeError, TypeError):
        pool._max_workers = max(_THREADS, pool._max_workers)
        while len(pool._threads) < pool._max_workers:
            before = len(pool._threads)
            pool._idle_semaphore = _Never()  # type: ignore[assignment]  # so that each call adds a thread
            pool._adjust_thread_count()
            if len(pool._threads) == before:
                break


class _Never:
    """Stands in for the pool's count of idle threads while threads are added: there is never an idle one."""

    def acquire(self, timeout: float | None = None) -> bool:
        return False

    def release(self) -> None:
        return


def _serving_pool() -> ThreadPoolExecutor | None:
    arguments = getattr(threading.current_thread(), "_args", None) or ()
    for argument in arguments:
        pool = argument() if isinstance(argument, weakref.ref) else argument
        if isinstance(pool, ThreadPoolExecutor):
            return pool
    return None


def _on_exit() -> None:
    """The engine ends us by an interrupt of the main thread; the interpreter then joins the workers.

    They must be told to stop waiting. When nothing runs, the engine has had all answers, and that is noted.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with contextlib.suppress(RuntimeError):
            register(_interrupted)


def _interrupted() -> None:
    _stop.interrupt("the run was interrupted")
    if _core is not None and not _running:
        with contextlib.suppress(AtlasError):
            _core.book.note_end(processes.me())


def _engine_address() -> tuple[str, int] | None:
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "").rpartition(":")
    return (host or "127.0.0.1", int(port)) if port.isdigit() else None


def _watch(address: tuple[str, int] | None) -> None:
    """Ends the process after its engine has died: nothing new is rented, what runs is recorded first."""
    pause, refused = threading.Event(), 0
    while True:
        pause.wait(_WATCH_S)
        if not threading.main_thread().is_alive():
            _stop.interrupt("the run was interrupted")
        if address is None:
            continue
        refused = refused + 1 if _refuses(address) else 0
        if refused >= 2:
            _stop.interrupt("the engine is gone")
            _leave_when_idle(pause)


def _refuses(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=2):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


def _leave_when_idle(pause: threading.Event) -> None:
    while _running:
        pause.wait(0.05)
    os._exit(0)  # the main thread waits for ever, and the interpreter would wait for the pool

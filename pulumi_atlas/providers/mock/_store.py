"""Where a mock world is kept: in this process, or in a file that several processes share.

The file is JSON with one row a line, so that a process parses and writes only the lines that changed. It is replaced in
one step under a lock, but not synced to disk: a mock world needs to survive killed processes, not power cuts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import filelock

from pulumi_atlas.errors import AtlasError, ProviderFailure, TimedOut
from pulumi_atlas.files import make_private_folder
from pulumi_atlas.providers.mock._state import PROVIDER, TABLES, Row, Settings, State

__all__ = ["FileStore", "MemoryStore", "Store"]

T = TypeVar("T")

_LOCK_TIMEOUT_S = 30.0
_LOCK_POLL_S = 0.001
_TOKEN_BYTES = 40


class Store(Protocol):
    """Read, write and record. `act` gets the state and the world's time, and must be short: a lock is held."""

    def read(self, act: Callable[[State, float], T]) -> T: ...

    def write(self, act: Callable[[State, float], T]) -> T: ...

    def record(self, call: Row) -> None: ...

    def calls(self) -> list[Row]: ...

    def clear_calls(self) -> None: ...


class MemoryStore:
    """A world that lives as long as its process."""

    def __init__(self, seed: str) -> None:
        self._state = State(seed)
        self._calls: list[Row] = []
        self._mutex = threading.RLock()

    def read(self, act: Callable[[State, float], T]) -> T:
        with self._mutex:
            return act(self._state, self._state.now(time.time()))

    def write(self, act: Callable[[State, float], T]) -> T:
        return self.read(act)

    def record(self, call: Row) -> None:
        self._calls.append(call)

    def calls(self) -> list[Row]:
        return list(self._calls)

    def clear_calls(self) -> None:
        self._calls.clear()


class FileStore:
    """A world in a file; beside it a lock, and a file of recorded calls that only grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._calls_path = path.with_name(path.name + ".calls")
        self._lock_path = path.with_name(path.name + ".lock")
        self._seed = hashlib.sha256(os.fsencode(path)).hexdigest()[:4]
        self._mutex = threading.Lock()
        self._state: State | None = None
        self._seen: tuple[bytes, int, int] | None = None
        self._lines: dict[str, tuple[str, str, Row]] = {}
        make_private_folder(path.parent)

    def read(self, act: Callable[[State, float], T]) -> T:
        with self._mutex, _storage(self._path):
            state = self._load()
            return act(state, state.now(time.time()))

    def write(self, act: Callable[[State, float], T]) -> T:
        # The mutex comes first: threads of one process wake each other at once, and only processes poll for the lock.
        with self._mutex, _storage(self._path), self._locked():
            state = self._load()
            try:
                result = act(state, state.now(time.time()))
                if state.changed:
                    self._save(state)
            except BaseException:
                if state.changed:
                    self._state = self._seen = None  # what is in memory may be more than what is in the file
                raise
            return result

    def record(self, call: Row) -> None:
        with _storage(self._calls_path):
            descriptor = os.open(self._calls_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, (json.dumps(call, default=str) + "\n").encode())
            finally:
                os.close(descriptor)

    def calls(self) -> list[Row]:
        with _storage(self._calls_path):
            try:
                text = self._calls_path.read_text()
            except FileNotFoundError:
                return []
        return [json.loads(line) for line in text.splitlines()]

    def clear_calls(self) -> None:
        with _storage(self._calls_path):
            self._calls_path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = filelock.FileLock(self._lock_path, timeout=_LOCK_TIMEOUT_S, mode=0o600, thread_local=False)
        try:
            lock.acquire(poll_interval=_LOCK_POLL_S)
        except filelock.Timeout as error:
            raise TimedOut(
                f"another process holds {self._lock_path} for more than {_LOCK_TIMEOUT_S:g} s",
                provider=PROVIDER,
                hint="see which process that uses this mock world hangs, and end it",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _load(self) -> State:
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            if self._state is None or self._seen is not None:
                self._state, self._seen, self._lines = State(self._seed), None, {}
            return self._state
        with os.fdopen(descriptor, "rb") as file:
            head = file.read(_TOKEN_BYTES)
            status = os.fstat(descriptor)
            seen = (head, status.st_mtime_ns, status.st_size)
            if self._state is not None and seen == self._seen:
                return self._state
            text = (head + file.read()).decode()
        views = self._state.views if self._state is not None else {}
        try:
            self._state, self._lines = _parse(text, self._lines)
        except (ValueError, KeyError, TypeError) as error:
            raise ProviderFailure(
                f"{self._path} is damaged: {error}",
                provider=PROVIDER,
                hint="move the file away, or remove it for a fresh mock world",
            ) from error
        self._state.views, self._seen = views, seen
        return self._state

    def _save(self, state: State) -> None:
        token = secrets.token_hex(8)
        header = {"seed": state.seed, "counter": state.counter, "settings": asdict(state.settings)}
        texts = {id(row): text for text, (_, _, row) in self._lines.items()}
        lines: dict[str, tuple[str, str, Row]] = {}
        for table in TABLES:
            for ident, row in state.tables[table].items():
                text = texts.get(id(row)) or json.dumps([table, ident, row])
                lines[text] = (table, ident, row)
        first = f'{{"token": "{token}",\n"world": {json.dumps(header)},\n"faults": {json.dumps(state.faults)},\n'
        content = (first + '"rows": [\n' + ",\n".join(lines) + "\n]}\n").encode()
        temporary = self._path.with_name(f".{self._path.name}.{token}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                status = os.fstat(descriptor)
            temporary.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        state.changed = False
        self._lines = lines
        self._seen = (content[:_TOKEN_BYTES], status.st_mtime_ns, status.st_size)


def _parse(text: str, known: dict[str, tuple[str, str, Row]]) -> tuple[State, dict[str, tuple[str, str, Row]]]:
    """The state in a file's text. Lines that are known already give the very row that they gave before."""
    start = text.find('"rows": [\n')
    body = text[start:].split("\n")[1:-2] if start >= 0 and text.endswith("\n]}\n") else None
    if body is None:  # somebody has edited the file and laid it out anew
        whole: dict[str, Any] = json.loads(text)
        body = [json.dumps(entry) for entry in whole["rows"]]
    else:
        whole = json.loads(text[:start] + '"rows": []}')
    lines: dict[str, tuple[str, str, Row]] = {}
    state = State(whole["world"]["seed"], whole["world"]["counter"], Settings(**whole["world"]["settings"]))
    state.faults = list(whole["faults"])
    for line in body:
        stripped = line.removesuffix(",")
        if not stripped:
            continue
        entry = known.get(stripped)
        if entry is None:
            table, ident, row = json.loads(stripped)
            entry = (table, ident, row)
        lines[stripped] = entry
        state.tables[entry[0]][entry[1]] = entry[2]  # type: ignore[index]
    return state, lines


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except AtlasError:
        raise
    except OSError as error:
        raise ProviderFailure(
            f"cannot use {path}: {error.strerror or error}",
            provider=PROVIDER,
            hint="ATLAS_MOCK_FILE must name a file in a folder that is yours, writable and not full",
        ) from error

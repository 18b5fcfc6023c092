"""Load on an HTTP server, from a process of its own: `python -m benchmarks.parts.load`, a `Load` as JSON on its input.

A client must not be what is measured. So this one has no HTTP library: requests are bytes that were made before, answers are
looked through for their status and their length alone, and each connection sends its next request in the callback that
got the whole answer. That takes some 10 microseconds of CPU for each request, on uvloop where it is installed; how many
it were is told.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.parts.processes import ROOT
from benchmarks.project import MeasurementFailed

__all__ = ["Load", "Loaded", "post", "put_on"]


@dataclass(frozen=True)
class Load:
    """`requests`: whole requests, sent in turns. `warm_s`: seconds of load before the `seconds` that count.

    `per_s`: so many requests a second at most, all connections together; 0: as fast as they are answered.
    `once`: each request is sent once, and then no more.
    """

    port: int
    requests: list[str]
    connections: int = 32
    seconds: float = 3.0
    warm_s: float = 0.5
    per_s: float = 0.0
    once: bool = False


@dataclass(frozen=True)
class Loaded:
    """What came of it. `done` counts all answers, those of the warm-up too; `rate`: answers per second afterwards."""

    done: int
    rate: float
    statuses: dict[str, int]
    cpu_us: float
    p50_ms: float
    p99_ms: float
    body_bytes: int = 0
    failures: list[str] = field(default_factory=list)


def post(path: str, token: str, body: str, *, host: str = "127.0.0.1", scheme: str = "Bearer") -> str:
    """A POST of JSON, as our clients send it: no header that is not needed."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {scheme} {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    )


def begin(load: Load) -> subprocess.Popen[str]:
    """The program that puts the load on; `ended` waits for it."""
    program = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.parts.load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None
    program.stdin.write(json.dumps(asdict(load)))
    program.stdin.close()
    return program


def ended(program: subprocess.Popen[str], timeout_s: float) -> Loaded:
    """What came of it. Raises MeasurementFailed when any answer was another than 200."""
    assert program.stdout is not None
    try:
        code = program.wait(timeout=timeout_s)
        told = program.stdout.read()
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
        raise MeasurementFailed("the load did not end") from None
    finally:
        program.stdout.close()
    if code:
        raise MeasurementFailed(f"the load ended with {code}")
    loaded = Loaded(**json.loads(told))
    if set(loaded.statuses) != {"200"} or loaded.failures:
        raise MeasurementFailed(f"requests were answered with {loaded.statuses} {loaded.failures[:3]}")
    return loaded


def put_on(load: Load) -> Loaded:
    """Put it on. Raises MeasurementFailed."""
    return ended(begin(load), load.warm_s + load.seconds + 60)


class _Run:
    def __init__(self, load: Load) -> None:
        self.load = load
        plain = [one.encode() for one in load.requests]
        self.requests = iter(plain) if load.once else itertools.cycle(plain)
        self.statuses: Counter[str] = Counter()
        self.failures: list[str] = []
        self.waits: list[float] = []
        self.done = self.counted = self.body_bytes = 0
        self.over = False
        self.began = self.counts_from = self.ended = 0.0
        self.open: set[_Connection] = set()

    async def run(self) -> Loaded:
        loop = asyncio.get_running_loop()
        self.began = time.perf_counter()
        self.counts_from = self.began + self.load.warm_s
        for _ in range(self.load.connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.load.port)
        await asyncio.sleep(max(0.0, self.counts_from + self.load.seconds - time.perf_counter()))
        self.over, self.ended = True, time.perf_counter()
        for one in list(self.open):
            one.close()
        waits = sorted(self.waits) or [0.0]
        return Loaded(
            done=self.done,
            rate=self.counted / (self.ended - self.counts_from),
            statuses=dict(self.statuses),
            cpu_us=time.process_time() / max(1, self.done) * 1e6,
            p50_ms=waits[len(waits) // 2] * 1e3,
            p99_ms=waits[int(len(waits) * 0.99)] * 1e3,
            body_bytes=self.body_bytes,
            failures=self.failures,
        )


class _Connection(asyncio.Protocol):
    __slots__ = ("_buffer", "_loop", "_run", "_sent", "_slot", "_transport")

    def __init__(self, run: _Run) -> None:
        self._run, self._buffer = run, b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._run.open.add(self)
        self._slot = self._loop.time()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.open.discard(self)
        if not self._run.over:
            self._run.failures.append(f"a connection was lost: {exc}")

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + (length := _length(data, end)):
            self._buffer = data
            return
        self._buffer = b""
        run, now = self._run, time.perf_counter()
        if run.over:
            return
        run.statuses[data[9:12].decode()] += 1
        run.done += 1
        run.body_bytes = length
        if now >= run.counts_from:
            run.counted += 1
            run.waits.append(now - self._sent)
        self._next()

    def _next(self) -> None:
        if not self._run.load.per_s:
            self._send()
            return
        self._slot += self._run.load.connections / self._run.load.per_s
        self._loop.call_at(self._slot, self._send)

    def _send(self) -> None:
        request = None if self._run.over else next(self._run.requests, None)
        if request is not None:
            self._sent = time.perf_counter()
            self._transport.write(request)


def _length(data: bytes, end: int) -> int:
    """Of the body, as the head says; 0 when it says nothing."""
    head = data[:end].lower()
    at = head.find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def _main() -> None:
    load = Load(**json.loads(sys.stdin.read()))
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(asdict(runner.run(_Run(load).run()))))


if __name__ == "__main__":
    _main()

"""The dynamic provider process, spoken to as the engine does: over gRPC, with no engine behind it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from pulumi_atlas.resources.pod import _PodProvider

pytestmark = pytest.mark.slow  # real processes; not part of `make check`

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


class Engine:
    """Stands for the engine: an address that accepts connections until `die`."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return

    def die(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


class Process:
    """A running `python -m pulumi.dynamic`."""

    def __init__(self, engine: Engine, environ: dict[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.dynamic", engine.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environ},
            cwd=cwd,
        )
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)

    def end(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.die()


def environ_in(folder: Path, *, provision_s: float) -> dict[str, str]:
    return {
        "ATLAS_MOCK_FILE": str(folder / "world.json"),
        "ATLAS_MOCK_PROVISION_S": str(provision_s),
        "ATLAS_STATE_DIR": str(folder / "state"),
    }


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "this did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def process(engine: Engine, tmp_path: Path) -> Iterator[Process]:
    made = Process(engine, environ_in(tmp_path, provision_s=0), tmp_path)
    yield made
    made.end()


def props(**values: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    base = {"provider": "mock", "name": "p", "image": "i", "owner": "stack:s:atlas:Pod::p"}
    struct.update({"__provider": serialize_provider(_PodProvider()), **base, **values})
    return struct


def create_request(number: int) -> Any:
    owner = f"stack:s:atlas:Pod::p{number}"
    values = props(birth=f"{number:020x}", name=f"p{number}", owner=owner)
    return provider_pb2.CreateRequest(urn="u", properties=values)


def check(process: Process, **values: Any) -> Any:
    return process.stub.Check(provider_pb2.CheckRequest(urn="u", olds=struct_pb2.Struct(), news=props(**values)))


def test_the_engines_unknowns_come_back_as_they_went(process: Process) -> None:
    answer = check(process, env={"A": UNKNOWN}, gpu_count=2)
    assert not answer.failures
    assert answer.inputs["env"]["A"] == UNKNOWN


def test_whole_numbers_survive_the_wire(process: Process) -> None:
    assert not check(process, gpu_count=2, ports=[8888]).failures
    (failure,) = check(process, gpu_count=2.5).failures
    assert "gpu_count" in failure.reason


def test_an_error_is_one_line_without_a_traceback(process: Process) -> None:
    request = provider_pb2.CreateRequest(urn="u", properties=props(birth="0" * 20, env={"T": "s3cret-value"}, spot="x"))
    with pytest.raises(grpc.RpcError) as caught:
        process.stub.Create(request)
    details = caught.value.details()
    assert "spot: must be true or false" in details
    assert "Traceback" not in details and "File " not in details and "s3cret-value" not in details
    assert len(details.strip().splitlines()) == 1


def test_many_creates_run_side_by_side(engine: Engine, tmp_path: Path) -> None:
    """Forty are in the making at once: the four threads that the process comes with would stop at four."""
    process = Process(engine, environ_in(tmp_path, provision_s=3600), tmp_path)
    try:
        check(process)
        waiting = [process.stub.Create.future(create_request(number)) for number in range(40)]
        notes = tmp_path / "state" / "intents"
        wait_until(lambda: sum(1 for note in notes.glob("*.json") if '"thing_id": "' in note.read_text()) == 40)
        for future in waiting:
            future.cancel()
    finally:
        process.end()


def test_the_process_ends_when_its_engine_is_gone(process: Process, engine: Engine) -> None:
    check(process)
    engine.die()
    assert process.process.wait(timeout=30) == 0


def test_a_create_under_way_when_the_engine_dies_leaves_its_intent_open_with_the_id(
    engine: Engine, tmp_path: Path
) -> None:
    process = Process(engine, environ_in(tmp_path, provision_s=3600), tmp_path)
    try:
        check(process)
        future = process.stub.Create.future(create_request(0))
        note = tmp_path / "state" / "intents" / f"{0:020x}.json"
        wait_until(lambda: note.exists() and json.loads(note.read_text())["thing_id"])
        engine.die()
        assert process.process.wait(timeout=30) == 0
        assert json.loads(note.read_text())["state"] == "open"
        future.cancel()
    finally:
        process.end()


def test_an_interrupt_ends_every_wait_and_leaves_the_intents_open(engine: Engine, tmp_path: Path) -> None:
    """The engine interrupts on the second Ctrl-C and kills five seconds later."""
    process = Process(engine, environ_in(tmp_path, provision_s=3600), tmp_path)
    try:
        check(process)
        waiting = [process.stub.Create.future(create_request(number)) for number in range(3)]
        notes = tmp_path / "state" / "intents"
        wait_until(lambda: sum(1 for note in notes.glob("*.json") if '"thing_id": "' in note.read_text()) == 3)
        process.process.send_signal(signal.SIGINT)
        process.process.wait(timeout=30)
        assert all(json.loads(note.read_text())["state"] == "open" for note in notes.glob("*.json"))
        assert len(list(notes.glob("*.json"))) == 3
        assert not list(notes.glob("ended/*")), "it did not end well: creates were running"
        for future in waiting:
            future.cancel()
    finally:
        process.end()


def test_an_orderly_end_is_noted_beside_the_answered_intent(engine: Engine, tmp_path: Path) -> None:
    process = Process(engine, environ_in(tmp_path, provision_s=0), tmp_path)
    try:
        check(process)
        process.stub.Create(create_request(7))
        process.process.send_signal(signal.SIGINT)
        process.process.wait(timeout=30)
        (note,) = (tmp_path / "state" / "intents").glob("*.json")
        assert json.loads(note.read_text())["state"] == "answered"
        assert len(list((tmp_path / "state" / "intents").glob("ended/*"))) == 1
    finally:
        process.end()

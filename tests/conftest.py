"""What holds for every test: no network beyond loopback, no settings of the machine's owner, no process left behind."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

from pulumi_atlas.processes import ProcessIdentity, environment_of, identify, send_signal

KEPT = ("ATLAS_CHROMIUM", "ATLAS_ENGINE_DIR", "ATLAS_HYPOTHESIS_PROFILE")
OUTSIDE_TESTS = pytest.StashKey[Path]()
GOES_BY_ITSELF_S = 3.0

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile(
    "long", max_examples=2000, deadline=None, database=DirectoryBasedExampleDatabase(".hypothesis/examples")
)
settings.load_profile(os.environ.get("ATLAS_HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


class NetworkForbidden(RuntimeError):
    """A test wanted to leave this machine. Not an OSError: code under test must not take it for an outage."""


def pytest_configure(config: pytest.Config) -> None:
    """Fixtures wider than one test, and collection itself, see no settings of the machine's owner either."""
    folder = Path(tempfile.mkdtemp(prefix="atlas-tests-"))
    config.stash[OUTSIDE_TESTS] = folder
    for name in _settings_of_the_owner():
        del os.environ[name]
    os.environ.update(_folders(folder))


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(OUTSIDE_TESTS, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def nothing_runs_after_the_tests(pytestconfig: pytest.Config) -> Iterator[None]:
    """Processes that a fixture wider than one test started are gone at the end of the session."""
    yield
    _fail_on_leftovers(pytestconfig.stash[OUTSIDE_TESTS], "a fixture wider than one test")


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """The test sees folders of its own and none of the owner's settings; a process it leaves running fails it."""
    for name in _settings_of_the_owner():
        monkeypatch.delenv(name)
    for name, value in _folders(tmp_path / "atlas").items():
        monkeypatch.setenv(name, value)
    yield
    _fail_on_leftovers(tmp_path, request.node.nodeid)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting beyond loopback, or looking up a name that would ask the network, raises NetworkForbidden."""
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_beyond_loopback(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_beyond_loopback(self, address)
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *args: Any, **options: Any) -> Any:
        if not _stays_here(host):
            raise NetworkForbidden(f"a test looked up {host!r}")
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


def _settings_of_the_owner() -> list[str]:
    return [
        name
        for name in os.environ
        if (name.startswith(("ATLAS_", "PULUMI_")) and name not in KEPT and not name.startswith("ATLAS_TEST_"))
        or name.endswith(("_API_KEY", "_API_TOKEN"))
    ]


def _folders(parent: Path) -> dict[str, str]:
    return {"ATLAS_LOCAL_DIR": str(parent / "local"), "ATLAS_STATE_DIR": str(parent / "state")}


def _refuse_beyond_loopback(connection: socket.socket, address: Any) -> None:
    if connection.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
        connection.close()
        raise NetworkForbidden(f"a test connected to {address!r}")


def _is_loopback(host: Any) -> bool:
    text = host.decode() if isinstance(host, bytes) else str(host)
    if text in ("localhost", ""):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    return False


def _stays_here(host: Any) -> bool:
    """Whether looking the host up asks nobody: none, loopback, our own name, or an address already."""
    if host is None or _is_loopback(host) or host in (socket.gethostname(), socket.gethostname().encode()):
        return True
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
        return True
    return False


def _fail_on_leftovers(folder: Path, who: str) -> None:
    leftovers = list(_running_under(folder))
    deadline = time.monotonic() + GOES_BY_ITSELF_S
    while leftovers and time.monotonic() < deadline:  # one that was just told to end may need a moment
        time.sleep(0.02)
        leftovers = [process for process in leftovers if process.is_alive()]
    if leftovers:
        names = [f"{process.pid} {_command_of(process.pid)}" for process in leftovers]
        for process in leftovers:
            send_signal(process, signal.SIGKILL)
        pytest.fail(f"{who} left running: " + "; ".join(names), pytrace=False)


def _running_under(folder: Path) -> Iterator[ProcessIdentity]:
    for pid in psutil.pids():
        if pid == os.getpid() or not _mentions(pid, str(folder)):
            continue
        place = environment_of(pid).get("ATLAS_LOCAL_DIR", "")
        if place and Path(place).is_relative_to(folder) and "from multiprocessing." not in _command_of(pid):
            found = identify(pid)
            if found:
                yield found


def _mentions(pid: int, folder: str) -> bool:
    """A quick look before the exact one: this runs after every test."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 (three times as fast as Path)
            return folder.encode() in file.read()
    except FileNotFoundError:
        return sys.platform != "linux"
    except OSError:
        return False


def _command_of(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())[:300]
    except psutil.Error:
        return "(gone)"

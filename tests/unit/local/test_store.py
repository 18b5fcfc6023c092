"""The record store, host ports, and failpoints."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import failpoints
from pulumi_atlas.errors import NoCapacity, ProviderFailure, TimedOut
from pulumi_atlas.providers.local import _ports
from pulumi_atlas.providers.local._store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


def test_an_unused_store_is_empty_and_makes_nothing(store: Store) -> None:
    assert store.all("pods") == []
    assert store.read("pods", "pod-1") is None
    store.sweep("pods")
    assert not store.root.exists()


def test_a_record_is_read_as_it_was_written(store: Store) -> None:
    store.write("volumes", "vol-1", {"a": [1, "ü"]})
    assert store.read("volumes", "vol-1") == {"a": [1, "ü"]}
    assert store.all("volumes") == [{"a": [1, "ü"]}]
    assert store.all("pods") == []


def test_records_are_private(store: Store) -> None:
    store.write("pods", "pod-1", {})
    assert (store.folder("pods", "pod-1") / "record.json").stat().st_mode & 0o777 == 0o600
    assert store.folder("pods", "pod-1").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("strange", ["", ".", "..", "../pods/pod-1", "a/b", "x\x00", "y" * 300])
def test_an_id_is_never_a_path(store: Store, strange: str) -> None:
    store.write("pods", "pod-1", {})
    assert store.read("pods", strange) is None


def test_removal_takes_everything_and_follows_no_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    store.write("pods", "pod-1", {})
    (store.folder("pods", "pod-1") / "link").symlink_to(tmp_path / "outside")
    store.remove("pods", "pod-1")
    store.remove("pods", "pod-1")
    assert not store.folder("pods", "pod-1").exists()
    assert (tmp_path / "outside" / "kept").exists()


def test_a_damaged_record_is_named(store: Store) -> None:
    store.write("pods", "pod-1", {})
    (store.folder("pods", "pod-1") / "record.json").write_text("{")
    with pytest.raises(ProviderFailure, match=r"pod-1/record\.json"):
        store.all("pods")


def test_a_folder_that_somebody_works_on_is_not_swept(store: Store) -> None:
    with store.locked("pods", "pod-1"):
        store.folder("pods", "pod-1").mkdir(parents=True)
        store.sweep("pods")
        assert store.folder("pods", "pod-1").exists()
    store.sweep("pods")
    assert not store.folder("pods", "pod-1").exists()


def test_a_lock_keeps_others_out_and_leaves_no_file_without_its_thing(store: Store) -> None:
    with store.locked("pods", "pod-1"):
        with pytest.raises(TimedOut), store.locked("pods", "pod-1", timeout_s=0):
            pass
        with store.locked("pods", "pod-2", timeout_s=0), store.locked("pods", None, timeout_s=0):
            pass
    assert [p.name for p in (store.root / "locks").iterdir()] == ["pods.lock"]


def test_a_lock_excludes_threads_while_its_file_comes_and_goes(store: Store) -> None:
    inside, most = [0], [0]
    guard = threading.Lock()

    def work(_: int) -> None:
        with store.locked("pods", "pod-1"):
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with guard:
                inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert most == [1]


def test_ports_are_free_different_and_held(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        ports = [port for some in pool.map(lambda _: _ports.reserve(store, 3), range(20)) for port in some]
    assert len(set(ports)) == 60
    assert all(_ports.is_free(port) for port in ports)
    _ports.release(store, ports)
    assert list((store.root / "ports").iterdir()) == []
    assert _ports.reserve(store, 0) == []


def test_a_port_that_a_thing_or_a_stranger_holds_is_never_picked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        first, second, third = _ports.reserve(store, 3)
        _ports.release(store, [first, second, third])
        store.write("pods", f"pod-0123456789ab-{first}", {})
        store.write("endpoints", f"ep-0123456789ab-{second}", {})
        monkeypatch.setattr(_ports, "_candidates", lambda: [taken, first, second, third])
        assert _ports.reserve(store, 1) == [third]
        with pytest.raises(NoCapacity):
            _ports.reserve(store, 1)
        store.remove("pods", f"pod-0123456789ab-{first}")
        assert _ports.reserve(store, 1) == [first]


def test_removing_a_thing_gives_its_ports_back(store: Store) -> None:
    (port,) = _ports.reserve(store, 1)
    store.write("endpoints", f"ep-0123456789ab-{port}", {})
    store.remove("endpoints", f"ep-0123456789ab-{port}")
    assert list((store.root / "ports").iterdir()) == []


def test_a_failpoint_is_nothing_unless_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATLAS_FAILPOINT", raising=False)
    monkeypatch.setenv("ATLAS_FAILPOINT_DIR", str(tmp_path))
    failpoints.reach("create.3")
    monkeypatch.setenv("ATLAS_FAILPOINT", "create.30, other")
    failpoints.reach("create.3")
    assert list(tmp_path.iterdir()) == []


def test_a_failpoint_holds_until_its_file_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setenv("ATLAS_FAILPOINT", "other, create.3")
    monkeypatch.setenv("ATLAS_FAILPOINT_DIR", str(tmp_path))
    held = threading.Thread(target=failpoints.reach, args=("create.3",))
    held.start()
    mark = tmp_path / f"create.3.{os.getpid()}"
    until(mark.exists)
    assert held.is_alive()
    mark.unlink()
    held.join(20)
    assert not held.is_alive()

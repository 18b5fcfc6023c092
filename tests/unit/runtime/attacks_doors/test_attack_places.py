"""Where it listens, and what lies on the disk: addresses that are none, folders and keys of somebody else."""

from __future__ import annotations

import http.client
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pulumi_atlas import files
from pulumi_atlas.errors import ConfigError
from pulumi_atlas.runtime.access import KeyRingFile

PROGRAM = """
import json, logging, os, sys
from pulumi_atlas.runtime.serve import serve
from pulumi_atlas.runtime.settings import RuntimeSettings
listen, store, settings, umask = json.loads(sys.argv[1])
os.umask(umask)
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
say = lambda line: print(line, flush=True)
sys.exit(serve(listen, store, "dev", RuntimeSettings(**settings), say=say))
"""


@contextmanager
def serving(folder: Path, listen: str, **settings: object) -> Iterator[tuple[str, Path]]:
    """The address that it says, and its log."""
    import json

    log = folder / "log"
    what = json.dumps([listen, f"sqlite:///{folder / 'a' / 'b' / 's.db'}", settings, 0])
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, what], stdout=subprocess.PIPE, stderr=out, text=True, cwd=folder
        )
    assert process.stdout is not None
    try:
        found = re.search(r"ready on (\S+) ", process.stdout.readline())
        assert found is not None, log.read_text()
        yield found[1], log
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait(timeout=30)
        process.stdout.close()


def asked(address: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_who_listens_everywhere_is_reached_by_the_address_that_it_says(tmp_path: Path) -> None:
    """Pods on this machine are told that address: refused there, a session would end as idle while it is in use."""
    with serving(tmp_path, "0.0.0.0:0") as (address, log):
        key = (tmp_path / "a" / "b" / "s.db.admin-key").read_text().strip()
        assert asked(address, "/v1/status", Authorization=f"Bearer {key}") == 200
        port = address.rpartition(":")[2]
        assert asked(address, "/v1/status", Authorization=f"Bearer {key}", Host=f"0.0.0.0:{port}") == 421
    assert "in plain http" in log.read_text()


@pytest.mark.parametrize(
    ("listen", "settings"), [("127.0.0.1:0", {}), ("0.0.0.0:0", {"public_url": "https://sessions.example"})]
)
def test_nothing_is_said_of_plain_http_where_nobody_else_comes_in_so(
    listen: str, settings: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path, listen, **settings) as (_, log):
        assert "in plain http" not in log.read_text()


def test_forwarded_addresses_are_believed_from_trusted_proxies_only(tmp_path: Path) -> None:
    for name, trusted, seen in (("near", ["127.0.0.0/8"], "192.0.2.7"), ("far", ["10.0.0.0/8"], "127.0.0.1")):
        folder = tmp_path / name
        folder.mkdir()
        with serving(folder, "127.0.0.1:0", trusted_proxies=trusted) as (address, log):
            forwarded = {
                "X-Forwarded-For": "192.0.2.7",
                "X-Forwarded-Host": "evil.example",
                "Forwarded": "for=192.0.2.9",
            }
            assert asked(address, "/nothing", **forwarded) == 404
        (line,) = [line for line in log.read_text().splitlines() if "GET /nothing" in line]
        assert line.endswith(f" {seen}")


def test_nobody_else_may_write_where_the_store_is_whatever_the_umask(tmp_path: Path) -> None:
    with serving(tmp_path, "127.0.0.1:0"):
        found = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
        assert {path.name for path in found} >= {"a", "b", "s.db", "s.db.keys", "s.db.admin-key", "s.db.lock"}
        assert {path.name: oct(stat.S_IMODE(path.stat().st_mode) & 0o077) for path in found} == {
            path.name: "0o0" for path in found
        }


def test_a_private_folder_leaves_those_above_it_as_they_are(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir(mode=0o755)
    assert files.make_private_folder(above / "x" / "y") == above / "x" / "y"
    assert files.make_private_folder(above / "x" / "y").is_dir()
    assert stat.S_IMODE(above.stat().st_mode) == 0o755
    assert [stat.S_IMODE(path.stat().st_mode) for path in (above / "x", above / "x" / "y")] == [0o700, 0o700]
    (tmp_path / "file").write_text("")
    for blocked in (tmp_path / "file", tmp_path / "file" / "z"):
        with pytest.raises(Exception, match="file"):
            files.make_private_folder(blocked)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_keys_that_somebody_else_put_there_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "s.db.keys"
    KeyRingFile.load(path)
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="belong neither to you"):
        KeyRingFile.load(path)
    os.chown(tmp_path, 12345, 12345)  # the whole folder is that user's: an operator looks after it
    assert not KeyRingFile.load(path).fresh

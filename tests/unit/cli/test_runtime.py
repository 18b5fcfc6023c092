"""`atlas runtime` with real processes: started, asked, stopped; keys, backup and the way back; what starts nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.processes import environment_of

pytestmark = pytest.mark.slow  # real processes; not part of `make check`

Atlas = Callable[..., Any]
Begun = Callable[..., "subprocess.Popen[str]"]

SETTINGS = """
runtime:
  templates:
    page:
      spec:
        provider: local
        command: [sh, -c, 'exec python3 -m http.server "$PORT" -b 127.0.0.1']
        ports: [8000/http]
      auth: signed_url
      on_idle: stop
      for_backends: true
    never:
      spec: {provider: local, command: [sleep, '600'], ports: [8000/http]}
      for_backends: true
"""


class Companion:
    """A companion that runs: where it is, and its process."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process, self.line = process, line
        self.url = line.split(" on ")[1].split()[0]

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/kept/s.db"


@pytest.fixture
def serving(begun: Begun, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, local: None) -> Iterator[Any]:
    """Starts a companion on the test's store, and says when it is ready."""
    monkeypatch.delenv("ATLAS_PROVIDER")
    (tmp_path / "atlas.yaml").write_text(SETTINGS)
    running: list[Companion] = []

    def start(*words: str) -> Companion:
        process = begun("runtime", "serve", "--listen", "127.0.0.1:0", "--store", store, *words)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=60)
        companion = Companion(process, line)
        running.append(companion)
        monkeypatch.setenv("ATLAS_COMPANION_URL", companion.url)
        monkeypatch.setenv("ATLAS_RUNTIME_STORE", store)
        return companion

    yield start
    for companion in running:
        if companion.process.poll() is None:
            companion.stop()


def test_a_companion_is_started_used_and_stopped(
    serving: Callable[..., Companion], shell: Atlas, tmp_path: Path
) -> None:
    companion = serving("--deployment", "studio")
    assert re.fullmatch(
        r"atlas runtime: ready on http://127\.0\.0\.1:\d+ \(deployment studio, 0 sessions\)\n", companion.line
    )
    key_file = tmp_path / "kept" / "s.db.admin-key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    told = shell("runtime", "status", "--json")
    assert (told.code, told.json["name"], told.json["ready"]) == (0, "studio", True)
    assert "ready          yes" in shell("runtime", "status").out

    made = shell("runtime", "keys", "create", "--scope", "backend", "--name", "web")
    key = made.out.split()[-1]
    assert re.fullmatch(r"key k-\w+ \(scope backend, name web\): atlas_\S{43}\n", made.out)
    opened = shell(
        "session", "open", "--template", "page", "--owner", "ada", "--wait", "--json", ATLAS_COMPANION_KEY=key
    )
    assert opened.code == 0, opened
    ident = opened.json["id"]
    assert opened.json["status"] == "ready"
    assert opened.json["token"] != opened.json["touch_token"]

    touched = shell("session", "touch", ident, ATLAS_COMPANION_KEY=opened.json["touch_token"])
    assert touched.out == f"session {ident} is ready for 15m more (idle)\n"
    assert shell("session", "extend", ident, "20m").out == f"session {ident} is ready for 20m more (idle)\n"
    assert "atlas-access=" in shell("session", "url", ident, "/").out
    rows = shell("session", "list", "--owner", "ada").out.splitlines()
    assert rows[1].split()[:4] == [ident, "ready", "ada", "page"]

    assert shell("session", "pause", ident, "--wait").out == f"session {ident} is paused\n"
    resumed = shell("session", "resume", ident, "--wait", "--json").json
    assert (resumed["status"], resumed["generation"]) == ("ready", 1)
    old = shell("session", "touch", ident, ATLAS_COMPANION_KEY=opened.json["touch_token"])
    assert old.code == 3, "what was handed out before the pause is void"
    assert shell("session", "touch", ident, ATLAS_COMPANION_KEY=resumed["touch_token"]).code == 0

    assert shell("session", "close", ident, "--reason", "done", "--wait").out == f"session {ident} is terminated\n"
    events = shell("runtime", "events", ident, "--json").json
    states = [row["data"]["state"] for row in events if row["event"] == "status"]
    assert states[:3] == ["requested", "provisioning", "ready"]
    assert states[-1] == "terminated"
    assert "extended" in [row["event"] for row in events]
    code, err = companion.stop()
    assert code == 0, err
    assert key not in err


def test_its_secrets_are_in_no_command_line_and_no_log(
    serving: Callable[..., Companion], shell: Atlas, tmp_path: Path
) -> None:
    companion = serving()
    opened = shell("session", "open", "--template", "page", "--wait", "--json").json
    admin = (tmp_path / "kept" / "s.db.admin-key").read_text().strip()
    secrets = [opened["token"], opened["touch_token"], admin]
    words = Path(f"/proc/{companion.process.pid}/cmdline").read_text() + str(environment_of(companion.process.pid))
    assert [secret for secret in secrets if secret in words] == []
    assert shell("session", "close", opened["id"], "--wait").code == 0
    _, err = companion.stop()
    assert [secret for secret in secrets if secret in err] == []
    kept = (path for path in (tmp_path / "kept").iterdir() if not path.name.endswith((".keys", ".admin-key")))
    assert [p.name for p in kept if any(secret.encode() in p.read_bytes() for secret in secrets)] == []


def test_a_second_companion_on_the_same_store_does_not_start(
    serving: Callable[..., Companion], shell: Atlas, store: str
) -> None:
    first = serving()
    second = shell("runtime", "serve", "--listen", "127.0.0.1:0", "--store", store)
    assert second.code == 5
    assert f"process {first.process.pid} on" in second.err
    taken = shell("runtime", "serve", "--listen", first.url.removeprefix("http://"), "--store", f"{store}2")
    assert (taken.code, "is in use" in taken.err) == (5, True)


def test_a_revoked_key_is_refused(serving: Callable[..., Companion], shell: Atlas, until: Callable[..., None]) -> None:
    serving()
    made = shell("runtime", "keys", "create", "--scope", "read", "--json").json
    assert shell("runtime", "status", ATLAS_COMPANION_KEY=made["key"]).code == 0
    assert shell("session", "open", "--template", "page", ATLAS_COMPANION_KEY=made["key"]).code == 3
    assert shell("runtime", "keys", "revoke", made["id"]).out == f"key {made['id']} revoked\n"
    until(lambda: shell("runtime", "status", ATLAS_COMPANION_KEY=made["key"]).code == 3)
    assert shell("runtime", "keys", "revoke", made["id"]).out == f"key {made['id']} was revoked already\n"
    assert shell("runtime", "keys", "revoke", "k-none").code == 4


def test_the_drill_backup_loss_restore_confirm(
    serving: Callable[..., Companion], shell: Atlas, tmp_path: Path, store: str
) -> None:
    first = serving()
    ident = shell("session", "open", "--template", "page", "--wait", "--json").json["id"]
    assert shell("runtime", "backup", "--to", "saved").code == 0
    assert shell("runtime", "backup", "--to", "saved").code == 2
    assert first.stop()[0] == 0
    for path in (tmp_path / "kept").iterdir():
        path.unlink()  # the disk is gone

    done = shell("runtime", "restore", "--from", "saved", "--json").json
    assert (done["live"], done["moved_aside"]) == (1, [])
    (tmp_path / "kept" / "s.db.admin-key").write_text(
        shell("runtime", "keys", "create", "--scope", "admin", "--json").json["key"]
    )
    serving()
    frozen = shell("runtime", "status")
    assert frozen.code == 7
    assert "it comes from a backup of" in frozen.out
    assert shell("session", "show", ident, "--json").json["status"] == "ready"

    asked = shell("runtime", "confirm-store")
    assert asked.code == 2
    assert "live sessions: 1" in asked.err
    confirmed = shell("runtime", "confirm-store", "--yes", "--json").json
    assert (confirmed["confirmed"], confirmed["sessions"], confirmed["frozen"]) == (True, 1, "")
    assert shell("session", "close", ident, "--wait").code == 0
    assert shell("runtime", "confirm-store", "--json").json["confirmed"] is False


def test_a_restore_over_a_store_moves_it_aside(serving: Callable[..., Companion], shell: Atlas) -> None:
    companion = serving()
    assert shell("runtime", "backup", "--to", "saved").code == 0
    busy = shell("runtime", "restore", "--from", "saved", "--force")
    assert busy.code == 5, "never under a running companion"
    companion.stop()
    refused = shell("runtime", "restore", "--from", "saved")
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert len(shell("runtime", "restore", "--from", "saved", "--force", "--json").json["moved_aside"]) >= 1


def test_a_ctrl_c_while_waiting_says_what_is_there(
    serving: Callable[..., Companion], begun: Begun, shell: Atlas, until: Callable[..., None]
) -> None:
    serving()
    process = begun("session", "open", "--template", "never", "--wait", "--json")
    until(lambda: shell("session", "list", "--template", "never", "--json").json)
    [row] = shell("session", "list", "--template", "never", "--json").json
    until(lambda: _has_an_open_connection(process.pid))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert process.returncode == 8
    assert f"atlas session close {row['id']}" in told["error"]["hint"]
    assert told["left"] == [{"kind": "session", "id": row["id"]}]
    assert shell("session", "close", row["id"], "--wait").code == 0


def _has_an_open_connection(pid: int) -> bool:
    import psutil

    return any(one.status == "ESTABLISHED" for one in psutil.Process(pid).net_connections("tcp"))


# -- without a companion


def test_keys_are_made_before_the_first_start(shell: Atlas, store: str) -> None:
    made = shell("runtime", "keys", "create", "--scope", "metrics", "--store", store, "--json")
    assert made.code == 0
    listed = shell("runtime", "keys", "list", "--store", store)
    assert listed.out.splitlines()[1].split()[:3] == [made.json["id"], "metrics", "unnamed"]
    assert made.json["key"] not in listed.out
    assert shell("runtime", "keys", "list", "--store", f"{store}x").code == 2


def test_master_keys_are_rotated_with_an_overlap(shell: Atlas, store: str, tmp_path: Path) -> None:
    assert shell("runtime", "keys", "rotate-master", "--store", store).code == 2
    from pulumi_atlas.runtime.access import KeyRingFile

    (tmp_path / "kept").mkdir()
    before = KeyRingFile.beside(tmp_path / "kept" / "s.db").ring
    done = shell("runtime", "keys", "rotate-master", "--overlap-s", "60", "--store", store, "--json")
    after = KeyRingFile.beside(tmp_path / "kept" / "s.db").ring
    assert done.json["kid"] == after.current.kid != before.current.kid
    assert [key.kid for key in after.keys][1:] == [before.current.kid]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--listen", "8765"), "is no address to listen on"),
        (("--listen", "127.0.0.1:99999"), "is no address to listen on"),
        (("--store", "postgresql://x/y"), "not supported yet"),
        (("--store", "s.db"), "is not understood"),
        (("--deployment", ""), "is no name"),
        (("--config", "none.yaml"), "there is no file"),
        (("--config", "wrong.yaml"), "2 things are wrong"),
    ],
)
@pytest.mark.parametrize("check", [(), ("--check-config",)], ids=["start", "check"])
def test_wrong_usage_starts_nothing(
    atlas: Atlas, tmp_path: Path, words: tuple[str, ...], text: str, check: tuple[str, ...]
) -> None:
    (tmp_path / "wrong.yaml").write_text("runtime:\n  idle_ttl: 5\n  hostz: [x]\n")
    done = atlas("runtime", "serve", *words, *check)
    assert done.code == 2
    if check and "wrong.yaml" in words:
        assert len(done.out.splitlines()) == 2
    else:
        assert text in done.err
    assert list(tmp_path.glob("**/*.db")) == []


def test_a_check_says_each_fault_on_a_line_of_its_own_and_as_json(atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "atlas.yaml").write_text("runtime:\n  idle_ttl: 5\n  hostz: [x]\n")
    done = atlas("runtime", "serve", "--check-config")
    assert [line.split(": ")[0].rpartition(":")[2] for line in done.out.removeprefix("").splitlines()] == [
        "error",
        "error",
    ]
    rows = atlas("runtime", "serve", "--check-config", "--json").json
    assert [(row["line"], row["key"], row["hint"]) for row in rows["faults"]] == [
        (2, "runtime.idle_ttl", "did you mean 'idle_ttl_s'?"),
        (3, "runtime.hostz", "did you mean 'hosts'?"),
    ]
    (tmp_path / "atlas.yaml").write_text("runtime: {max_kills_per_minute: 0}\n")
    done = atlas("runtime", "serve", "--check-config")
    assert done.code == 0
    assert done.out.splitlines()[0].startswith("warning: ")


MISSING = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"fastapi", "sqlalchemy", "uvicorn", "cryptography", "structlog", "alembic"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
from pulumi_atlas.cli._main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--listen", "127.0.0.1:0"),
        ("keys", "list"),
        ("keys", "create", "--scope", "read"),
        ("keys", "rotate-master"),
        ("backup", "--to", "x"),
        ("confirm-store",),
    ],
)
def test_without_the_extra_it_says_what_to_install(words: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISSING, "runtime", *words],
        cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert 'pip install "pulumi-atlas[runtime]"' in done.stderr


def test_using_a_companion_needs_no_extra(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISSING, "session", "list", "--url", "http://127.0.0.1:9", "--key", "x"],
        cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "no companion answers" in done.stderr

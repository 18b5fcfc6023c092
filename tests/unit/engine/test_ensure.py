"""`tools/engine/ensure`: each way of having an engine, tried against stand-ins on loopback and a stand-in for Go."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from pulumi_atlas import engine

from .conftest import MakeEngine

GO = """#!/bin/sh
# A stand-in for Go that notes how it was called.
echo "$(basename "$PWD")|$CGO_ENABLED|$GOTOOLCHAIN|$GOFLAGS|$*" >> "$GO_LOG"
if [ "$1" = list ]; then echo "$GO_MODULE"; exit 0; fi
if [ -n "$GO_HANGS" ]; then exec sleep 600; fi
if [ -n "$GO_FAILS" ]; then echo "go: module lookup disabled" >&2; exit 1; fi
while [ $# -gt 0 ]; do if [ "$1" = -o ]; then out=$2; fi; shift; done
printf '#!/bin/sh\\necho v3.259.0\\n' > "$out"
chmod 755 "$out"
"""


class Vendor:
    """The vendor's download server on loopback: paths → bodies, where to cut one off, and how often each was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.asked: Counter[str] = Counter()
        self.gate = threading.Event()
        self.gate.set()
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                vendor.asked[self.path] += 1
                vendor.gate.wait(30)
                body = vendor.files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write((body or b"")[: vendor.cut.get(self.path)])

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    vendor = Vendor()
    thread = threading.Thread(target=vendor.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield vendor
    vendor.gate.set()
    vendor.server.shutdown()
    thread.join()
    vendor.server.server_close()


@pytest.fixture
def go(tmp_path: Path) -> Mapping[str, str]:
    """What to add to the environment so that a stand-in for Go is there."""
    module = tmp_path / "module"
    for name in ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python"):
        (module / name).parent.mkdir(parents=True, exist_ok=True)
        (module / name).write_text("#!/bin/sh\n")
        (module / name).chmod(0o444)
    (tmp_path / "gobin").mkdir()
    (tmp_path / "gobin" / "go").write_text(GO)
    (tmp_path / "gobin" / "go").chmod(0o755)
    return {"GO_LOG": str(tmp_path / "go.log"), "GO_MODULE": str(module), "GO_BIN": str(tmp_path / "gobin")}


def archive(*, without: str = "", script: str = "echo v3.259.0", extra: str = "") -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        for part in (*engine.PARTS, "pulumi-language-nodejs", *([extra] if extra else [])):
            if part != without:
                content = f"#!/bin/sh\n{script}\n".encode()
                member = tarfile.TarInfo(part if "/" in part else f"pulumi/{part}")
                member.size, member.mode = len(content), 0o755
                tar.addfile(member, io.BytesIO(content))
    return body.getvalue()


def ensure(root: Path, machine: Mapping[str, str], *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {**machine, "ATLAS_ENGINE_URL": "", **settings}
    if "GO_BIN" in environ:
        environ["PATH"] = f"{environ['GO_BIN']}{os.pathsep}{environ['PATH']}"
    command = [sys.executable, "-S", str(root / "tools" / "engine" / "ensure"), *options]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def _runs_with(process: psutil.Process, go_log: str) -> bool:
    try:
        return process.environ().get("GO_LOG") == go_log
    except psutil.Error:
        return False


def kept(machine: Mapping[str, str]) -> Path:
    return engine.cache_folder(machine) / "3.259.0"


def left_in_the_cache(machine: Mapping[str, str]) -> list[str]:
    return sorted(path.name for path in engine.cache_folder(machine).iterdir())


def test_an_installed_engine_is_used_as_it_is(
    root: Path, machine: Mapping[str, str], tmp_path: Path, make_engine: MakeEngine
) -> None:
    installed = make_engine(tmp_path / "opt", "3.270.0")
    path = f"{installed}{os.pathsep}{machine['PATH']}"
    done = ensure(root, machine, PATH=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{installed}\n", "")
    assert not engine.cache_folder(machine).exists()


def test_the_vendors_archive_is_fetched_unpacked_and_kept(
    root: Path, machine: Mapping[str, str], vendor: Vendor
) -> None:
    vendor.files["/p-3.259.0.tar.gz"] = archive()
    url = vendor.url + "/p-{version}.tar.gz"
    done = ensure(root, machine, ATLAS_ENGINE_URL=url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{kept(machine)}\n"
    assert "fetching" in done.stderr
    assert "no checksum is offered" in done.stderr
    assert sorted(path.name for path in kept(machine).iterdir()) == sorted(engine.PARTS)
    assert engine.find(machine).folder == kept(machine)
    again = ensure(root, machine, "--json", ATLAS_ENGINE_URL=url)
    assert json.loads(again.stdout)["way"] == "cache"
    assert vendor.asked["/p-3.259.0.tar.gz"] == 1


@pytest.mark.parametrize("name", ["/p.tar.gz.sha256", "/pulumi-3.259.0-checksums.txt"])
@pytest.mark.parametrize("right", [True, False])
def test_an_offered_checksum_decides(
    name: str, right: bool, root: Path, machine: Mapping[str, str], vendor: Vendor
) -> None:
    body = archive()
    digest = hashlib.sha256(body if right else b"something else").hexdigest()
    vendor.files |= {"/p.tar.gz": body, name: f"{'0' * 64}  other.tar.gz\n{digest}  p.tar.gz\n".encode()}
    done = ensure(root, machine, ATLAS_ENGINE_URL=vendor.url + "/p.tar.gz")
    assert (done.returncode == 0) == right, done.stderr
    assert kept(machine).exists() == right
    assert ("the archive's checksum is" in done.stderr) == (not right)


BAD = {
    "missing": (None, "answered 404"),
    "no archive": (b"<html>a sign-in page</html>", "cannot be read"),
    "cut": (archive()[:100], "cannot be read"),
    "incomplete": (archive(without="pulumi-language-python"), "lacks pulumi-language-python"),
    "broken": (archive(script="exit 1"), "does not run"),
    "old": (archive(script="echo v3.1.0"), "3.254.0 or newer"),
}


@pytest.mark.parametrize(("body", "said"), BAD.values(), ids=BAD)
def test_a_bad_archive_is_refused_and_nothing_of_it_stays(
    body: bytes | None, said: str, root: Path, machine: Mapping[str, str], vendor: Vendor
) -> None:
    if body is not None:
        vendor.files["/p.tar.gz"] = body
    done = ensure(root, machine, ATLAS_ENGINE_URL=vendor.url + "/p.tar.gz")
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert left_in_the_cache(machine) == [".lock"]


def test_an_archive_that_breaks_off_is_refused(root: Path, machine: Mapping[str, str], vendor: Vendor) -> None:
    vendor.files["/p.tar.gz"] = archive()
    vendor.cut["/p.tar.gz"] = 50
    done = ensure(root, machine, ATLAS_ENGINE_URL=vendor.url + "/p.tar.gz")
    assert done.returncode == 1
    assert "broke off after 50 of" in done.stderr


def test_a_path_in_the_archive_leads_nowhere_else(root: Path, machine: Mapping[str, str], vendor: Vendor) -> None:
    vendor.files["/p.tar.gz"] = archive(extra="../../../escaped")
    done = ensure(root, machine, ATLAS_ENGINE_URL=vendor.url + "/p.tar.gz")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in kept(machine).iterdir()) == sorted(engine.PARTS)
    assert not list(Path(machine["HOME"]).parent.rglob("escaped"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/p.tar.gz", "http://no..name/p.tar.gz", "nonsense"])
def test_a_vendor_that_cannot_be_reached_gives_way_to_the_build(
    url: str, root: Path, machine: Mapping[str, str], go: Mapping[str, str]
) -> None:
    done = ensure(root, machine, "--json", ATLAS_ENGINE_URL=url, **go)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["way"] == "build"
    assert any(reason.startswith("download: ") and "cannot be reached" in reason for reason in told["reasons"])


def test_a_name_look_up_that_hangs_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("download", root / "tools" / "engine" / "download.py")
    assert spec and spec.loader
    download = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(download)
    answered = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: answered.wait())
    monkeypatch.setattr(download, "ANSWER_S", 0.01)
    with pytest.raises(download.Failed, match="no answer from http://vendor/p within"):
        download.fetch("http://vendor/p", "3.259.0", root, wanted=engine.PARTS, say=print)
    answered.set()


def test_the_build_follows_the_recipe(root: Path, machine: Mapping[str, str], go: Mapping[str, str]) -> None:
    done = ensure(root, machine, GOFLAGS="-modcacherw", **go)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{kept(machine)}\n"
    calls = [line.split("|") for line in Path(go["GO_LOG"]).read_text().splitlines()]
    assert [call[0] for call in calls] == ["cli", "langhost", "cli"]
    for _, cgo, toolchain, flags, _ in calls:
        assert (cgo, toolchain, flags) == ("0", "local", "-modcacherw -mod=readonly -buildvcs=false")
    for call in calls[:2]:
        assert "-trimpath -tags osusergo,grpcnotrace" in call[4]
        assert "version.Version=v3.259.0" in call[4]
    for part in engine.PARTS:
        assert os.access(kept(machine) / part, os.X_OK)


def test_when_nothing_works_every_reason_is_told(root: Path, machine: Mapping[str, str], go: Mapping[str, str]) -> None:
    done = ensure(root, machine, "--json", ATLAS_ENGINE_URL="http://127.0.0.1:9/p.tar.gz", GO_FAILS="1", **go)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["folder"] is None
    assert [reason.split(":")[0] for reason in told["reasons"]] == ["installed", "download", "build", "tried"]
    assert "module lookup disabled" in done.stderr
    assert left_in_the_cache(machine) == [".lock"]
    without_go = ensure(root, machine)
    assert "download: switched off" in without_go.stderr
    assert "there is no Go on PATH" in without_go.stderr


def test_ended_in_the_middle_it_leaves_nothing_half_made(
    root: Path, machine: Mapping[str, str], go: Mapping[str, str]
) -> None:
    path = f"{go['GO_BIN']}{os.pathsep}{machine['PATH']}"
    environ = {**machine, **go, "PATH": path, "ATLAS_ENGINE_URL": "", "GO_HANGS": "1"}
    command = [sys.executable, "-S", str(root / "tools" / "engine" / "ensure")]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        deadline = time.monotonic() + 20
        while not Path(go["GO_LOG"]).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        running.terminate()
        assert running.wait(20) == 143
    assert left_in_the_cache(machine) == [".lock"]
    assert not [process for process in psutil.process_iter() if _runs_with(process, go["GO_LOG"])]


def test_a_damaged_cache_and_dead_leftovers_are_replaced(
    root: Path, machine: Mapping[str, str], go: Mapping[str, str], make_engine: MakeEngine
) -> None:
    make_engine(kept(machine), without=("pulumi-language-python",))
    make_engine(engine.cache_folder(machine) / ".3.259.0.dead.part")
    done = ensure(root, machine, **go)
    assert done.returncode == 0, done.stderr
    assert left_in_the_cache(machine) == [".lock", "3.259.0"]
    assert engine.find(machine).usable


def test_several_at_the_same_time_fetch_once(root: Path, machine: Mapping[str, str], vendor: Vendor) -> None:
    vendor.files["/p.tar.gz"] = archive()
    vendor.gate.clear()
    results: list[subprocess.CompletedProcess[str]] = []
    url = vendor.url + "/p.tar.gz"
    threads = [
        threading.Thread(target=lambda: results.append(ensure(root, machine, ATLAS_ENGINE_URL=url))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    vendor.gate.set()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results] == [0, 0, 0], [result.stderr for result in results]
    assert {result.stdout for result in results} == {f"{kept(machine)}\n"}
    assert vendor.asked["/p.tar.gz"] == 1


def test_a_cache_folder_that_cannot_be_made_is_told(root: Path, machine: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = ensure(root, machine, ATLAS_ENGINE_DIR=str(tmp_path / "file" / "engines"))
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_pinned_version_is_told_and_new_enough(root: Path, machine: Mapping[str, str]) -> None:
    done = ensure(root, machine, "--version")
    assert (engine.parse_version(done.stdout) or (0, 0, 0)) >= engine.MINIMUM


def test_a_way_that_does_not_exist_is_refused(root: Path, machine: Mapping[str, str]) -> None:
    done = ensure(root, machine, ATLAS_ENGINE_WAYS="installed bild")
    assert done.returncode == 1
    assert "bild" in done.stderr

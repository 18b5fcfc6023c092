"""`tools/browser/ensure`: what it decides, and what it does with stand-ins for apt-get and for the browser."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "browser" / "ensure"
BROWSER = "#!/bin/sh\necho Chromium 156.0\n"


@pytest.fixture(scope="module")
def ensure() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("ensure_browser", str(SCRIPT))
    spec = importlib.util.spec_from_loader("ensure_browser", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["ensure_browser"] = module  # dataclasses look their module up
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


def paths(*names: str) -> Callable[[str], str | None]:
    return lambda name: f"/usr/bin/{name}" if name in names else None


def test_the_one_that_is_named_goes_first(ensure: ModuleType) -> None:
    chosen = {"ATLAS_CHROMIUM": "mine"}
    assert ensure.decide(chosen, paths("mine", "chromium"), root=True, may_install=True).path == "/usr/bin/mine"
    missing = ensure.decide(chosen, paths("chromium", "apt-get"), root=True, may_install=True)
    assert "ATLAS_CHROMIUM names mine" in missing.why


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])
def test_one_on_the_path_is_taken(ensure: ModuleType, name: str) -> None:
    for root in (True, False):
        found = ensure.decide({"ATLAS_CHROMIUM": ""}, paths(name, "apt-get"), root=root, may_install=True)
        assert found == ensure.Found(f"/usr/bin/{name}")


def test_chromium_is_preferred(ensure: ModuleType) -> None:
    found = ensure.decide({}, paths("google-chrome", "chromium"), root=True, may_install=True)
    assert found == ensure.Found("/usr/bin/chromium")


def test_root_installs_the_package_quietly(ensure: ModuleType) -> None:
    plan = ensure.decide({}, paths("apt-get"), root=True, may_install=True)
    update, install = plan.commands
    assert update[0] == install[0] == "apt-get" and update[-1] == "update"
    assert install[-4:] == ("install", "-y", "--no-install-recommends", "chromium")


@pytest.mark.parametrize(
    ("commands", "root", "may_install", "word"),
    [
        (["apt-get"], False, True, "only root"),
        ([], True, True, "no apt-get"),
        (["apt-get"], True, False, "make browser"),
    ],
)
def test_elsewhere_a_sentence_names_the_way_out(
    ensure: ModuleType, commands: list[str], root: bool, may_install: bool, word: str
) -> None:
    missing = ensure.decide({}, paths(*commands), root=root, may_install=may_install)
    assert word in missing.why and "ATLAS_CHROMIUM" in missing.why and "\n" not in missing.why


def run(tmp_path: Path, *words: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """The script with nothing on PATH but these programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in programs.items():
        program = folder / name.replace("_", "-")
        program.write_text(text)
        program.chmod(0o755)
    environ = {"PATH": str(folder), "BIN": str(folder)}
    return subprocess.run([sys.executable, SCRIPT, *words], env=environ, capture_output=True, text=True, check=False)


def test_its_path_is_the_last_line(tmp_path: Path) -> None:
    done = run(tmp_path, chromium=BROWSER)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str(tmp_path / "bin" / "chromium"))


def test_what_is_no_browser_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, chromium="#!/bin/sh\necho 'install the snap' >&2; exit 1\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ATLAS_CHROMIUM" in done.stderr


def test_without_installing_nothing_is_started(tmp_path: Path) -> None:
    done = run(tmp_path, "--installed", apt_get='#!/bin/sh\n: >"$BIN/asked"\n')
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and "make browser" in done.stderr
    assert not (tmp_path / "bin" / "asked").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets as far as apt-get")
def test_what_apt_get_installs_is_found(tmp_path: Path) -> None:
    made = 'printf "#!/bin/sh\\necho Chromium 1\\n" >"$BIN/chromium"; exec /bin/chmod +x "$BIN/chromium"'
    done = run(tmp_path, apt_get=f'#!/bin/sh\necho noise\ncase "$*" in *install*) {made};; esac\n')
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'bin' / 'chromium'}\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets as far as apt-get")
def test_what_apt_get_says_last_is_the_reason(tmp_path: Path) -> None:
    done = run(tmp_path, apt_get="#!/bin/sh\necho one >&2; echo 'E: no network' >&2; exit 100\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "E: no network" in done.stderr.splitlines()[-1]
